/** Begin an evaluation: a model, rows that it has not learned from, and what is measured. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { AutoComplete, Form, InputNumber, Modal, Segmented, Select, Switch } from "antd";
import { useState } from "react";
import { api, ask } from "../../api/client";
import { useDatasetPresets, useDatasets } from "../../api/datasets";
import type { Evaluation } from "../../api/evaluations";
import { keys } from "../../api/keys";
import { useModels } from "../../api/models";
import { useSession } from "../../app/session";
import { ErrorBox } from "../../parts/error";
import { ModelChoice } from "../../parts/model-choice";
import { translateWord, useTexts } from "../../texts/language";

/** In the order of the guide; length and latency are always measured. */
const SCORES = [
  "contains", "exact_match", "normalised_match", "nearest_reference", "accuracy", "macro_f1", "token_f1", "rouge_l",
  "rouge_1", "rouge_2", "bleu", "json_equal", "json_schema", "json_valid", "perplexity", "preference_accuracy",
] as const;

interface Props {
  /** Name or id. */
  model: string;
  onClose: () => void;
  onMade: (evaluation: Evaluation) => void;
}

export function EvaluateDialog({ model: given, onClose, onMade }: Props) {
  const texts = useTexts();
  const client = useQueryClient();
  const { projectId } = useSession();
  const models = useModels({ project_id: projectId, limit: 200 });
  const datasets = useDatasets({ project_id: projectId, limit: 200 });
  const presets = useDatasetPresets();
  const [chosen, setModel] = useState(given);
  const [compares, setCompares] = useState(true);
  const [base, setBase] = useState("");
  const [ofJob, setOfJob] = useState(false);
  const [dataset, setDataset] = useState<string | null>(null);
  const [split, setSplit] = useState("test");
  const [scores, setScores] = useState<string[]>([]);
  const [maxRows, setMaxRows] = useState<number | null>(null);
  const [minGain, setMinGain] = useState<number | null>(null);
  const row = models.items.find((each) => each.id === chosen || each.name === chosen);
  const model = row?.name ?? chosen;
  const isOfJob = ofJob && Boolean(row?.job_id);
  const begin = useMutation({
    mutationFn: () =>
      ask(
        api.POST("/api/v1/evaluations", {
          body: {
            model,
            compares,
            ...(compares && base ? { base } : {}),
            ...(isOfJob ? { job_id: row?.job_id ?? "" } : { dataset: dataset ?? "" }),
            split,
            scores,
            ...(maxRows ? { max_rows: maxRows } : {}),
            gate: { ...(minGain !== null ? { min_gain: minGain / 100 } : {}), ...(scores[0] ? { primary: scores[0] } : {}) },
            project_id: projectId,
          },
        }),
      ),
    onSuccess: (made) => {
      void client.invalidateQueries({ queryKey: keys.evaluationLists });
      onMade(made);
    },
  });
  const options = [
    { label: texts("data.mine"), options: datasets.items.filter((each) => each.newest).map((each) => ({ value: each.name, label: each.name })) },
    { label: texts("data.presets"), options: presets.data?.data.map((each) => ({ value: each.name, label: each.name })) ?? [] },
  ].filter((group) => group.options.length > 0);
  return (
    <Modal
      open
      title={texts("evaluate.title")}
      okText={texts("evaluate.start")}
      cancelText={texts("action.back")}
      confirmLoading={begin.isPending}
      okButtonProps={{ disabled: !model || (!isOfJob && !dataset) }}
      onOk={() => begin.mutate()}
      onCancel={onClose}
    >
      <Form layout="vertical" component="div">
        <Form.Item label={texts("evaluate.model")}>
          <ModelChoice value={model} onChange={setModel} />
        </Form.Item>
        <Form.Item label={texts("evaluate.compares")} extra={texts("evaluate.compares.help")}>
          <div className="row" style={{ flexWrap: "nowrap" }}>
            <Switch aria-label={texts("evaluate.compares")} checked={compares} onChange={setCompares} />
            {compares && (
              <div style={{ flex: 1, minWidth: 0 }}>
                <ModelChoice label={texts("evaluate.base")} value={base} onChange={setBase} />
              </div>
            )}
          </div>
        </Form.Item>
        {row?.job_id && (
          <Segmented<boolean>
            block
            style={{ marginBottom: 12 }}
            value={isOfJob}
            onChange={setOfJob}
            options={[
              { value: false, label: texts("evaluate.ofDataset") },
              { value: true, label: texts("evaluate.ofJob") },
            ]}
          />
        )}
        {!isOfJob && (
          <div className="row" style={{ alignItems: "flex-start" }}>
            <Form.Item style={{ flex: "1 1 220px" }} label={texts("evaluate.data")} htmlFor="evaluate-data" extra={texts("evaluate.data.help")}>
              <Select
                id="evaluate-data"
                showSearch
                loading={datasets.isLoading}
                value={dataset}
                onChange={(value: string) => setDataset(value)}
                options={options}
              />
            </Form.Item>
            <Form.Item style={{ flex: "0 1 140px" }} label={texts("evaluate.split")} htmlFor="evaluate-split">
              <AutoComplete
                id="evaluate-split"
                value={split}
                onChange={setSplit}
                options={["test", "validation", "train", "all"].map((value) => ({ value }))}
              />
            </Form.Item>
          </div>
        )}
        <Form.Item label={texts("evaluate.scores")} htmlFor="evaluate-scores" extra={texts("evaluate.scores.help")}>
          <Select
            id="evaluate-scores"
            mode="multiple"
            allowClear
            placeholder={texts("evaluate.scores.auto")}
            value={scores}
            onChange={(value: string[]) => setScores(value)}
            options={SCORES.map((value) => ({ value, label: translateWord("score", value) }))}
          />
        </Form.Item>
        <div className="row" style={{ alignItems: "flex-start" }}>
          <Form.Item style={{ flex: "1 1 160px" }} label={texts("evaluate.maxRows")} htmlFor="evaluate-rows">
            <InputNumber id="evaluate-rows" min={1} max={1_000_000} style={{ width: "100%" }} placeholder={texts("evaluate.all")} value={maxRows} onChange={setMaxRows} />
          </Form.Item>
          {compares && (
            <Form.Item style={{ flex: "1 1 160px" }} label={texts("evaluate.minGain")} htmlFor="evaluate-gain">
              <InputNumber id="evaluate-gain" min={0} max={100} style={{ width: "100%" }} placeholder="0" suffix="%" value={minGain} onChange={setMinGain} />
            </Form.Item>
          )}
        </div>
      </Form>
      <ErrorBox error={begin.error ?? datasets.error} />
    </Modal>
  );
}
