/** A new job like another one: through the form, or from a checkpoint with a few changed fields. */
import { Button, Form, Input, InputNumber, Modal } from "antd";
import { useState } from "react";
import { useNavigate } from "react-router";
import { api, ask, type ApiError, type Schemas } from "../../api/client";
import type { JobDetails } from "../../api/jobs";
import { ErrorBox } from "../../parts/error";
import { useTexts } from "../../texts/language";

export function CloneButton({ job }: { job: JobDetails }) {
  const texts = useTexts();
  const navigate = useNavigate();
  return <Button onClick={() => void navigate(`/train?like=${job.id}`)}>{texts("action.clone")}</Button>;
}

interface Written {
  name: string;
  rate: number | null;
  epochs: number | null;
}

interface Props {
  job: JobDetails;
  checkpoint: Schemas["CheckpointRead"];
  onClose: () => void;
}

export function BranchDialog({ job, checkpoint, onClose }: Props) {
  const texts = useTexts();
  const navigate = useNavigate();
  const [form] = Form.useForm<Written>();
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const branch = async ({ name, rate, epochs }: Written) => {
    setBusy(true);
    setError(null);
    const changes = {
      ...(rate === null ? {} : { "training.learning_rate": rate }),
      ...(epochs === null ? {} : { "training.epochs": epochs }),
    };
    try {
      const made = await ask(
        api.POST("/api/v1/checkpoints/{checkpoint_id}/branch", {
          params: { path: { checkpoint_id: checkpoint.id } },
          body: { name, changes },
        }),
      );
      await navigate(`/jobs/${made.id}`);
    } catch (failed) {
      setError(failed as ApiError);
      setBusy(false);
    }
  };
  return (
    <Modal
      open
      title={texts("branch.title", { step: checkpoint.step })}
      okText={texts("branch.start")}
      cancelText={texts("action.back")}
      confirmLoading={busy}
      onOk={() => form.submit()}
      onCancel={onClose}
    >
      <p className="quiet">{texts("branch.about")}</p>
      <Form<Written>
        form={form}
        layout="vertical"
        initialValues={{ name: `${job.name}-${checkpoint.step}`, rate: null, epochs: null }}
        onFinish={(written) => void branch(written)}
      >
        <Form.Item name="name" label={texts("job.name")} rules={[{ required: true, message: texts("form.required") }]}>
          <Input maxLength={100} />
        </Form.Item>
        <Form.Item name="rate" label={texts("curves.rate")} extra={texts("branch.asBefore")}>
          <InputNumber style={{ width: "100%" }} placeholder="1e-4" />
        </Form.Item>
        <Form.Item name="epochs" label={texts("branch.epochs")} extra={texts("branch.asBefore")}>
          <InputNumber style={{ width: "100%" }} min={0} />
        </Form.Item>
      </Form>
      <ErrorBox error={error} />
    </Modal>
  );
}
