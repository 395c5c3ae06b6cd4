/** What it learns from: datasets with their rates, and what is held out to measure it. */
import { Alert, Select, Slider } from "antd";
import { useDatasets } from "../../api/datasets";
import { useSession } from "../../app/session";
import { valueOf } from "../../logic/draft";
import { misfits } from "../../logic/kinds";
import { Choices } from "../../parts/choice";
import { useTexts } from "../../texts/language";
import { Mixing } from "./mixing";
import { stageOf } from "./stage";
import type { PageProps } from "./train";

export function DataPage(props: PageProps) {
  const texts = useTexts();
  return (
    <div className="stack">
      <h2 style={{ margin: 0, fontSize: 16 }}>{texts("train.data.train")}</h2>
      <Mixing {...props} />
      <h2 style={{ margin: "8px 0 0", fontSize: 16 }}>{texts("train.data.validation")}</h2>
      <Validation {...props} />
    </div>
  );
}

function Validation({ draft, change, advice }: PageProps) {
  const texts = useTexts();
  const { projectId } = useSession();
  const mine = useDatasets({ project_id: projectId, limit: 1000 });
  const wanted = advice.rowsOfStages[stageOf({ draft, advice })];
  const fitting = mine.items.filter((each) => misfits(each.newest?.kinds ?? {}, wanted).length === 0);
  const read = (path: string) => {
    const field = advice.fields.find((each) => each.path === path);
    return field ? valueOf(field, draft, advice.preset) : undefined;
  };
  const set = (path: string, value: unknown) => change({ values: { ...draft.values, [path]: value } });
  const kind = String(read("data.validation.kind") ?? "split");
  const fraction = Number(read("data.validation.fraction") ?? 0.1);
  const problem = advice.problems.get("data.validation.dataset") ?? advice.problems.get("data.validation");
  return (
    <>
      <Choices
        label={texts("train.data.validation")}
        value={kind}
        onChange={(value) => set("data.validation.kind", value)}
        options={[
          { value: "split", name: texts("validation.split"), about: texts("validation.split.about") },
          { value: "dataset", name: texts("validation.dataset"), about: texts("validation.dataset.about") },
          { value: "none", name: texts("validation.none"), about: texts("validation.none.about") },
        ]}
      />
      {kind === "split" && (
        <div className="row">
          <span>{texts("validation.fraction")}</span>
          <Slider
            ariaLabelForHandle={texts("validation.fraction")}
            style={{ width: 240 }}
            min={1}
            max={50}
            value={Math.round(100 * fraction)}
            tooltip={{ formatter: (value) => `${value ?? 0}%` }}
            onChange={(value) => set("data.validation.fraction", value / 100)}
          />
          <strong className="numbers">{Math.round(100 * fraction)}%</strong>
        </div>
      )}
      {kind === "dataset" && (
        <Select
          showSearch
          style={{ width: "100%", maxWidth: 480 }}
          status={problem ? "error" : ""}
          aria-label={texts("validation.dataset")}
          placeholder={texts("validation.dataset")}
          value={(read("data.validation.dataset") as string | undefined) || undefined}
          onChange={(value: string) => set("data.validation.dataset", value)}
          options={fitting.map((each) => ({ value: `${each.name}@${each.num_versions}`, label: each.name }))}
        />
      )}
      {kind === "none" && <Alert type="warning" showIcon title={texts("validation.none.warning")} />}
      {problem && <div role="alert" className="ant-form-item-explain-error any">{problem}</div>}
    </>
  );
}
