/** What a check found: each finding with its rows, and the mends that the platform has. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Alert, Button, Collapse, Skeleton, Space, Statistic, Tag } from "antd";
import { useState } from "react";
import { Link } from "react-router";
import { api, ask, ApiError } from "../../api/client";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { count } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { TaskProgress } from "../../parts/task";
import { useLanguage, useTexts, translateWord } from "../../texts/language";
import type { PartProps } from "./dataset";
import { useEdit } from "./edit";

interface Finding {
  code: string;
  severity: "error" | "warning" | "info";
  title: string;
  count: number;
  mend: string;
  fix: string;
  places: { file: string; line: number; field?: string; excerpt?: string }[];
}
interface Found {
  rows_read: number;
  rows_usable: number;
  counts: Record<string, number>;
  findings: Finding[];
}
const COLOURS = { error: "error", warning: "warning", info: "default" } as const;
const MOST_PLACES = 50;

export function Report({ dataset, version }: PartProps) {
  const texts = useTexts();
  const client = useQueryClient();
  const { language } = useLanguage();
  const { mayWrite } = useSession();
  const [task, setTask] = useState<string | null>(null);
  const path = { dataset_id: dataset.id, number: version };
  const report = useQuery({
    queryKey: keys.datasetPart(dataset.id, "report", version, language),
    queryFn: async () =>
      (await ask(
        api.GET("/api/v1/datasets/{dataset_id}/versions/{number}/report", { params: { path, query: { language } } }),
      )) as unknown as Found,
  });
  const check = useMutation({
    mutationFn: () =>
      ask(api.POST("/api/v1/datasets/{dataset_id}/versions/{number}/check", { params: { path }, body: { near: true } })),
    onSuccess: (begun) => setTask(begun.id),
  });
  const { edit: mend, progress } = useEdit({ dataset, version });
  const isMissing = report.error instanceof ApiError && report.error.code === "report_not_found";
  const actions = mayWrite && (
    <Space wrap>
      <Button loading={check.isPending} onClick={() => check.mutate()}>
        {texts(isMissing ? "report.checkFirst" : "report.check")}
      </Button>
      <Button loading={mend.isPending} onClick={() => mend.mutate({ operation: "fix", only: [] })}>
        {texts("report.mend")}
      </Button>
    </Space>
  );
  return (
    <div className="stack" style={{ paddingTop: 8 }}>
      {actions}
      {task && <TaskProgress id={task} onDone={() => void client.invalidateQueries({ queryKey: keys.dataset(dataset.id) })} />}
      {progress}
      <ErrorBox error={check.error ?? mend.error ?? (isMissing ? null : report.error)} />
      {isMissing && <Alert type="info" title={texts("report.none")} />}
      {report.isLoading && <Skeleton active />}
      {report.data && <Findings found={report.data} dataset={dataset} version={version} mend={mayWrite ? (code) => mend.mutate({ operation: "fix", only: [code] }) : null} />}
    </div>
  );
}

interface FindingsProps extends PartProps {
  found: Found;
  mend: ((code: string) => void) | null;
}

function Findings({ found, dataset, version, mend }: FindingsProps) {
  const texts = useTexts();
  const facts = [
    [texts("report.read"), found.rows_read],
    [texts("report.usable"), found.rows_usable],
    ...(["error", "warning", "info"] as const).map((each) => [translateWord("severity", each), found.counts[each] ?? 0] as const),
  ] as const;
  return (
    <>
      <div className="columns" style={{ gridTemplateColumns: "repeat(auto-fit, minmax(110px, 1fr))" }}>
        {facts.map(([name, value]) => (
          <Statistic key={name} title={name} value={count(value)} />
        ))}
      </div>
      {found.findings.length === 0 ? (
        <Alert type="success" showIcon title={texts("report.clean")} />
      ) : (
        <Collapse
          items={found.findings.map((each) => ({
            key: each.code,
            label: (
              <span className="row" style={{ display: "inline-flex" }}>
                <Tag color={COLOURS[each.severity]}>{translateWord("finding", each.severity)}</Tag>
                <span className="any">{each.title}</span>
                <span className="quiet numbers">{texts("dataset.rowsOf", { count: count(each.count) })}</span>
              </span>
            ),
            children: (
              <div className="stack" style={{ gap: 8 }}>
                <div className="row">
                  <span className="any">{each.mend}</span>
                  {each.fix && mend && (
                    <Button size="small" onClick={() => mend(each.code)}>
                      {texts("report.mendThese")}
                    </Button>
                  )}
                </div>
                {each.severity === "error" ? (
                  <LeftOut dataset={dataset} version={version} places={each.places} />
                ) : (
                  <Places dataset={dataset} version={version} places={each.places} />
                )}
              </div>
            ),
          }))}
        />
      )}
    </>
  );
}

/** Rows of the files that are no rows of the dataset: what was there, and that they can come again. */
function LeftOut({ dataset, version, places }: PartProps & { places: Finding["places"] }) {
  const texts = useTexts();
  const path = { dataset_id: dataset.id, number: version };
  const rejected = useQuery({
    queryKey: keys.datasetPart(dataset.id, "rejected", version),
    queryFn: () =>
      ask(api.GET("/api/v1/datasets/{dataset_id}/versions/{number}/rejected", { params: { path, query: { limit: 500 } } })),
    staleTime: Infinity,
  });
  const there = new Map(rejected.data?.data.map(({ file, line, ...rest }) => [`${String(file)}:${String(line)}`, rest]));
  return (
    <>
      <div className="quiet">{texts("report.leftOut")}</div>
      <ErrorBox error={rejected.error} />
      <ul style={{ margin: 0, paddingInlineStart: 20 }}>
        {places.slice(0, MOST_PLACES).map((place, index) => {
          const row = there.get(`${place.file}:${place.line}`);
          return (
            <li key={index} className="any">
              {texts("report.line", { file: place.file, line: count(place.line) })}{" "}
              <span className="quiet mono">{row ? JSON.stringify(row) : place.excerpt}</span>
            </li>
          );
        })}
      </ul>
    </>
  );
}

function Places({ dataset, version, places }: PartProps & { places: Finding["places"] }) {
  const texts = useTexts();
  return (
    <ul style={{ margin: 0, paddingInlineStart: 20 }}>
      {places.slice(0, MOST_PLACES).map((place, index) => {
        const where = `file == ${JSON.stringify(place.file)} and line == ${place.line}`;
        return (
          <li key={index} className="any">
            <Link to={`/datasets/${dataset.id}/rows?version=${version}&where=${encodeURIComponent(where)}`}>
              {texts("report.line", { file: place.file, line: count(place.line) })}
            </Link>{" "}
            {place.excerpt && <span className="quiet mono">{place.excerpt}</span>}
          </li>
        );
      })}
    </ul>
  );
}
