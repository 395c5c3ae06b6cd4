/** A model to ask, deploy or evaluate: what runs, what was trained, what is known; and a checkpoint of it. */
import { useQuery } from "@tanstack/react-query";
import { Select } from "antd";
import { api, ask } from "../api/client";
import type { Deployment } from "../api/deployments";
import { keys } from "../api/keys";
import { useModels, usePresets, type Model } from "../api/models";
import { useSession } from "../app/session";
import { checkpointName, parentOf } from "../logic/names";
import { short } from "../logic/format";
import { useTexts } from "../texts/language";

interface Props {
  value: string;
  onChange: (model: string) => void;
  /** Those that run stand in front. */
  deployments?: readonly Deployment[];
  label?: string;
  withCheckpoints?: boolean;
}

export function ModelChoice({ value, onChange, deployments = [], label, withCheckpoints = true }: Props) {
  const texts = useTexts();
  const { projectId } = useSession();
  const models = useModels({ project_id: projectId, limit: 200 });
  const presets = usePresets();
  const parent = models.items.find((each) => each.name === parentOf(value));
  const named = (names: string[]) => [...new Set(names)].map((name) => ({ value: name, label: name }));
  const groups = [
    { label: texts("choose.running"), options: named(deployments.map((each) => each.name)) },
    { label: texts("model.mine"), options: named(models.items.map((each) => each.name)) },
    { label: texts("model.presets"), options: named(presets.data?.data.map((each) => each.name) ?? []) },
  ];
  // A name stands in one group only, the first that has it.
  const seen = new Set<string>();
  const options = groups
    .map((group) => ({ ...group, options: group.options.filter(({ value: name }) => !seen.has(name) && seen.add(name)) }))
    .filter((group) => group.options.length > 0);
  const job = parent?.job_id && withCheckpoints ? parent : null;
  return (
    <div className="row" style={{ flexWrap: "nowrap" }}>
      <Select
        showSearch
        style={{ flex: "1 1 160px", minWidth: 0 }}
        popupMatchSelectWidth={false}
        aria-label={label ?? texts("choose.model")}
        placeholder={texts("choose.model")}
        loading={models.isLoading || presets.isLoading}
        value={(job ? parent?.name : value) || null}
        onChange={(chosen: string | null) => onChange(chosen ?? "")}
        options={options}
      />
      {job && <CheckpointChoice model={job} value={value} onChange={onChange} />}
    </div>
  );
}

/** The result of a job, or what it saved on its way. */
function CheckpointChoice({ model, value, onChange }: { model: Model } & Pick<Props, "value" | "onChange">) {
  const texts = useTexts();
  const jobId = model.job_id ?? "";
  const saved = useQuery({
    queryKey: [...keys.jobPart(jobId, "checkpoints"), "choice"],
    queryFn: () =>
      ask(api.GET("/api/v1/jobs/{job_id}/checkpoints", { params: { path: { job_id: jobId }, query: { limit: 200 } } })),
  });
  const steps = (saved.data?.data ?? []).filter((each) => !each.deleted_at);
  if (steps.length === 0 || !model.name.startsWith("ft:") || model.checkpoint_id) return null;
  return (
    <Select
      style={{ flex: "0 1 130px", minWidth: 100 }}
      popupMatchSelectWidth={false}
      aria-label={texts("choose.checkpoint")}
      value={value}
      onChange={onChange}
      options={[
        { value: model.name, label: texts("choose.result") },
        ...steps.map((each) => {
          const loss = typeof each.metrics.valid_loss === "number" ? ` · ${short(each.metrics.valid_loss, 3)}` : "";
          return { value: checkpointName(model.name, each.step), label: `${texts("chart.step")} ${each.step}${loss}` };
        }),
      ]}
    />
  );
}
