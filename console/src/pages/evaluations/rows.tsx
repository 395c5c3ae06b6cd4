/** Row by row: what was asked, what is right, and what both models answered. */
import { Button, Card, Segmented, Select, Skeleton, Tag } from "antd";
import { useState } from "react";
import type { Schemas } from "../../api/client";
import { useRows, type Evaluation, type EvaluationRow, type Found, type Outcome } from "../../api/evaluations";
import { count, short } from "../../logic/format";
import { scoreValue } from "../../logic/scores";
import { ErrorBox } from "../../parts/error";
import { Nothing } from "../../parts/page";
import { translateWord, useTexts } from "../../texts/language";

type Answered = Schemas["AnsweredRead"];
const COLOURS: Record<Outcome, string> = { won: "success", lost: "error", same: "default" };

export function RowList({ evaluation, found }: { evaluation: Evaluation; found: Found }) {
  const texts = useTexts();
  const compares = evaluation.base !== "";
  const [outcome, setOutcome] = useState<Outcome | "all">(compares ? "lost" : "all");
  const [score, setScore] = useState(found.primary);
  const rows = useRows(evaluation.id, outcome === "all" ? null : outcome, score);
  const first = rows.data?.pages[0];
  const items = rows.data?.pages.flatMap((page) => page.data) ?? [];
  const label = (word: Outcome) => `${texts(`outcome.${word}`)}${first ? ` ${count(first.counts[word] ?? 0)}` : ""}`;
  return (
    <div className="stack">
      <div className="row">
        {compares && (
          <Segmented<Outcome | "all">
            aria-label={texts("rows.filter")}
            value={outcome}
            onChange={setOutcome}
            options={[
              { value: "lost", label: label("lost") },
              { value: "won", label: label("won") },
              { value: "same", label: label("same") },
              { value: "all", label: texts("outcome.all") },
            ]}
          />
        )}
        <Select
          aria-label={texts("verdict.score")}
          style={{ minWidth: 180 }}
          value={score}
          onChange={setScore}
          options={Object.keys(found.scores).map((value) => ({ value, label: translateWord("score", value) }))}
        />
      </div>
      <ErrorBox error={rows.error} again={() => void rows.refetch()} />
      {rows.isLoading && <Skeleton active />}
      {rows.data && items.length === 0 && <Nothing text={texts(`outcome.none.${outcome}`)} />}
      {items.map((row) => (
        <RowCard key={row.id} row={row} unit={found.scores[score]?.unit ?? "share"} />
      ))}
      {rows.hasNextPage && (
        <Button style={{ alignSelf: "center" }} loading={rows.isFetchingNextPage} onClick={() => void rows.fetchNextPage()}>
          {texts("action.more")}
        </Button>
      )}
    </div>
  );
}

function RowCard({ row, unit }: { row: EvaluationRow; unit: string }) {
  const texts = useTexts();
  return (
    <Card
      size="small"
      title={<span className="quiet numbers">{texts("evaluation.row", { row: row.id })}</span>}
      extra={row.outcome && <Tag color={COLOURS[row.outcome]}>{texts(`outcome.${row.outcome}`)}</Tag>}
    >
      <div className="stack" style={{ gap: 12 }}>
        <Question messages={row.messages} />
        <Said title={texts("evaluation.reference")} text={row.reference} />
        <div className="beside">
          {row.base && <Answer title={texts("verdict.base")} answered={row.base} unit={unit} />}
          <Answer title={texts(row.base ? "verdict.tuned" : "playground.answered")} answered={row.tuned} unit={unit} />
        </div>
      </div>
    </Card>
  );
}

interface Turn {
  role?: string;
  content?: unknown;
}

function Question({ messages }: { messages: unknown[] }) {
  const turns = messages as Turn[];
  return turns.map((turn, at) => (
    <Said
      key={at}
      title={translateWord("role", turn.role ?? "user")}
      text={typeof turn.content === "string" ? turn.content : JSON.stringify(turn.content ?? "")}
    />
  ));
}

export function Said({ title, text }: { title: string; text: string }) {
  return (
    <div>
      <div className="quiet" style={{ fontSize: 12 }}>
        {title}
      </div>
      <div className="said">{text}</div>
    </div>
  );
}

function Answer({ title, answered, unit }: { title: string; answered: Answered; unit: string }) {
  const texts = useTexts();
  const isPreferred = answered.finish_reason === "preferred";
  return (
    <div className="boxed">
      <div className="row" style={{ justifyContent: "space-between" }}>
        <strong>{isPreferred ? `${title} · ${texts("evaluation.preferred")}` : title}</strong>
        <Mark value={answered.value} unit={unit} />
      </div>
      {answered.error ? (
        <div className="any" role="note">
          {texts("evaluation.refused")} {answered.error}
        </div>
      ) : (
        <div className="said">{answered.text || <span className="quiet">{texts("playground.nothing")}</span>}</div>
      )}
      {!isPreferred && (
        <div className="quiet numbers" style={{ fontSize: 12 }}>
          {short(answered.seconds, 2)} s{answered.finish_reason === "length" && ` · ${texts("playground.cut")}`}
        </div>
      )}
    </div>
  );
}

/** Right and wrong as signs with words, other values as numbers. */
function Mark({ value, unit }: { value: number | null; unit: string }) {
  const texts = useTexts();
  if (unit === "share" && value === 1) return <Tag color="success">✓ {texts("evaluation.right")}</Tag>;
  if (unit === "share" && value === 0) return <Tag color="error">✗ {texts("evaluation.wrong")}</Tag>;
  return <span className="numbers">{scoreValue(value, unit)}</span>;
}
