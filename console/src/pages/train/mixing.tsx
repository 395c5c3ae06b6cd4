/** The datasets of a training, and how much one epoch draws of each: by rates or by shares. */
import { DeleteOutlined } from "@ant-design/icons";
import { useQuery } from "@tanstack/react-query";
import { Alert, Button, InputNumber, Segmented, Select, Switch, Table, type TableColumnsType } from "antd";
import { api, ask, type Schemas } from "../../api/client";
import { useDatasetPresets, useDatasets } from "../../api/datasets";
import { useSession } from "../../app/session";
import type { DatasetUse, Draft } from "../../logic/draft";
import { misfits } from "../../logic/kinds";
import { count } from "../../logic/format";
import { modeOf, sumOf, switched, type Mode } from "../../logic/mixing";
import { useQuiet } from "../../logic/quiet";
import { ErrorBox } from "../../parts/error";
import { HelpLink } from "../../parts/help-link";
import { Nothing } from "../../parts/page";
import { translate, translateWord, useLanguage, useTexts } from "../../texts/language";
import { stageOf } from "./stage";
import type { PageProps } from "./train";

const RATIO = "data.general_ratio";
const USUAL_RATIO = 0.2;

export function Mixing({ draft, change, advice }: PageProps) {
  const texts = useTexts();
  const stage = stageOf({ draft, advice });
  const wanted = advice.rowsOfStages[stage];
  const plan = usePlan(draft);
  const mode = modeOf(draft.datasets);
  const set = (name: string, part: Partial<DatasetUse>) =>
    change({ datasets: draft.datasets.map((each) => (each.dataset === name ? { ...each, ...part } : each)) });
  const remove = (use: DatasetUse) => change({ datasets: draft.datasets.filter((each) => each !== use) });
  const add = (name: string) => {
    if (draft.datasets.some((each) => each.dataset === name)) return;
    const more = [...draft.datasets, { dataset: name }];
    change({ datasets: mode === "shares" ? switched(more, "shares") : more });
  };
  const sum = sumOf(draft.datasets);
  return (
    <>
      <div className="row" style={{ gap: 12 }}>
        <Add add={add} wanted={wanted} />
        {draft.datasets.length > 1 && (
          <Segmented<Mode>
            aria-label={texts("mixing.mode")}
            value={mode}
            onChange={(next) => change({ datasets: switched(draft.datasets, next) })}
            options={[
              { value: "rates", label: texts("mixing.rates") },
              { value: "shares", label: texts("mixing.shares") },
            ]}
          />
        )}
        {mode === "shares" && (
          <Button onClick={() => change({ datasets: switched(draft.datasets, "shares") })}>{texts("mixing.even")}</Button>
        )}
      </div>
      {wanted && (
        <div className="quiet">
          {texts("train.rows", { stage: translateWord("stage", stage), kinds: kindWords(wanted) })}{" "}
          <HelpLink to={`/help/stages#${stage}`} about={translateWord("stage", stage)} />
        </div>
      )}
      <Misfits draft={draft} stage={stage} wanted={wanted} />
      {mode === "shares" && sum !== 100 && (
        <Alert type="error" showIcon role="alert" title={texts("mixing.sum", { sum })} description={texts("mixing.mustBe")} />
      )}
      {!(mode === "shares" && sum !== 100) && <ErrorBox error={plan.error} />}
      <Table<DatasetUse>
        rowKey="dataset"
        size="middle"
        pagination={false}
        dataSource={draft.datasets}
        scroll={{ x: 560 }}
        locale={{ emptyText: <Nothing text={texts("train.data.none")} /> }}
        columns={useColumns(mode, draft.datasets, plan.data, set, remove)}
      />
      {plan.data && draft.datasets.length > 0 && (
        <div className="numbers" role="status">
          {texts("mixing.total", { rows: count(plan.data.rows) })}
        </div>
      )}
      {draft.datasets.length > 0 && (
        <div className="quiet">
          {texts("train.data.rate.help")}{" "}
          <HelpLink to="/help/data#data.train.sampling_rate" about={texts("train.data.rate")} />
        </div>
      )}
      {mode === "rates" && <General draft={draft} change={change} wanted={wanted} missing={plan.data?.general_missing ?? 0} />}
    </>
  );
}

