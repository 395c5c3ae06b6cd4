/** How long the rows are for a model, and which maximum length suits them. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Alert, Button, Select, Skeleton, Statistic } from "antd";
import { useState } from "react";
import { api, ask, ApiError } from "../../api/client";
import { keys } from "../../api/keys";
import { usePresets } from "../../api/models";
import { useSession } from "../../app/session";
import { count } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { Histogram } from "../../parts/histogram";
import { TaskProgress } from "../../parts/task";
import { useTexts } from "../../texts/language";
import type { PartProps } from "./dataset";

interface Spread {
  mean: number;
  median: number;
  p95: number;
  max: number;
  total: number;
}
interface Bars {
  width: number;
  counts: number[];
  beyond: number;
}
interface Counted {
  tokens: Spread;
  answer_tokens: Spread;
  histogram: Bars;
  answer_histogram: Bars;
  recommended: { max_length: number; why: string } | null;
  advice: string;
}

export function Stats({ dataset, version }: PartProps) {
  const texts = useTexts();
  const client = useQueryClient();
  const { mayWrite } = useSession();
  const presets = usePresets();
  const [model, setModel] = useState("starter");
  const [task, setTask] = useState<string | null>(null);
  const path = { dataset_id: dataset.id, number: version };
  const key = keys.datasetPart(dataset.id, "stats", version, model);
  const stats = useQuery({
    queryKey: key,
    queryFn: async () =>
      (await ask(
        api.GET("/api/v1/datasets/{dataset_id}/versions/{number}/stats", { params: { path, query: { model } } }),
      )) as unknown as Counted,
  });
  const begin = useMutation({
    mutationFn: () =>
      ask(api.POST("/api/v1/datasets/{dataset_id}/versions/{number}/stats", { params: { path }, body: { model } })),
    onSuccess: (begun) => setTask(begun.id),
  });
  const isMissing = stats.error instanceof ApiError && stats.error.code === "report_not_found";
  return (
    <div className="stack" style={{ paddingTop: 8 }}>
      <div className="row">
        <Select
          showSearch
          style={{ minWidth: 220 }}
          aria-label={texts("job.base")}
          value={model}
          onChange={setModel}
          options={presets.data?.data.map((each) => ({ value: each.name, label: each.title })) ?? []}
        />
        {mayWrite && (
          <Button loading={begin.isPending} onClick={() => begin.mutate()}>
            {texts("stats.count")}
          </Button>
        )}
      </div>
      {task && <TaskProgress key={task} id={task} onDone={() => void client.invalidateQueries({ queryKey: key })} />}
      <ErrorBox error={begin.error ?? (isMissing ? null : stats.error)} />
      {isMissing && <Alert type="info" title={texts("stats.none")} />}
      {stats.isLoading && <Skeleton active />}
      {stats.data && <Shown found={stats.data} />}
    </div>
  );
}

function Shown({ found }: { found: Counted }) {
  const texts = useTexts();
  const facts = [
    [texts("stats.mean"), found.tokens.mean],
    [texts("stats.median"), found.tokens.median],
    ["P95", found.tokens.p95],
    [texts("stats.longest"), found.tokens.max],
    [texts("stats.total"), found.tokens.total],
  ] as const;
  return (
    <>
      <div className="columns" style={{ gridTemplateColumns: "repeat(auto-fit, minmax(120px, 1fr))" }}>
        {facts.map(([name, value]) => (
          <Statistic key={name} title={name} value={count(value)} />
        ))}
      </div>
      {found.recommended && (
        <Alert
          type="info"
          showIcon
          title={texts("stats.recommended", { length: count(found.recommended.max_length) })}
          description={<span className="sentence">{found.recommended.why}</span>}
        />
      )}
      <div className="wide-columns">
        <Histogram title={texts("stats.lengths")} bars={found.histogram} />
        <Histogram title={texts("stats.answers")} bars={found.answer_histogram} />
      </div>
      {found.advice && <p className="quiet">{found.advice}</p>}
    </>
  );
}
