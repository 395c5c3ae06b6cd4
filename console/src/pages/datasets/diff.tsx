/** What differs between two versions. */
import { useQuery } from "@tanstack/react-query";
import { Drawer, Select, Skeleton, Statistic, Tag } from "antd";
import { useState } from "react";
import { api, ask } from "../../api/client";
import type { Dataset } from "../../api/datasets";
import { keys } from "../../api/keys";
import { count } from "../../logic/format";
import { excerpt } from "../../logic/row";
import { ErrorBox } from "../../parts/error";
import { Nothing } from "../../parts/page";
import { useTexts } from "../../texts/language";

type Stored = Record<string, unknown>;
interface Difference {
  counts: Record<"added" | "removed" | "changed" | "same", number>;
  added: { id: number; after: Stored }[];
  removed: { id: number; before: Stored }[];
  changed: { id: number; before: Stored; after: Stored }[];
}
const KINDS = ["added", "removed", "changed", "same"] as const;

interface Props {
  dataset: Dataset;
  before: number;
  after: number;
  onClose: () => void;
}

export function DiffDrawer({ dataset, onClose, ...first }: Props) {
  const texts = useTexts();
  const [before, setBefore] = useState(first.before);
  const [after, setAfter] = useState(first.after);
  const found = useQuery({
    queryKey: keys.datasetPart(dataset.id, "diff", before, after),
    queryFn: async () =>
      (await ask(
        api.GET("/api/v1/datasets/{dataset_id}/diff", {
          params: { path: { dataset_id: dataset.id }, query: { before, after } },
        }),
      )) as unknown as Difference,
    staleTime: Infinity,
  });
  const versions = Array.from({ length: dataset.num_versions }, (_, index) => index + 1).map((value) => ({ value, label: `v${value}` }));
  return (
    <Drawer open size="min(820px, 100vw)" title={texts("diff.title", { before, after })} onClose={onClose}>
      <div className="stack">
        <div className="row">
          <Select aria-label={texts("diff.before")} value={before} onChange={setBefore} options={versions} style={{ width: 90 }} />
          →
          <Select aria-label={texts("diff.after")} value={after} onChange={setAfter} options={versions} style={{ width: 90 }} />
        </div>
        <ErrorBox error={found.error} again={() => void found.refetch()} />
        {found.isLoading && <Skeleton active />}
        {found.data && <Shown found={found.data} />}
      </div>
    </Drawer>
  );
}

function Shown({ found }: { found: Difference }) {
  const texts = useTexts();
  const rows = found.added.length + found.removed.length + found.changed.length;
  return (
    <>
      <div className="columns" style={{ gridTemplateColumns: "repeat(auto-fit, minmax(100px, 1fr))" }}>
        {KINDS.map((kind) => (
          <Statistic key={kind} title={texts(`diff.${kind}`)} value={count(found.counts[kind])} />
        ))}
      </div>
      {rows === 0 && <Nothing text={texts("diff.none")} />}
      {rows > 0 && <div className="quiet">{texts("diff.shown")}</div>}
      {found.changed.map((each) => (
        <Row key={`c${each.id}`} id={each.id} kind="changed" before={each.before} after={each.after} />
      ))}
      {found.added.map((each) => (
        <Row key={`a${each.id}`} id={each.id} kind="added" after={each.after} />
      ))}
      {found.removed.map((each) => (
        <Row key={`r${each.id}`} id={each.id} kind="removed" before={each.before} />
      ))}
    </>
  );
}

const COLOURS = { added: "success", removed: "error", changed: "processing" } as const;

interface RowProps {
  id: number;
  kind: keyof typeof COLOURS;
  before?: Stored;
  after?: Stored;
}

function Row({ id, kind, before, after }: RowProps) {
  const texts = useTexts();
  return (
    <section className="change">
      <div className="row">
        <Tag color={COLOURS[kind]}>{texts(`diff.${kind}`)}</Tag>
        <span className="quiet numbers">#{count(id)}</span>
      </div>
      <div className="columns">
        {before && <Record label={texts("diff.before")} record={before} className="gone" />}
        {after && <Record label={texts("diff.after")} record={after} className="new" />}
      </div>
    </section>
  );
}

function Record({ label, record, className }: { label: string; record: Stored; className: string }) {
  const { question, answer } = excerpt(record);
  return (
    <div className={`any ${className}`}>
      <div className="quiet">{label}</div>
      {question && <p>{question}</p>}
      <p>{answer}</p>
    </div>
  );
}
