/** One thing that was said. Answers are text, whatever they hold. */
import { CopyOutlined, DislikeOutlined, ReloadOutlined } from "@ant-design/icons";
import { Button, Space, Spin, Tooltip } from "antd";
import { Link } from "react-router";
import { count, short } from "../../logic/format";
import { useCopy } from "../../parts/copy";
import { ErrorBox } from "../../parts/error";
import { useTexts } from "../../texts/language";
import type { ShownTurn } from "./panes";

interface Props {
  turn: ShownTurn;
  isStarting: boolean;
  onAgain?: () => void;
  onWrong?: () => void;
}

export function TurnView({ turn, isStarting, onAgain, onWrong }: Props) {
  const texts = useTexts();
  const isAnswer = turn.role === "assistant";
  return (
    <div className={isAnswer ? "turn answer" : "turn question"}>
      <span className="hidden">{texts(isAnswer ? "playground.answered" : "playground.asked")}</span>
      {turn.content && <div className="said">{turn.content}</div>}
      {turn.isWaiting && !turn.content && (
        <div className="quiet row" role="status">
          <Spin size="small" />
          {texts(isStarting ? "playground.starting" : "playground.waiting")}
        </div>
      )}
      {turn.error && (
        <div className="stack" style={{ gap: 8 }}>
          <ErrorBox error={turn.error} {...(onAgain ? { again: onAgain } : {})} />
          {turn.error.code === "gate_closed" && <Link to="/evaluations">{texts("playground.seeVerdict")}</Link>}
        </div>
      )}
      {isAnswer && !turn.isWaiting && !turn.error && (
        <Told turn={turn} {...(onAgain ? { onAgain } : {})} {...(onWrong ? { onWrong } : {})} />
      )}
    </div>
  );
}

function Told({ turn, onAgain, onWrong }: Pick<Props, "turn" | "onAgain" | "onWrong">) {
  const texts = useTexts();
  const copy = useCopy();
  const facts = [
    turn.usage && texts("playground.tokens", { count: count(turn.usage.completion) }),
    turn.perSecond != null && texts("playground.speed", { speed: short(turn.perSecond, 3) }),
    turn.firstSeconds !== undefined && texts("playground.first", { seconds: short(turn.firstSeconds, 2) }),
    turn.isCut && texts("playground.cut"),
    turn.isStopped && texts("playground.stopped"),
    !turn.content && !turn.isStopped && texts("playground.nothing"),
  ].filter(Boolean);
  const button = (label: string, icon: React.ReactNode, go: () => void) => (
    <Tooltip title={label}>
      <Button type="text" size="small" icon={icon} aria-label={label} onClick={go} />
    </Tooltip>
  );
  return (
    <div className="told quiet numbers">
      <span className="grow">{facts.join(" · ")}</span>
      <Space size={0}>
        {button(texts("action.copy"), <CopyOutlined />, () => void copy(turn.content))}
        {onAgain && button(texts("playground.again"), <ReloadOutlined />, onAgain)}
        {onWrong && turn.content && button(texts("playground.wrong"), <DislikeOutlined />, onWrong)}
      </Space>
    </div>
  );
}
