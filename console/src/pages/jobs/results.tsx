/** What came of a job: its model, how good it was when it was saved, and what evaluations found. */
import { Button, Descriptions, Skeleton } from "antd";
import { Link } from "react-router";
import { FINAL, type JobDetails } from "../../api/jobs";
import { useModel, type ModelDetails } from "../../api/models";
import { bytes, count, short } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { Nothing } from "../../parts/page";
import { translateWord, useTexts } from "../../texts/language";
import { EvaluationTable } from "../evaluations/list";
import { Uses } from "../models/uses";

export function Results({ job }: { job: JobDetails }) {
  const texts = useTexts();
  if (job.model_id) return <OfModel id={job.model_id} job={job} />;
  const why = job.status === "succeeded" ? "results.gone" : FINAL.includes(job.status) ? "results.none" : "results.later";
  return (
    <Nothing text={texts(why)}>
      {job.num_checkpoints > 0 && (
        <Link to={`/jobs/${job.id}/checkpoints`}>
          <Button>{texts("job.tab.checkpoints")}</Button>
        </Link>
      )}
    </Nothing>
  );
}

function OfModel({ id, job }: { id: string; job: JobDetails }) {
  const texts = useTexts();
  const model = useModel(id);
  if (model.error && !model.data) return <ErrorBox error={model.error} again={() => void model.refetch()} />;
  if (!model.data) return <Skeleton active />;
  return (
    <div className="stack">
      <Facts model={model.data} job={job} />
      <Ways model={model.data} />
      <div>
        <h2 className="small">{texts("nav.evaluations")}</h2>
        <EvaluationTable modelId={id} />
      </div>
    </div>
  );
}

function Facts({ model, job }: { model: ModelDetails; job: JobDetails }) {
  const texts = useTexts();
  const number = (name: string) => {
    const value = model.details[name];
    return typeof value === "number" ? value : null;
  };
  const step = number("result_step");
  const facts = [
    { key: "model", label: texts("results.model"), span: "filled" as const, children: <Link to={`/models/${model.id}`}>{model.name}</Link> },
    { key: "kind", label: texts("results.kind"), children: translateWord("kind", model.kind) },
    { key: "size", label: texts("model.size"), children: bytes(model.bytes) },
    { key: "step", label: texts("results.step"), children: step === null ? "–" : count(step) },
    { key: "loss", label: texts("results.loss"), children: short(number("result_loss")) },
    { key: "best", label: texts("overview.bestLoss"), children: short(number("best_loss")) },
    { key: "tokens", label: texts("job.tokens"), children: job.trained_tokens === null ? "–" : count(job.trained_tokens) },
  ];
  return <Descriptions column={{ xs: 1, md: 2, xl: 3 }} items={facts} styles={{ content: { overflowWrap: "anywhere" } }} />;
}

/** Where one goes with a result. */
function Ways({ model }: { model: ModelDetails }) {
  const texts = useTexts();
  const beside = [model.name, model.base].filter(Boolean).map((each) => `model=${encodeURIComponent(each)}`);
  return (
    <div className="row">
      <Link to={`/playground?${beside.join("&")}`}>
        <Button type="primary">{texts("results.beside")}</Button>
      </Link>
      <Uses model={model} />
      <Link to={`/models/${model.id}/files`}>
        <Button>{texts("model.tab.files")}</Button>
      </Link>
    </div>
  );
}
