/** A version as a file to take home. */
import { DownloadOutlined } from "@ant-design/icons";
import { useMutation } from "@tanstack/react-query";
import { Alert, Button, Checkbox, Form, Modal, Select } from "antd";
import { useState } from "react";
import { api, ask, type Schemas } from "../../api/client";
import type { Task } from "../../api/tasks";
import { bytes } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { TaskProgress } from "../../parts/task";
import { useTexts } from "../../texts/language";
import type { PartProps } from "./dataset";

type Format = NonNullable<Schemas["ExportVersion"]["format"]>;
const FORMATS: Record<Format, string> = {
  jsonl: "JSON Lines",
  csv: "CSV",
  xlsx: "Excel",
  parquet: "Parquet",
  alpaca: "Alpaca",
  sharegpt: "ShareGPT",
  openai: "OpenAI",
};

interface Made {
  file_id: string;
  filename: string;
  bytes: number;
}

export function ExportDialog({ dataset, version, onClose }: PartProps & { onClose: () => void }) {
  const texts = useTexts();
  const [format, setFormat] = useState<Format>("jsonl");
  const [lossy, setLossy] = useState(false);
  const [made, setMade] = useState<Made | null>(null);
  const begin = useMutation({
    mutationFn: () =>
      ask(
        api.POST("/api/v1/datasets/{dataset_id}/versions/{number}/export", {
          params: { path: { dataset_id: dataset.id, number: version } },
          body: { format, lossy },
        }),
      ),
    onMutate: () => setMade(null),
  });
  const done = (task: Task) => task.state === "succeeded" && setMade(task.result as unknown as Made);
  return (
    <Modal
      open
      title={`${texts("export.title")} · ${dataset.name} v${version}`}
      okText={texts("export.start")}
      cancelText={texts("action.close")}
      confirmLoading={begin.isPending}
      onOk={() => begin.mutate()}
      onCancel={onClose}
    >
      <Form layout="vertical" component="div" style={{ paddingTop: 8 }}>
        <Form.Item label={texts("export.format")} htmlFor="format">
          <Select<Format>
            id="format"
            value={format}
            onChange={setFormat}
            options={Object.entries(FORMATS).map(([value, label]) => ({ value: value as Format, label }))}
          />
        </Form.Item>
        <Form.Item>
          <Checkbox checked={lossy} onChange={(event) => setLossy(event.target.checked)}>
            {texts("export.lossy")}
          </Checkbox>
        </Form.Item>
      </Form>
      {begin.data && <TaskProgress key={begin.data.id} id={begin.data.id} onDone={done} />}
      {made && (
        <Alert
          type="success"
          showIcon
          title={<span className="any">{texts("export.ready", { name: made.filename, size: bytes(made.bytes) })}</span>}
          action={
            <Button type="primary" icon={<DownloadOutlined />} href={`/api/v1/files/${made.file_id}/content`} download={made.filename}>
              {texts("action.download")}
            </Button>
          }
        />
      )}
      <ErrorBox error={begin.error} />
    </Modal>
  );
}