function Add({ add, wanted }: { add: (name: string) => void; wanted: readonly string[] | undefined }) {
  const texts = useTexts();
  const { mine, presets, known } = useKnown();
  const entry = ({ name, kinds }: KnownData) => {
    const others = misfits(kinds, wanted);
    const label = others.length > 0 ? `${name} · ${kindWords(others)}` : name;
    return { value: name, label, disabled: others.length > 0 };
  };
  // What fits stands in front; the others stay to be seen, with what they hold.
  const entries = (list: KnownData[]) => list.map(entry).sort((one, other) => Number(one.disabled) - Number(other.disabled));
  const options = [
    { label: texts("data.mine"), options: entries(known.filter((each) => !each.isPreset)) },
    { label: texts("data.presets"), options: entries(known.filter((each) => each.isPreset)) },
  ];
  return (
    <>
      <Select
        showSearch
        style={{ flex: "1 1 240px", maxWidth: 480 }}
        value={null}
        onChange={(name: string | null) => name && add(name)}
        options={options}
        loading={mine.isLoading || presets.isLoading}
        aria-label={texts("train.data.add")}
        placeholder={texts("train.data.add")}
      />
      <ErrorBox error={mine.error ?? presets.error} />
    </>
  );
}

interface KnownData {
  name: string;
  kinds: Record<string, number>;
  isPreset: boolean;
}

/** All datasets that can be chosen, with the kinds of their rows. */
function useKnown() {
  const { projectId } = useSession();
  const mine = useDatasets({ project_id: projectId, limit: 1000 });
  const presets = useDatasetPresets();
  const known: KnownData[] = [
    ...mine.items.flatMap((each) =>
      each.newest ? [{ name: `${each.name}@${each.num_versions}`, kinds: each.newest.kinds, isPreset: false }] : [],
    ),
    ...(presets.data?.data ?? []).map((each) => ({ name: each.name, kinds: each.kinds, isPreset: true })),
  ];
  return { mine, presets, known };
}

/** conversation, text -> conversations and plain text, in the language of the page */
function kindWords(kinds: readonly string[]): string {
  return kinds.map((kind) => translateWord("rowKind", kind)).join(translate("list.comma"));
}

/** Datasets that were chosen before the stage was, and that it has no use for. */
function Misfits({ draft, stage, wanted }: { draft: Draft; stage: string; wanted: readonly string[] | undefined }) {
  const texts = useTexts();
  const { known } = useKnown();
  const wrong = draft.datasets.flatMap((use) => {
    const found = known.find((each) => each.name === use.dataset);
    const others = found ? misfits(found.kinds, wanted) : [];
    return others.length > 0 ? [{ name: use.dataset, kinds: kindWords(others) }] : [];
  });
  if (!wanted || wrong.length === 0) return null;
  return (
    <Alert
      type="error"
      showIcon
      role="alert"
      title={texts("train.misfit", { stage: translateWord("stage", stage), kinds: kindWords(wanted) })}
      description={wrong.map(({ name, kinds }) => (
        <div key={name} className="any">
          {texts("train.misfit.holds", { name, kinds })}
        </div>
      ))}
    />
  );
}

