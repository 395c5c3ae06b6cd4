/** A new dataset: files are sent, looked at, named, and made into a first version. */
import { InboxOutlined } from "@ant-design/icons";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Alert, App, Button, Form, Input, Modal, Progress, Select, Table, Upload } from "antd";
import { useState, type ReactNode } from "react";
import { useNavigate } from "react-router";
import { api, ask, type ApiError, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { TAKEN, whyNot } from "../../logic/files";
import { bytes, percent } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { TaskProgress } from "../../parts/task";
import { translateWord, useTexts } from "../../texts/language";
import { useUploads, type Sending } from "./uploads";

type Mapping = Schemas["Mapping"];
const NO_MAPPING: Mapping = {};

interface Props {
  onClose: () => void;
  /** Add to this dataset rather than make one. */
  dataset?: Schemas["DatasetRead"];
}

export function UploadDialog({ onClose, dataset }: Props) {
  const texts = useTexts();
  const client = useQueryClient();
  const { message } = App.useApp();
  const navigate = useNavigate();
  const { projectId } = useSession();
  const uploads = useUploads(projectId);
  const [name, setName] = useState("");
  const [mapping, setMapping] = useState<Mapping>(NO_MAPPING);
  const [error, setError] = useState<ApiError | null>(null);
  const [task, setTask] = useState<{ id: string; dataset: string } | null>(null);
  const [isImporting, setImporting] = useState(false);
  const ids = uploads.files.flatMap((each) => (each.fileId ? [each.fileId] : []));
  const isSent = uploads.files.length > 0 && uploads.files.every((each) => each.state === "sent");
  const suggested = nameOf(uploads.files[0]?.name ?? "");

  const refuse = (files: readonly File[]) => {
    for (const file of files)
      void message.warning({ key: file.name, duration: 8, content: texts(`upload.${whyNot(file) ?? "strange"}`, { name: file.name }) });
  };
  const make = async () => {
    setError(null);
    setTask(null);
    setImporting(true);
    try {
      if (dataset) {
        const params = { path: { dataset_id: dataset.id } };
        const body = { file_ids: ids, mapping, near: false, note: "", append: true };
        const begun = await ask(api.POST("/api/v1/datasets/{dataset_id}/import", { params, body }));
        setTask({ id: begun.id, dataset: dataset.id });
      } else {
        const body: Schemas["DatasetCreate"] = {
          name: name || suggested, file_ids: ids, mapping, project_id: projectId,
          near: false, note: "", description: "", tags: [], licence: "", language: "", role: "user",
        };
        const begun = await ask(api.POST("/api/v1/datasets", { body }));
        setTask({ id: begun.task.id, dataset: begun.dataset.id });
      }
    } catch (failed) {
      setError(failed as ApiError);
      setImporting(false);
    }
  };
  // After a failure all that was sent and written is still there, and the button tries it again.
  const finish = async (state: string) => {
    setImporting(false);
    void client.invalidateQueries({ queryKey: keys.datasetLists });
    if (!task || state !== "succeeded") return;
    void client.invalidateQueries({ queryKey: keys.dataset(task.dataset) });
    onClose();
    await navigate(`/datasets/${task.dataset}`);
  };

  return (
    <Modal
      open
      width={720}
      title={texts(dataset ? "datasets.append" : "datasets.upload")}
      mask={{ closable: false }}
      onCancel={onClose}
      okText={texts("datasets.import")}
      cancelText={texts("action.back")}
      okButtonProps={{ disabled: !isSent || isImporting }}
      onOk={() => void make()}
    >
      <div className="stack">
        <Upload.Dragger
          multiple
          accept={TAKEN.join(",")}
          onDrop={({ dataTransfer }) => refuse([...dataTransfer.files].filter((each) => whyNot(each) === "strange"))}
          showUploadList={false}
          beforeUpload={(file) => {
            if (whyNot(file)) refuse([file]);
            else uploads.add(file);
            return false;
          }}
        >
          <p className="ant-upload-drag-icon">
            <InboxOutlined />
          </p>
          <p className="ant-upload-text">{texts("upload.drop")}</p>
          <p className="ant-upload-hint">{texts("upload.limits")}</p>
        </Upload.Dragger>
        {uploads.files.map((each) => (
          <FileLine key={each.key} file={each} again={uploads.again} remove={uploads.remove} />
        ))}
        {isSent && ids[0] && <Detected fileId={ids[0]} mapping={mapping} onChange={setMapping} />}
        {!dataset && (
          <Form layout="vertical" component="div">
            <Form.Item label={texts("dataset.name")} htmlFor="dataset-name" style={{ marginBottom: 0 }}>
              <Input
                id="dataset-name"
                maxLength={100}
                placeholder={suggested}
                value={name}
                onChange={(event) => setName(event.target.value)}
              />
            </Form.Item>
          </Form>
        )}
        {task && <TaskProgress key={task.id} id={task.id} onDone={(done) => void finish(done.state)} />}
        <ErrorBox error={error} />
      </div>
    </Modal>
  );
}

/** A name that the platform takes: 数据 1.csv -> 数据-1 */
function nameOf(file: string): string {
  const words = file.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_.-]+/gu, "-");
  return words.replace(/^[_.-]+|-+$/g, "").slice(0, 60);
}

