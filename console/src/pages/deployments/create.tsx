/** Make a model answer: which one, under which name, when it stops; and a verdict that speaks against it. */
import { Alert, Checkbox, Form, Input, InputNumber, Modal, Switch } from "antd";
import { useState } from "react";
import { Link } from "react-router";
import { ApiError } from "../../api/client";
import { useDeploy, type Deployment } from "../../api/deployments";
import { useSession } from "../../app/session";
import { ErrorBox } from "../../parts/error";
import { ModelChoice } from "../../parts/model-choice";
import { useTexts } from "../../texts/language";

interface Props {
  /** A model, or the id of a checkpoint; chosen in the dialog where it is not given. */
  model?: string;
  /** How it is called for people. */
  shown?: string;
  onClose: () => void;
  onMade: (deployment: Deployment) => void;
}

export function DeployDialog({ model: given = "", shown = given, onClose, onMade }: Props) {
  const texts = useTexts();
  const { me, projectId } = useSession();
  const isAdmin = me.user.is_admin || me.roles[projectId] === "admin";
  const [model, setModel] = useState(given);
  const [name, setName] = useState("");
  const [minutes, setMinutes] = useState<number | null>(15);
  const [autostart, setAutostart] = useState(true);
  const [keeps, setKeeps] = useState(true);
  const [overrides, setOverrides] = useState(false);
  const [reason, setReason] = useState("");
  const deploy = useDeploy();
  const closed = deploy.error instanceof ApiError && deploy.error.code === "gate_closed" ? deploy.error : null;
  const send = () =>
    deploy.mutate(
      {
        model,
        ...(name.trim() ? { name: name.trim() } : {}),
        project_id: projectId,
        autostart,
        idle_seconds: Math.round((minutes ?? 0) * 60),
        keeps_requests: keeps,
        starts: true,
        overrides_gate: overrides,
        override_reason: overrides ? reason.trim() : "",
      },
      { onSuccess: onMade },
    );
  const isReady = model !== "" && (!overrides || reason.trim() !== "");
  return (
    <Modal
      open
      title={texts("deploy.title")}
      okText={texts(overrides ? "deploy.anyway" : "deploy.deploy")}
      cancelText={texts("action.back")}
      confirmLoading={deploy.isPending}
      okButtonProps={{ disabled: !isReady || (closed !== null && !overrides), danger: overrides }}
      onOk={send}
      onCancel={onClose}
    >
      <Form layout="vertical" component="div">
        <Form.Item label={texts("deploy.model")}>
          {given ? <span className="any mono">{shown}</span> : <ModelChoice value={model} onChange={(chosen) => {
            setModel(chosen);
            setOverrides(false);
            deploy.reset();
          }} />}
        </Form.Item>
        <Form.Item label={texts("deploy.name")} htmlFor="deploy-name" extra={texts("deploy.name.help")}>
          <Input id="deploy-name" maxLength={300} placeholder={shown || model} value={name} onChange={(event) => setName(event.target.value)} />
        </Form.Item>
        <Form.Item label={texts("deploy.idle")} htmlFor="deploy-idle" extra={texts("deploy.idle.help")}>
          <InputNumber id="deploy-idle" min={0} max={43_200} style={{ width: 160 }} suffix={texts("deploy.minutes")} value={minutes} onChange={setMinutes} />
        </Form.Item>
        <div className="stack" style={{ gap: 10, marginBottom: 16 }}>
          <Choice label={texts("deploy.autostart")} checked={autostart} onChange={setAutostart} />
          <Choice label={texts("deploy.keeps")} checked={keeps} onChange={setKeeps} />
        </div>
      </Form>
      {closed ? (
        <Alert
          type="warning"
          showIcon
          role="alert"
          title={<span className="any">{closed.message}</span>}
          description={
            <div className="stack" style={{ gap: 8 }}>
              <Link to={`/evaluations/${String(closed.details.evaluation_id)}`}>{texts("playground.seeVerdict")}</Link>
              {isAdmin ? (
                <>
                  <Checkbox checked={overrides} onChange={(event) => setOverrides(event.target.checked)}>
                    {texts("deploy.override")}
                  </Checkbox>
                  {overrides && (
                    <Input.TextArea
                      autoFocus
                      maxLength={2000}
                      aria-label={texts("deploy.reason")}
                      placeholder={texts("deploy.reason")}
                      value={reason}
                      onChange={(event) => setReason(event.target.value)}
                    />
                  )}
                </>
              ) : (
                <span>{texts("deploy.askAdmin")}</span>
              )}
            </div>
          }
        />
      ) : (
        <ErrorBox error={deploy.error} />
      )}
    </Modal>
  );
}

function Choice({ label, checked, onChange }: { label: string; checked: boolean; onChange: (now: boolean) => void }) {
  return (
    <label className="row" style={{ flexWrap: "nowrap" }}>
      <Switch size="small" checked={checked} onChange={onChange} aria-label={label} />
      <span>{label}</span>
    </label>
  );
}