function useColumns(
  mode: Mode,
  datasets: DatasetUse[],
  plan: Schemas["MixingRead"] | undefined,
  set: (name: string, part: Partial<DatasetUse>) => void,
  remove: (use: DatasetUse) => void,
): TableColumnsType<DatasetUse> {
  const texts = useTexts();
  const label = texts(mode === "shares" ? "mixing.share" : "train.data.rate");
  return [
    { title: texts("nav.datasets"), dataIndex: "dataset", className: "any" },
    {
      title: label,
      key: "rate",
      width: 140,
      render: (_, use) =>
        mode === "shares" ? (
          <InputNumber
            min={0.01}
            max={100}
            step={5}
            value={numberOf(use.share, 0)}
            aria-label={`${label} ${use.dataset}`}
            onChange={(share) => set(use.dataset, { share: share ?? 0, sampling_rate: undefined })}
          />
        ) : (
          <InputNumber
            min={0.01}
            max={10}
            step={0.5}
            value={numberOf(use.sampling_rate, 1)}
            aria-label={`${label} ${use.dataset}`}
            onChange={(rate) => set(use.dataset, { sampling_rate: rate ?? 1, share: undefined })}
          />
        ),
    },
    {
      title: texts("train.data.rows"),
      key: "rows",
      width: 190,
      className: "numbers",
      render: (_, use) => {
        const portion = plan?.datasets[datasets.indexOf(use)];
        if (!portion) return "–";
        return (
          <>
            {count(portion.rows_drawn)} / {count(portion.rows_available)} ({portion.share.toFixed(1)}%)
          </>
        );
      },
    },
    {
      key: "remove",
      width: 56,
      render: (_, use) => (
        <Button
          type="text"
          icon={<DeleteOutlined />}
          aria-label={`${texts("action.remove")} ${use.dataset}`}
          onClick={() => remove(use)}
        />
      ),
    },
  ];
}

/** The platform's own general rows, one for five of the user's unless another number is written. */
function General({
  draft,
  change,
  wanted,
  missing,
}: Pick<PageProps, "draft" | "change"> & { wanted: readonly string[] | undefined; missing: number }) {
  const texts = useTexts();
  const presets = useDatasetPresets();
  const corpus = presets.data?.data.find((each) => each.role === "general" && misfits(each.kinds, wanted).length === 0)?.name;
  if (!corpus || draft.datasets.length === 0) return null;
  const isMixed = draft.datasets.some((each) => each.dataset === corpus);
  const toggle = (on: boolean) =>
    change({
      datasets: on ? [...draft.datasets, { dataset: corpus, role: "general" }] : draft.datasets.filter((each) => each.dataset !== corpus),
    });
  const perGeneral = Math.round(100 / numberOf(draft.values[RATIO], USUAL_RATIO)) / 100;
  return (
    <div className="stack" style={{ gap: 8 }}>
      <div className="row">
        <Switch aria-label={texts("mixing.general")} checked={isMixed} onChange={toggle} />
        <span>{texts("mixing.general")}</span>
        {isMixed && (
          <InputNumber
            min={0.1}
            max={100}
            value={perGeneral}
            prefix="1 :"
            style={{ width: 110 }}
            aria-label={texts("mixing.ratio")}
            onChange={(value) => change({ values: { ...draft.values, [RATIO]: 1 / (value || 5) } })}
          />
        )}
      </div>
      <div className="quiet">
        {texts("mixing.general.help")} <HelpLink to="/help/data#data.general_ratio" about={texts("mixing.general")} />
      </div>
      {isMixed && missing > 0 && <Alert type="info" showIcon title={texts("mixing.missing", { count: count(missing) })} />}
    </div>
  );
}

function numberOf(value: unknown, otherwise: number): number {
  return typeof value === "number" && value > 0 ? value : otherwise;
}

/** How many rows the rates or shares come to. */
function usePlan({ datasets, values }: Draft) {
  const { projectId } = useSession();
  const { language } = useLanguage();
  const quiet = useQuiet(datasets, 300);
  const body = {
    project_id: projectId,
    general_ratio: numberOf(values[RATIO], USUAL_RATIO),
    datasets: quiet.map(({ dataset, sampling_rate, share, role }) => ({
      dataset,
      sampling_rate: numberOf(sampling_rate, 1),
      ...(typeof share === "number" ? { share } : {}),
      ...(role === "general" ? { role: "general" as const } : {}),
    })),
  };
  const isWhole = modeOf(quiet) === "rates" || sumOf(quiet) === 100;
  return useQuery({
    queryKey: ["mixing", body, language],
    queryFn: () => ask(api.POST("/api/v1/datasets/mixing-plan", { body })),
    enabled: quiet.length > 0 && isWhole,
    placeholderData: (old) => old,
  });
}
