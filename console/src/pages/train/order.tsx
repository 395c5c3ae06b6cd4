/** The last look: what will be done, how long it takes, what it costs; then it is created, once. */
import { useQuery } from "@tanstack/react-query";
import { Alert, Button, Card, Descriptions, Skeleton, Statistic } from "antd";
import { useMemo, useState } from "react";
import { Link, useNavigate } from "react-router";
import { api, ask, type ApiError, type Schemas } from "../../api/client";
import { useSession } from "../../app/session";
import { bytes, count, duration, price } from "../../logic/format";
import { uniqueKey } from "../../logic/key";
import { ErrorBox } from "../../parts/error";
import { nameOf } from "../../texts/fields";
import { translateWord, useLanguage, useTexts } from "../../texts/language";
import { Counts } from "./counts";
import { methodOf, stageOf } from "./stage";
import { Notices } from "./summary";
import type { Advice } from "./advice";
import { pageOf } from "./pages";
import type { PageProps } from "./train";

type JobCreate = Schemas["JobCreate"];

export function OrderPage({ draft, change, advice, onSent }: PageProps & { onSent: () => void }) {
  const texts = useTexts();
  const { language } = useLanguage();
  const navigate = useNavigate();
  const { projectId } = useSession();
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const body: JobCreate = {
    project_id: projectId,
    name: draft.name,
    description: draft.description,
    recipe: advice.recipe,
    flavour: draft.flavour,
    num_devices: draft.devices,
    priority: 0,
    subscriptions: draft.reminders
      .filter((each) => each.address.trim())
      .map((each) => ({ ...each, events: ["job.succeeded", "job.failed"] })),
  };
  // The same key for the same form: a second click, or an answer that was lost, makes no second job.
  const form = JSON.stringify(body);
  const key = useMemo(() => ({ of: form, value: uniqueKey() }), [form]);
  const estimate = useQuery({
    queryKey: ["estimate", body, language],
    queryFn: () => ask(api.POST("/api/v1/jobs/estimate", { body })),
    enabled: advice.fields.length > 0 && advice.problems.size === 0 && !busy,
  });
  const create = async () => {
    setBusy(true);
    setError(null);
    try {
      const params = { header: { "Idempotency-Key": key.value } };
      const job = await ask(api.POST("/api/v1/jobs", { params, body }));
      onSent();
      await navigate(`/jobs/${job.id}/metrics`);
    } catch (failed) {
      setError(failed as ApiError);
      setBusy(false);
    }
  };
  return (
    <div className="stack">
      <Wrong advice={advice} />
      {advice.problems.size === 0 && <ErrorBox error={estimate.error} again={() => void estimate.refetch()} />}
      {!estimate.data && !estimate.error && advice.problems.size === 0 && <Skeleton active />}
      {estimate.data && <Estimate found={estimate.data} />}
      {estimate.data && <Counts body={body} found={estimate.data} change={change} />}
      <Descriptions
        bordered
        size="small"
        column={{ xs: 1, md: 2 }}
        styles={{ content: { overflowWrap: "anywhere" } }}
        items={[
          { key: "name", label: texts("job.name"), children: draft.name },
          { key: "stage", label: texts("train.stage"), children: translateWord("stage", stageOf({ draft, advice })) },
          { key: "method", label: texts("train.method"), children: translateWord("method", methodOf({ draft, advice })) },
          { key: "base", label: texts("job.base"), children: draft.base },
          { key: "data", label: texts("nav.datasets"), children: draft.datasets.map((each) => each.dataset).join(", ") },
          { key: "flavour", label: texts("job.flavour"), children: draft.flavour || texts("job.anyFlavour") },
          { key: "devices", label: texts("job.devices"), children: draft.devices },
          { key: "steps", label: texts("comes.steps"), children: advice.comes?.total_steps ? count(advice.comes.total_steps) : "–" },
        ]}
      />
      <Notices notices={estimate.data?.notices ?? []} />
      {estimate.data && !estimate.data.affordable && <Alert type="error" showIcon title={texts("order.noCredit")} />}
      <ErrorBox error={error} />
      <div>
        <Button
          type="primary"
          size="large"
          loading={busy}
          disabled={advice.sheet.fields.length === 0 || advice.problems.size > 0 || estimate.isError}
          onClick={() => void create()}
        >
          {texts("order.create")}
        </Button>
      </div>
    </div>
  );
}

/** What is still wrong in the form, each with the page where it is mended. */
function Wrong({ advice }: { advice: Advice }) {
  const texts = useTexts();
  if (advice.problems.size === 0) return null;
  const named = new Map(advice.fields.map((field) => [field.path, field]));
  return (
    <Alert
      type="error"
      showIcon
      title={texts("order.wrong")}
      description={
        <ul className="plain">
          {[...advice.problems].map(([path, message]) => {
            const field = named.get(path);
            const page = pageOf(path);
            return (
              <li key={path} className="any">
                <Link to={`/train?page=${page}`}>{field ? nameOf(field) : texts(`train.${page}`)}</Link>: {message}
              </li>
            );
          })}
        </ul>
      }
    />
  );
}

function Estimate({ found }: { found: Schemas["Preflight"] }) {
  const texts = useTexts();
  const { estimate } = found;
  const about =
    estimate.basis === "past_runs"
      ? texts("order.pastRuns", { count: estimate.num_past_runs })
      : translateWord("order", estimate.basis);
  return (
    <Card size="small" style={{ background: "var(--soft)" }}>
      <div className="columns" style={{ gridTemplateColumns: "repeat(auto-fit, minmax(140px, 1fr))" }}>
        <Statistic title={texts("order.time")} value={duration(estimate.seconds)} />
        <Statistic title={texts("order.memory")} value={estimate.memory_bytes === null ? "–" : bytes(estimate.memory_bytes)} />
        <Statistic title={texts("order.tokens")} value={count(estimate.tokens)} />
        <Statistic title={texts("order.price")} value={price(estimate.price_cents)} />
      </div>
      <div className="quiet" style={{ marginTop: 8 }}>
        {about}
      </div>
    </Card>
  );
}
