/** What the training comes to, beside the form. */
import { Alert, Card, Descriptions, Spin } from "antd";
import type { Draft } from "../../logic/draft";
import { count, exponent } from "../../logic/format";
import { useTexts } from "../../texts/language";
import type { Advice } from "./advice";

export function Summary({ draft, advice }: { draft: Draft; advice: Advice }) {
  const texts = useTexts();
  const { comes } = advice;
  const number = (value: number | null | undefined) => (value == null ? "–" : count(value));
  const facts = [
    { key: "base", label: texts("job.base"), children: draft.base || "–" },
    { key: "data", label: texts("nav.datasets"), children: draft.datasets.map((each) => each.dataset).join(", ") || "–" },
    ...(comes
      ? [
          { key: "rows", label: texts("comes.rows"), children: number(comes.training_rows) },
          { key: "batch", label: texts("comes.batch"), children: number(comes.batch_rows ?? comes.batch_tokens) },
          { key: "epoch", label: texts("comes.stepsPerEpoch"), children: number(comes.steps_per_epoch) },
          { key: "steps", label: texts("comes.steps"), children: number(comes.total_steps) },
          { key: "warm", label: texts("comes.warmup"), children: number(comes.warmup_steps) },
          { key: "rate", label: texts("comes.rate"), children: exponent(comes.learning_rate, 3) },
          { key: "low", label: texts("comes.lowest"), children: exponent(comes.lowest_learning_rate, 3) },
          { key: "tokens", label: texts("comes.tokensPerCheckpoint"), children: number(comes.tokens_per_checkpoint) },
        ]
      : []),
  ];
  return (
    <aside className="stack" style={{ position: "sticky", top: 80 }} aria-label={texts("train.summary")}>
      <Card size="small" title={texts("train.summary")} extra={advice.isChecking && <Spin size="small" />}>
        <Descriptions
          size="small"
          column={1}
          items={facts}
          styles={{ content: { overflowWrap: "anywhere", justifyContent: "flex-end", textAlign: "end" } }}
        />
      </Card>
      <Notices notices={advice.notices} />
    </aside>
  );
}

export function Notices({ notices }: { notices: Advice["notices"] }) {
  return notices.map((each, index) => (
    <Alert
      key={index}
      type="warning"
      showIcon
      title={<span className="any">{each.message}</span>}
      description={each.hint && <span className="any">{each.hint}</span>}
    />
  ));
}
