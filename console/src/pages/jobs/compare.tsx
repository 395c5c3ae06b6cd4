/** Up to eight jobs: their curves over one another, and what is different in their recipes. */
import { useQueries } from "@tanstack/react-query";
import { Card, Skeleton, Slider, Table } from "antd";
import { useMemo, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { api, ask } from "../../api/client";
import { MOST_COMPARED, type JobDetails } from "../../api/jobs";
import { keys } from "../../api/keys";
import { useLook } from "../../app/look";
import { CURVES } from "../../app/theme";
import type { Metrics } from "../../logic/curves";
import { count, exponent, short } from "../../logic/format";
import { differences, type Difference } from "../../logic/recipes";
import { smooth } from "../../logic/smoothing";
import { Chart, type Curve } from "../../parts/chart";
import { ErrorBox } from "../../parts/error";
import { Nothing, StatusTag, Title } from "../../parts/page";
import { useTexts } from "../../texts/language";

interface Loaded {
  job: JobDetails;
  metrics: Metrics;
  recipe: unknown;
}

async function load(id: string): Promise<Loaded> {
  const params = { path: { job_id: id } };
  const [job, metrics, recipe] = await Promise.all([
    ask(api.GET("/api/v1/jobs/{job_id}", { params })),
    ask(api.GET("/api/v1/jobs/{job_id}/metrics", { params: { ...params, query: { points: 1000 } } })),
    ask(api.GET("/api/v1/jobs/{job_id}/recipe", { params })),
  ]);
  return { job, metrics, recipe: recipe.recipe };
}

export default function Compare() {
  const texts = useTexts();
  const [search] = useSearchParams();
  const ids = search.getAll("job").slice(0, MOST_COMPARED);
  const found = useQueries({
    queries: ids.map((id) => ({
      queryKey: keys.jobPart(id, "compared"),
      queryFn: () => load(id),
      refetchInterval: 10_000,
    })),
    combine: (all) => ({
      error: all.find((each) => each.error)?.error ?? null,
      isLoading: all.some((each) => each.isLoading),
      jobs: all.flatMap((each) => (each.data ? [each.data] : [])),
      again: () => all.forEach((each) => void each.refetch()),
    }),
  });
  return (
    <>
      <Title
        title={texts("compare.title")}
        before={<Link to="/jobs">← {texts("nav.jobs")}</Link>}
        about={texts("compare.about", { most: MOST_COMPARED })}
      />
      <div className="stack">
        <ErrorBox error={found.error} again={found.again} />
        {found.isLoading && <Skeleton active />}
        {ids.length === 0 && <Nothing text={texts("compare.none")} />}
        {found.jobs.length > 0 && (
          <>
            <Jobs jobs={found.jobs.map((each) => each.job)} />
            <Overlaid jobs={found.jobs} />
            <Differences jobs={found.jobs} />
          </>
        )}
      </div>
    </>
  );
}

/** Names that stand twice get the end of their id. */
function namesOf(jobs: readonly JobDetails[]): string[] {
  return jobs.map((job) =>
    jobs.filter((each) => each.name === job.name).length > 1 ? `${job.name} (${job.id.slice(-4)})` : job.name,
  );
}

function Dot({ at }: { at: number }) {
  const { look } = useLook();
  return <span className="colour" aria-hidden style={{ background: CURVES[look][at % CURVES[look].length] }} />;
}

function Jobs({ jobs }: { jobs: JobDetails[] }) {
  const texts = useTexts();
  const names = namesOf(jobs);
  return (
    <Card styles={{ body: { padding: 0 } }}>
      <Table<JobDetails>
        rowKey="id"
        size="middle"
        pagination={false}
        scroll={{ x: 720 }}
        dataSource={jobs}
        columns={[
          {
            title: texts("job.name"),
            key: "name",
            render: (_, job, at) => (
              <span className="row" style={{ flexWrap: "nowrap" }}>
                <Dot at={at} />
                <Link to={`/jobs/${job.id}/metrics`} className="any">
                  {names[at]}
                </Link>
              </span>
            ),
          },
          { title: texts("job.base"), dataIndex: "base", className: "any" },
          { title: texts("job.status"), dataIndex: "status", render: (status: string) => <StatusTag status={status} /> },
          { title: texts("job.loss"), dataIndex: "loss", align: "end", className: "numbers", render: (loss: number | null) => short(loss) },
          { title: texts("comes.steps"), dataIndex: "step", align: "end", className: "numbers", render: (step: number) => count(step) },
          { title: texts("job.tokens"), dataIndex: "trained_tokens", align: "end", className: "numbers", render: (tokens: number | null) => (tokens === null ? "–" : count(tokens)) },
        ]}
      />
    </Card>
  );
}

const CHARTS = [
  { series: "loss", key: "curves.loss", smoothed: true },
  { series: "validation_loss", key: "curves.validation", points: true },
  { series: "reward_accuracy", key: "curves.rewardAccuracy", smoothed: true },
  { series: "reward_margin", key: "curves.margin", smoothed: true },
  { series: "learning_rate", key: "curves.rate" },
  { series: "grad_norm", key: "curves.norm", smoothed: true },
] as const;
const rate = (value: number) => (value === 0 ? "0" : exponent(value, 2));

function Overlaid({ jobs }: { jobs: Loaded[] }) {
  const texts = useTexts();
  const [weight, setWeight] = useState(0.8);
  const charts = useMemo(() => {
    const names = namesOf(jobs.map((each) => each.job));
    return CHARTS.map((chart) => ({
      ...chart,
      curves: jobs.flatMap(({ metrics }, at): Curve[] => {
        const found = metrics.series[chart.series];
        if (!found?.steps.length) return [];
        const values = "smoothed" in chart ? smooth(found.values, weight) : found.values;
        return [{ name: names[at] ?? "", steps: found.steps, values, colour: at, points: "points" in chart }];
      }),
    })).filter((chart) => chart.curves.length > 0);
  }, [jobs, weight]);
  if (charts.length === 0) return <Nothing text={texts("curves.none")} />;
  return (
    <Card>
      <div className="bar">
        <span>{texts("curves.smoothing")}</span>
        <Slider
          ariaLabelForHandle={texts("curves.smoothing")}
          style={{ width: 180 }}
          min={0}
          max={0.99}
          step={0.01}
          value={weight}
          onChange={setWeight}
        />
      </div>
      <div className="wide-columns">
        {charts.map((each) => (
          <Chart
            key={each.series}
            title={each.series === "validation_loss" ? `${texts("curves.loss")} · ${texts(each.key)}` : texts(each.key)}
            curves={each.curves}
            {...(each.series === "learning_rate" ? { format: rate } : {})}
          />
        ))}
      </div>
    </Card>
  );
}

function Differences({ jobs }: { jobs: Loaded[] }) {
  const texts = useTexts();
  const found = useMemo(() => differences(jobs.map((each) => each.recipe)), [jobs]);
  const names = namesOf(jobs.map((each) => each.job));
  return (
    <Card title={texts("compare.differences")} styles={{ body: { padding: 0 } }}>
      <Table<Difference>
        rowKey="path"
        size="small"
        pagination={false}
        scroll={{ x: 240 + 160 * jobs.length }}
        dataSource={found}
        locale={{ emptyText: <Nothing text={texts("compare.same")} /> }}
        columns={[
          { title: texts("model.parameter"), dataIndex: "path", width: 240, className: "mono any", fixed: "start" },
          ...jobs.map((each, at) => ({
            title: (
              <span className="row" style={{ flexWrap: "nowrap" }}>
                <Dot at={at} />
                <span className="any">{names[at]}</span>
              </span>
            ),
            key: each.job.id,
            className: "mono any",
            render: (_: unknown, difference: Difference) => difference.values[at] ?? "–",
          })),
        ]}
      />
    </Card>
  );
}