interface LineProps {
  file: Sending;
  again: (key: string) => void;
  remove: (key: string) => void;
}

function FileLine({ file, again, remove }: LineProps) {
  const texts = useTexts();
  return (
    <div>
      <div className="row">
        <span className="any" style={{ flex: 1 }}>
          {file.name}
        </span>
        <span className="quiet numbers">
          {bytes(file.sent)} / {bytes(file.size)}
        </span>
        <Button size="small" onClick={() => remove(file.key)}>
          {texts("action.remove")}
        </Button>
      </div>
      <Progress
        percent={file.state === "sent" ? 100 : percent(file.sent, file.size)}
        status={file.state === "failed" ? "exception" : file.state === "sent" ? "success" : "active"}
        size="small"
        aria-label={file.name}
      />
      {file.resumedAt > 0 && file.state === "sending" && (
        <div className="quiet">{texts("upload.resumed", { percent: percent(file.resumedAt, file.size) })}</div>
      )}
      {file.error && <ErrorBox error={file.error} again={() => again(file.key)} />}
    </div>
  );
}

const FORMATS = ["auto", "alpaca", "sharegpt", "messages", "prompt_response", "text"] as const;
const COLUMNS = ["prompt_field", "response_field", "history_field", "system_field", "chosen_field", "rejected_field", "label_field"] as const;

function useDetected(fileId: string, mapping: Mapping) {
  return useQuery({
    queryKey: ["detect", fileId, mapping],
    queryFn: () => ask(api.POST("/api/v1/datasets/detect", { body: { file_id: fileId, mapping, rows: 3 } })),
    placeholderData: (old) => old,
  });
}

function Choice({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <div className="quiet">{name}</div>
      {children}
    </div>
  );
}

/** What the file seems to be, with its first rows; the user may say otherwise. */
function Detected({ fileId, mapping, onChange }: { fileId: string; mapping: Mapping; onChange: (next: Mapping) => void }) {
  const texts = useTexts();
  const found = useDetected(fileId, mapping);
  const plain = useDetected(fileId, NO_MAPPING); // its columns stay when a choice is refused
  if (!plain.data) return <ErrorBox error={plain.error} />;
  const columns = plain.data.columns.map((each) => ({ value: each.name, label: each.name }));
  return (
    <>
      <ErrorBox error={found.error} />
      {found.data && <Alert
        type={found.data.format ? "success" : "warning"}
        showIcon
        title={
          found.data.format
            ? texts("upload.format", { format: translateWord("format", found.data.format) })
            : texts("upload.noFormat")
        }
        description={
          <span className="any">
            {found.data.kind && `${texts("upload.kind", { kind: translateWord("rowKind", found.data.kind) })}. `}
            {found.data.why}
          </span>
        }
      />}
      <div className="mapping">
        <Choice name={texts("upload.formatLabel")}>
          <Select
            aria-label={texts("upload.formatLabel")}
            value={mapping.format ?? "auto"}
            onChange={(format) => onChange({ ...mapping, format })}
            options={FORMATS.map((value) => ({ value, label: translateWord("format", value) }))}
          />
        </Choice>
        {COLUMNS.map((each) => (
          <Choice key={each} name={texts(`upload.${each}`)}>
            <Select
              allowClear
              aria-label={texts(`upload.${each}`)}
              placeholder={texts("upload.byItself")}
              value={mapping[each] ?? null}
              onChange={(value: string | null) => onChange({ ...mapping, [each]: value ?? null })}
              options={columns}
            />
          </Choice>
        ))}
      </div>
      {found.data && found.data.rows.length > 0 && (
        <Table
          size="small"
          rowKey="line"
          pagination={false}
          dataSource={found.data.rows}
          columns={[
            { title: texts("dataset.line"), dataIndex: "line", width: 70 },
            {
              title: texts("dataset.row"),
              key: "row",
              className: "any",
              render: (_, row) => row.reason ?? JSON.stringify(row.record).slice(0, 240),
            },
          ]}
        />
      )}
    </>
  );
}
