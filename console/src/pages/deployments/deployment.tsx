/** One deployment: how it is, what it was asked, how to ask it, who shares its process. */
import { MessageOutlined } from "@ant-design/icons";
import { Alert, Button, Card, Descriptions, Skeleton, Spin, Switch, Tabs, Typography } from "antd";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "react-router";
import { api, ask, type Schemas } from "../../api/client";
import { useDeployment, useDeployments, type Deployment } from "../../api/deployments";
import { useEvaluations } from "../../api/evaluations";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { count, dateTime, duration } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { ModelName } from "../../parts/model-name";
import { DeploymentTag, Title, VerdictTag } from "../../parts/page";
import { translateWord, useTexts } from "../../texts/language";
import { Code } from "./code";
import { DeploymentCommands } from "./commands";
import { Requests } from "./requests";

const TABS = ["information", "requests", "call"] as const;
type Tab = (typeof TABS)[number];

export default function DeploymentPage() {
  const { id = "", tab } = useParams();
  const deployment = useDeployment(id);
  if (deployment.error && !deployment.data) return <ErrorBox error={deployment.error} again={() => void deployment.refetch()} />;
  if (!deployment.data) return <Skeleton active />;
  return <Shown deployment={deployment.data} tab={TABS.find((each) => each === tab) ?? "information"} />;
}

function Shown({ deployment, tab }: { deployment: Deployment; tab: Tab }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const { mayWrite } = useSession();
  const tabs = TABS.filter((each) => each !== "requests" || mayWrite);
  return (
    <>
      <Title
        title={deployment.name}
        before={<Link to="/deployments">← {texts("nav.deployments")}</Link>}
        after={<DeploymentTag status={deployment.status} />}
        actions={
          <>
            {mayWrite && <DeploymentCommands deployment={deployment} onDeleted={() => void navigate("/deployments")} />}
            <Link to={`/playground?model=${encodeURIComponent(deployment.name)}`}>
              <Button type="primary" icon={<MessageOutlined />}>
                {texts("deploy.chat")}
              </Button>
            </Link>
          </>
        }
      />
      <div className="stack">
        <Why deployment={deployment} />
        <Card styles={{ body: { paddingTop: 4 } }}>
          <Tabs
            activeKey={tab}
            destroyOnHidden
            onChange={(next) => void navigate(`/deployments/${deployment.id}/${next}`, { replace: true })}
            items={tabs.map((key) => ({
              key,
              label: texts(`deploy.tab.${key}`),
              children: <Part deployment={deployment} tab={key} />,
            }))}
          />
        </Card>
      </div>
    </>
  );
}

function Part({ deployment, tab }: { deployment: Deployment; tab: Tab }) {
  const texts = useTexts();
  switch (tab) {
    case "information":
      return <Information deployment={deployment} />;
    case "requests":
      return <Requests deployment={deployment} />;
    case "call":
      return <Code question={{ model: deployment.name, messages: [{ role: "user", content: texts("code.hello") }] }} />;
  }
}

/** Why it does not answer now. */
function Why({ deployment }: { deployment: Deployment }) {
  const texts = useTexts();
  const told = deployment.error as { message?: string; hint?: string } | null;
  if (deployment.status === "failed" && told?.message)
    return (
      <Alert
        type="error"
        showIcon
        title={<span className="any">{told.message}</span>}
        description={<span className="any">{told.hint || texts("deploy.failed.help")}</span>}
      />
    );
  if (deployment.status === "starting")
    return <Alert type="info" showIcon icon={<Spin size="small" />} title={texts("deploy.starting.about")} />;
  return null;
}

