/** One model: what it is, its files, what can be done with it, where it comes from. */
import { RocketOutlined } from "@ant-design/icons";
import { useQueryClient } from "@tanstack/react-query";
import { App, Button, Card, Descriptions, Skeleton, Tabs, Tag, Typography } from "antd";
import { Link, useNavigate, useParams } from "react-router";
import { api, ask, refusalOf } from "../../api/client";
import { keys } from "../../api/keys";
import { useModel, type ModelDetails } from "../../api/models";
import { useSession } from "../../app/session";
import { bytes, count, dateTime, short } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { Title } from "../../parts/page";
import { translateWord, useTexts } from "../../texts/language";
import { EvaluationTable } from "../evaluations/list";
import { Card as ModelCard } from "./card";
import { Files } from "./files";
import { Lineage } from "./lineage";
import { Parameters } from "./parameters";
import { Uses } from "./uses";

const TABS = ["information", "card", "files", "parameters", "lineage", "evaluations"] as const;
type Tab = (typeof TABS)[number];

export default function ModelPage() {
  const { id = "", tab } = useParams();
  const model = useModel(id);
  if (model.error && !model.data) return <ErrorBox error={model.error} again={() => void model.refetch()} />;
  if (!model.data) return <Skeleton active />;
  return <Shown model={model.data} tab={TABS.find((each) => each === tab) ?? "information"} />;
}

function Shown({ model, tab }: { model: ModelDetails; tab: Tab }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const { mayWrite } = useSession();
  return (
    <>
      <Title
        title={model.name}
        before={<Link to="/models">← {texts("nav.models")}</Link>}
        after={<Tag>{translateWord("kind", model.kind)}</Tag>}
        about={model.description || undefined}
        actions={
          <>
            <Typography.Text copyable={{ text: model.name }}>{texts("model.copyName")}</Typography.Text>
            {mayWrite && <DeleteButton model={model} />}
            <Uses model={model} />
            <Link to={`/playground?model=${encodeURIComponent(model.name)}`}>
              <Button>{texts("deploy.chat")}</Button>
            </Link>
            {mayWrite && model.capabilities.some((can) => can.available) && (
              <Link to={`/train?base=${encodeURIComponent(model.name)}`}>
                <Button type="primary" icon={<RocketOutlined />}>
                  {texts("model.train")}
                </Button>
              </Link>
            )}
          </>
        }
      />
      <Card styles={{ body: { paddingTop: 4 } }}>
        <Tabs
          activeKey={tab}
          destroyOnHidden
          onChange={(next) => void navigate(`/models/${model.id}/${next}`, { replace: true })}
          items={TABS.map((key) => ({
            key,
            label: texts(`model.tab.${key}`),
            children: <Part model={model} tab={key} />,
          }))}
        />
      </Card>
    </>
  );
}

function Part({ model, tab }: { model: ModelDetails; tab: Tab }) {
  switch (tab) {
    case "information":
      return <Information model={model} />;
    case "card":
      return <ModelCard model={model} />;
    case "files":
      return <Files model={model} />;
    case "parameters":
      return <Parameters model={model} />;
    case "lineage":
      return <Lineage model={model} />;
    case "evaluations":
      return <EvaluationTable modelId={model.id} />;
  }
}

function Information({ model }: { model: ModelDetails }) {
  const texts = useTexts();
  const number = (name: string) => {
    const value = model.details[name];
    return typeof value === "number" ? value : null;
  };
  const facts = [
    { key: "id", label: texts("job.id"), children: <Typography.Text copyable className="mono">{model.id}</Typography.Text> },
    { key: "base", label: texts("job.base"), children: model.base || "–" },
    { key: "source", label: texts("model.source"), children: translateWord("source", model.source) },
    { key: "task", label: texts("model.task"), children: translateWord("task", model.task) },
    { key: "bytes", label: texts("model.size"), children: bytes(model.bytes) },
    ...(model.size ? [{ key: "size", label: texts("model.parameters"), children: model.size }] : []),
    ...(model.context ? [{ key: "context", label: texts("model.context"), children: count(model.context) }] : []),
    { key: "created", label: texts("job.created"), children: dateTime(model.created_at) },
    { key: "loss", label: texts("overview.bestLoss"), children: short(number("best_loss")) },
    { key: "step", label: texts("model.bestStep"), children: number("best_step") ?? "–" },
    ...(model.job_id ? [{ key: "job", label: texts("model.job"), children: <Link to={`/jobs/${model.job_id}`}>{model.job_id}</Link> }] : []),
  ];
  return (
    <div className="stack">
      <Descriptions column={{ xs: 1, md: 2, xl: 3 }} items={facts} styles={{ content: { overflowWrap: "anywhere" } }} />
      <div>
        <h2 style={{ fontSize: 14 }}>{texts("model.capabilities")}</h2>
        <Capabilities model={model} />
      </div>
    </div>
  );
}

/** By method, the kinds of training that it takes; why not, once for all that have the same reason. */
function Capabilities({ model: { capabilities } }: { model: ModelDetails }) {
  const texts = useTexts();
  const methods = [...new Set(capabilities.map((can) => can.method))];
  const reasons = [...new Set(capabilities.filter((can) => !can.available).map((can) => can.reason))];
  const stages = (method: string, isThere: boolean) => capabilities.filter((can) => can.method === method && can.available === isThere);
  return (
    <ul className="plain">
      {methods.map((method) => (
        <li key={method} className="row">
          <strong className="method-name">{translateWord("method", method)}</strong>
          {stages(method, true).map((can) => (
            <Tag key={can.stage} color="success">
              {can.stage.toUpperCase()}
            </Tag>
          ))}
          {stages(method, false).map((can) => (
            <Tag key={can.stage} className="crossed">
              {can.stage.toUpperCase()}
            </Tag>
          ))}
        </li>
      ))}
      {reasons.map((reason) => (
        <li key={reason} className="quiet any">
          {texts("model.cannot")}
          {reason && `: ${reason}`}
        </li>
      ))}
    </ul>
  );
}

function DeleteButton({ model }: { model: ModelDetails }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const client = useQueryClient();
  const { modal, message } = App.useApp();
  const remove = async () => {
    try {
      await ask(api.DELETE("/api/v1/models/{model_id}", { params: { path: { model_id: model.id } } }));
      void client.invalidateQueries({ queryKey: keys.modelLists });
      await navigate("/models");
    } catch (error) {
      void message.error(refusalOf(error));
    }
  };
  const sure = () =>
    modal.confirm({
      title: texts("model.delete.sure"),
      content: model.name,
      okText: texts("action.delete"),
      cancelText: texts("action.back"),
      okButtonProps: { danger: true },
      onOk: remove,
    });
  return (
    <Button danger onClick={sure}>
      {texts("action.delete")}
    </Button>
  );
}
