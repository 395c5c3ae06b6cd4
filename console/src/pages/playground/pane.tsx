/** One model of the playground: which it is, whether it runs, and what was said. */
import { CloseOutlined, CodeOutlined, SaveOutlined } from "@ant-design/icons";
import { Button, Card, Space, Spin, Tooltip } from "antd";
import { useEffect, useRef, useState } from "react";
import { Link } from "react-router";
import { deploymentOf, useDeploymentCommand, type Deployment } from "../../api/deployments";
import { questionOf, rowOf, until, withSystem, wrongRow, type Sampling } from "../../logic/conversation";
import { ModelChoice } from "../../parts/model-choice";
import { DeploymentTag } from "../../parts/page";
import { useTexts } from "../../texts/language";
import { DeployDialog } from "../deployments/create";
import { CodeDialog } from "../deployments/code";
import type { Pane } from "./panes";
import { SaveDialog } from "./save";
import { TurnView } from "./turn";

interface Props {
  pane: Pane;
  deployments: Deployment[];
  asking: { system: string; sampling: Sampling };
  mayWrite: boolean;
  isBusy: boolean;
  onChoose: (model: string) => void;
  onAgain: () => void;
  onRemove?: () => void;
}

/** What stands in front of the page: the code of the question, or a conversation to keep. */
type Opened = { kind: "code" } | { kind: "save" } | { kind: "wrong"; at: number } | null;

export function PaneView({ pane, deployments, asking, mayWrite, isBusy, onChoose, onAgain, onRemove }: Props) {
  const texts = useTexts();
  const [opened, setOpened] = useState<Opened>(null);
  const end = useRef<HTMLDivElement>(null);
  const deployment = pane.model ? deploymentOf(deployments, pane.model) : undefined;
  const said = pane.turns.filter((turn) => turn.content);
  const hasAnswer = said.some((turn) => turn.role === "assistant");
  const length = pane.turns.length;
  const lastText = pane.turns.at(-1)?.content;
  useEffect(() => {
    end.current?.parentElement?.scrollTo({ top: end.current.offsetTop });
  }, [length, lastText]);
  const question = questionOf(pane.model, withSystem(asking.system, asked(pane)), asking.sampling);
  return (
    <Card className="pane" size="small" role="region" aria-label={pane.model || texts("choose.model")}>
      <div className="pane-head">
        <div style={{ flex: 1, minWidth: 0 }}>
          <ModelChoice value={pane.model} onChange={onChoose} deployments={deployments} />
        </div>
        {onRemove && (
          <Tooltip title={texts("playground.remove")}>
            <Button type="text" icon={<CloseOutlined />} aria-label={texts("playground.remove")} onClick={onRemove} />
          </Tooltip>
        )}
      </div>
      <div className="pane-state">
        {pane.model && <State model={pane.model} deployment={deployment} mayWrite={mayWrite} />}
        <span className="grow" />
        <Space size={0}>
          <Tooltip title={texts("playground.code")}>
            <Button
              type="text"
              size="small"
              icon={<CodeOutlined />}
              aria-label={texts("playground.code")}
              disabled={!pane.model}
              onClick={() => setOpened({ kind: "code" })}
            />
          </Tooltip>
          {mayWrite && (
            <Tooltip title={texts("playground.save")}>
              <Button
                type="text"
                size="small"
                icon={<SaveOutlined />}
                aria-label={texts("playground.save")}
                disabled={!hasAnswer || isBusy}
                onClick={() => setOpened({ kind: "save" })}
              />
            </Tooltip>
          )}
        </Space>
      </div>
      <div className="turns" role="log" aria-live="off" tabIndex={0} aria-label={texts("playground.conversation")}>
        {pane.turns.length === 0 && <div className="centre quiet">{texts("playground.empty")}</div>}
        {pane.turns.map((turn, at) => (
          <TurnView
            key={at}
            turn={turn}
            isStarting={deployment?.status !== "ready"}
            {...(at === pane.turns.length - 1 && !isBusy ? { onAgain } : {})}
            {...(mayWrite && !isBusy ? { onWrong: () => setOpened({ kind: "wrong", at }) } : {})}
          />
        ))}
        <div ref={end} />
      </div>
      {opened?.kind === "code" && (
        <CodeDialog question={question as never} onClose={() => setOpened(null)} />
      )}
      {opened?.kind === "save" && (
        <SaveDialog row={() => rowOf(asking.system, plain(said))} onClose={() => setOpened(null)} />
      )}
      {opened?.kind === "wrong" && (
        <SaveDialog
          wrong={pane.turns[opened.at]?.content ?? ""}
          row={(right) => wrongRow(asking.system, plain(until(pane.turns, opened.at)), right, pane.model)}
          onClose={() => setOpened(null)}
        />
      )}
    </Card>
  );
}

/** Up to the last question, as its answer is what the code asks for. */
function asked(pane: Pane) {
  const last = pane.turns.findLastIndex((turn) => turn.role === "user");
  const turns = plain(pane.turns.slice(0, last + 1));
  return turns.length ? turns : [{ role: "user" as const, content: "Hello" }];
}

function plain(turns: Pane["turns"]) {
  return turns.map(({ role, content }) => ({ role, content }));
}

/** Whether the model runs; one that does not can be started here. */
function State({ model, deployment, mayWrite }: { model: string; deployment: Deployment | undefined; mayWrite: boolean }) {
  const texts = useTexts();
  const command = useDeploymentCommand();
  const [isOpen, setOpen] = useState(false);
  if (!deployment)
    return (
      <>
        <span className="quiet">{texts("playground.notDeployed")}</span>
        {mayWrite && (
          <Button size="small" onClick={() => setOpen(true)}>
            {texts("deploy.deploy")}
          </Button>
        )}
        {isOpen && <DeployDialog model={model} onClose={() => setOpen(false)} onMade={() => setOpen(false)} />}
      </>
    );
  return (
    <>
      <Link to={`/deployments/${deployment.id}`}>
        <DeploymentTag status={deployment.status} />
      </Link>
      {deployment.status === "starting" && <Spin size="small" />}
      {mayWrite && (deployment.status === "stopped" || deployment.status === "failed") && (
        <Button
          size="small"
          loading={command.isPending}
          onClick={() => command.mutate({ id: deployment.id, command: "start" })}
        >
          {texts("deploy.start")}
        </Button>
      )}
      {command.error && <span className="any" role="alert">{command.error.message}</span>}
    </>
  );
}
