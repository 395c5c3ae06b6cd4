/** The first run: a password for the administrator, then a first training. */
import { useQueryClient } from "@tanstack/react-query";
import { Button, Card, Form, Input, Space, Steps, Typography } from "antd";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { api, ask, type ApiError } from "../../api/client";
import { keys } from "../../api/keys";
import { Switches } from "../../app/frame";
import { useSession } from "../../app/session";
import { ErrorBox } from "../../parts/error";
import { useTexts } from "../../texts/language";

/** What `tunesmith demo` trains, so that the first result is one that can be seen to be better. */
const FIRST_JOB = {
  name: "first-training",
  base: "starter",
  datasets: ["builtin:shop"],
  recipe: {
    adapter: { kind: "full" },
    data: { max_length: 512 },
    training: { epochs: 10, batch_size: 16, learning_rate: 1e-3 },
  },
};

export default function Welcome() {
  const texts = useTexts();
  const { me } = useSession();
  const [step, setStep] = useState(0);
  return (
    <div className="welcome">
      <div className="top">
        <span className="brand">
          <img src="/mark.svg" alt="" width={28} height={28} />
          tunesmith
        </span>
        <span className="grow" />
        <Switches />
      </div>
      <main className="middle">
        <Card className="card wide">
          <Steps
            size="small"
            current={step}
            style={{ marginBottom: 24 }}
            items={[{ title: texts("welcome.password") }, { title: texts("welcome.train") }]}
          />
          {step === 0 ? <SetPassword name={me.user.name} onDone={() => setStep(1)} /> : <FirstJob />}
        </Card>
      </main>
    </div>
  );
}

function SetPassword({ name, onDone }: { name: string; onDone: () => void }) {
  const texts = useTexts();
  const client = useQueryClient();
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const set = async ({ password }: { password: string }) => {
    setBusy(true);
    setError(null);
    try {
      await ask(api.PUT("/api/v1/me/password", { body: { password } }));
      void client.invalidateQueries({ queryKey: keys.health });
      onDone();
    } catch (failed) {
      setError(failed as ApiError);
    }
    setBusy(false);
  };
  return (
    <>
      <Typography.Title level={1} style={{ fontSize: 22 }}>
        {texts("welcome.title")}
      </Typography.Title>
      <p className="quiet">{texts("welcome.password.about", { name })}</p>
      <Form layout="vertical" requiredMark={false} onFinish={(written: { password: string }) => void set(written)}>
        <input type="text" autoComplete="username" value={name} readOnly hidden />
        <Form.Item
          name="password"
          label={texts("welcome.newPassword")}
          rules={[{ required: true, message: texts("form.required") }]}
        >
          <Input.Password autoComplete="new-password" size="large" autoFocus />
        </Form.Item>
        <ErrorBox error={error} />
        <Space style={{ marginTop: 8 }}>
          <Button type="primary" htmlType="submit" size="large" loading={busy}>
            {texts("welcome.password.set")}
          </Button>
          <Button type="text" size="large" onClick={onDone}>
            {texts("welcome.skip")}
          </Button>
        </Space>
      </Form>
    </>
  );
}

function FirstJob() {
  const texts = useTexts();
  const navigate = useNavigate();
  const { projectId } = useSession();
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const start = async () => {
    setBusy(true);
    setError(null);
    try {
      const job = await ask(api.POST("/api/v1/jobs", { body: { ...FIRST_JOB, project_id: projectId } }));
      await navigate(`/jobs/${job.id}/metrics`);
    } catch (failed) {
      setError(failed as ApiError);
      setBusy(false);
    }
  };
  return (
    <>
      <Typography.Title level={1} style={{ fontSize: 22 }}>
        {texts("welcome.train.title")}
      </Typography.Title>
      <p className="quiet">{texts("welcome.train.about")}</p>
      <div className="columns">
        <Fact name={texts("job.base")} value="starter" about={texts("welcome.model.about")} />
        <Fact name={texts("nav.datasets")} value="builtin:shop" about={texts("welcome.data.about")} />
      </div>
      <div style={{ marginTop: 16 }}>
        <ErrorBox error={error} />
      </div>
      <Space wrap style={{ marginTop: 16 }}>
        <Button type="primary" size="large" loading={busy} onClick={() => void start()}>
          {texts("welcome.start")}
        </Button>
        <Link to="/">
          <Button type="text" size="large">
            {texts("welcome.later")}
          </Button>
        </Link>
      </Space>
    </>
  );
}

function Fact({ name, value, about }: { name: string; value: string; about: string }) {
  return (
    <Card size="small">
      <div className="quiet">{name}</div>
      <strong className="mono">{value}</strong>
      <div className="quiet" style={{ marginTop: 6 }}>
        {about}
      </div>
    </Card>
  );
}
