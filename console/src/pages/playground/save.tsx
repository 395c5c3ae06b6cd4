/** Keep a conversation as a row of a dataset: its next version. A wrong answer may be mended first. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Button, Form, Input, Modal, Result, Segmented, Select } from "antd";
import { useState } from "react";
import { Link } from "react-router";
import { api, ask } from "../../api/client";
import { useDatasets } from "../../api/datasets";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { TO_MEND, type Row } from "../../logic/conversation";
import { ErrorBox } from "../../parts/error";
import { TaskProgress } from "../../parts/task";
import { useTexts } from "../../texts/language";

interface Props {
  /** What is kept, with the right answer where one is given. */
  row: (right: string) => Row;
  /** The answer that is wrong. */
  wrong?: string;
  onClose: () => void;
}

interface Kept {
  datasetId: string;
  taskId: string | null;
}

const LAST = "tunesmith.playground.dataset";

export function SaveDialog({ row, wrong, onClose }: Props) {
  const texts = useTexts();
  const client = useQueryClient();
  const { projectId } = useSession();
  const datasets = useDatasets({ project_id: projectId, limit: 200 });
  const [isNew, setNew] = useState(false);
  const [chosen, setChosen] = useState(() => localStorage.getItem(LAST));
  const [name, setName] = useState("");
  const [right, setRight] = useState("");
  const [isDone, setDone] = useState(false);
  const options = datasets.items.filter((each) => each.newest).map((each) => ({ value: each.id, label: each.name }));
  const target = options.find((each) => each.value === chosen)?.value ?? null;
  const isFirst = isNew || (!datasets.isLoading && options.length === 0);
  const save = useMutation({
    mutationFn: () => (isFirst ? create(name.trim(), row(right), projectId) : append(target ?? "", row(right))),
    onSuccess: ({ datasetId, taskId }) => {
      localStorage.setItem(LAST, datasetId);
      if (!taskId) finish(datasetId);
    },
  });
  const finish = (datasetId: string) => {
    void client.invalidateQueries({ queryKey: keys.dataset(datasetId) });
    void client.invalidateQueries({ queryKey: keys.datasetLists });
    setDone(true);
  };
  const isUnmended = wrong !== undefined && (right.trim() === "" || right.trim() === wrong.trim());
  if (isDone && save.data)
    return (
      <Modal open footer={null} onCancel={onClose} title={null}>
        <Result
          status="success"
          title={texts(isUnmended ? "save.toMend" : "save.done")}
          extra={[
            <Link
              key="open"
              to={`/datasets/${save.data.datasetId}/rows${isUnmended ? `?where=${encodeURIComponent(TO_MEND)}` : ""}`}
            >
              <Button type="primary">{texts("save.open")}</Button>
            </Link>,
            <Button key="back" onClick={onClose}>
              {texts("save.goOn")}
            </Button>,
          ]}
        />
      </Modal>
    );
  return (
    <Modal
      open
      title={texts(wrong === undefined ? "playground.save" : "playground.wrong")}
      okText={texts("save.save")}
      cancelText={texts("action.back")}
      confirmLoading={save.isPending}
      okButtonProps={{ disabled: (isFirst ? !name.trim() : !target) || Boolean(save.data) }}
      onOk={() => save.mutate()}
      onCancel={onClose}
    >
      <Form layout="vertical" component="div">
        {wrong !== undefined && (
          <>
            <Form.Item label={texts("save.wrong")}>
              <blockquote className="quote any">{wrong}</blockquote>
            </Form.Item>
            <Form.Item label={texts("save.right")} htmlFor="right" extra={texts("save.right.help")}>
              <Input.TextArea
                id="right"
                autoFocus
                rows={3} className="growing"
                value={right}
                onChange={(event) => setRight(event.target.value)}
              />
            </Form.Item>
          </>
        )}
        {options.length > 0 && (
          <Segmented<boolean>
            block
            style={{ marginBottom: 16 }}
            value={isNew}
            onChange={setNew}
            options={[
              { value: false, label: texts("save.existing") },
              { value: true, label: texts("save.new") },
            ]}
          />
        )}
        {isFirst ? (
          <Form.Item label={texts("dataset.name")} htmlFor="save-name">
            <Input id="save-name" maxLength={100} value={name} onChange={(event) => setName(event.target.value)} />
          </Form.Item>
        ) : (
          <Form.Item label={texts("save.dataset")} htmlFor="save-dataset" extra={texts("save.version")}>
            <Select
              id="save-dataset"
              showSearch={{ optionFilterProp: "label" }}
              loading={datasets.isLoading}
              value={target}
              onChange={setChosen}
              options={options}
            />
          </Form.Item>
        )}
      </Form>
      {save.data?.taskId && (
        <TaskProgress id={save.data.taskId} onDone={(task) => task.state === "succeeded" && finish(save.data.datasetId)} />
      )}
      <ErrorBox error={save.error ?? datasets.error} />
    </Modal>
  );
}

async function append(datasetId: string, row: Row): Promise<Kept> {
  const edited = await ask(
    api.POST("/api/v1/datasets/{dataset_id}/edit", {
      params: { path: { dataset_id: datasetId } },
      body: { operation: { operation: "add", rows: [row] }, preview: false },
    }),
  );
  return { datasetId, taskId: edited.task?.id ?? null };
}

async function create(name: string, row: Row, projectId: string): Promise<Kept> {
  const form = new FormData();
  form.set("file", new Blob([`${JSON.stringify(row)}\n`], { type: "application/jsonl" }), "conversations.jsonl");
  form.set("project_id", projectId);
  const file = await ask(api.POST("/api/v1/files", { body: form as never, bodySerializer: () => form }));
  const body = { name, file_ids: [file.id], project_id: projectId };
  const made = await ask(api.POST("/api/v1/datasets", { body: body as never }));
  return { datasetId: made.dataset.id, taskId: made.task.id };
}