function Information({ deployment }: { deployment: Deployment }) {
  const texts = useTexts();
  const name = deployment.model_id ? (
    <Link to={`/models/${deployment.model_id}`}>
      <ModelName id={deployment.model_id} />
    </Link>
  ) : (
    deployment.base
  );
  const facts = [
    { key: "id", label: texts("job.id"), children: <Typography.Text copyable className="mono">{deployment.id}</Typography.Text> },
    { key: "model", label: texts("deploy.model"), children: name },
    { key: "base", label: texts("job.base"), children: <ModelName id={deployment.base} /> },
    ...(deployment.reason && deployment.status === "stopped"
      ? [{ key: "reason", label: texts("job.reason"), children: translateWord("stopReason", deployment.reason) }]
      : []),
    { key: "idle", label: texts("deploy.idle"), children: deployment.idle_seconds ? duration(deployment.idle_seconds) : texts("deploy.never") },
    { key: "requests", label: texts("deploy.requests"), children: count(deployment.num_requests) },
    { key: "used", label: texts("deploy.used"), children: deployment.used_at ? dateTime(deployment.used_at) : "–" },
    { key: "created", label: texts("job.created"), children: dateTime(deployment.created_at) },
  ];
  return (
    <div className="stack">
      <Descriptions column={{ xs: 1, md: 2, xl: 3 }} items={facts} styles={{ content: { overflowWrap: "anywhere" } }} />
      <Gate deployment={deployment} />
      <Settings deployment={deployment} />
      <Beside deployment={deployment} />
    </div>
  );
}

/** The newest verdict on its model, and whether somebody overrode it. */
function Gate({ deployment }: { deployment: Deployment }) {
  const texts = useTexts();
  const { projectId } = useSession();
  const evaluations = useEvaluations({ project_id: projectId, model_id: deployment.model_id ?? "none" });
  if (!deployment.model_id) return null;
  const newest = evaluations.items.find((each) => each.verdict);
  return (
    <div>
      <h2 className="small">{texts("deploy.gate")}</h2>
      <ErrorBox error={evaluations.error} />
      <div className="row">
        {newest?.verdict ? (
          <>
            <VerdictTag verdict={newest.verdict} />
            <Link to={`/evaluations/${newest.id}`}>{texts("playground.seeVerdict")}</Link>
          </>
        ) : (
          <>
            <span className="quiet">{texts("deploy.noVerdict")}</span>
            <Link to={`/evaluations?model=${encodeURIComponent(deployment.model_id)}&new=1`}>{texts("evaluate.title")}</Link>
          </>
        )}
        {deployment.overrides_gate && <span>{texts("deploy.overridden")}</span>}
      </div>
    </div>
  );
}

function Settings({ deployment }: { deployment: Deployment }) {
  const texts = useTexts();
  const client = useQueryClient();
  const { mayWrite } = useSession();
  const change = useMutation({
    mutationFn: (body: Schemas["DeploymentUpdate"]) =>
      ask(api.PATCH("/api/v1/deployments/{deployment_id}", { params: { path: { deployment_id: deployment.id } }, body })),
    onSuccess: (now) => client.setQueryData(keys.deployment(deployment.id), now),
  });
  const choice = (label: string, checked: boolean, field: "autostart" | "keeps_requests") => (
    <label className="row" style={{ flexWrap: "nowrap" }}>
      <Switch
        size="small"
        aria-label={label}
        disabled={!mayWrite || change.isPending}
        checked={checked}
        onChange={(now) => change.mutate({ [field]: now })}
      />
      <span>{label}</span>
    </label>
  );
  return (
    <div className="stack" style={{ gap: 8 }}>
      {choice(texts("deploy.autostart"), deployment.autostart, "autostart")}
      {choice(texts("deploy.keeps"), deployment.keeps_requests, "keeps_requests")}
      <ErrorBox error={change.error} />
    </div>
  );
}

/** Others on the same base: one process holds it, and an adapter for each. */
function Beside({ deployment }: { deployment: Deployment }) {
  const texts = useTexts();
  const { projectId } = useSession();
  const all = useDeployments(projectId);
  const others = (all.data ?? []).filter((each) => each.base === deployment.base && each.id !== deployment.id);
  return (
    <div>
      <h2 className="small">
        {texts("deploy.beside")}
        <ModelName id={deployment.base} />
      </h2>
      <ErrorBox error={all.error} />
      {others.length === 0 && <span className="quiet">{texts("deploy.alone")}</span>}
      <ul className="plain">
        {others.map((each) => (
          <li key={each.id} className="row">
            <DeploymentTag status={each.status} />
            <Link to={`/deployments/${each.id}`} className="any">
              {each.name}
            </Link>
          </li>
        ))}
      </ul>
    </div>
  );
}
