/** Models: those that the platform knows, and those of the project. */
import { DownloadOutlined } from "@ant-design/icons";
import { Button, Card, Input, Select, Skeleton, Table, Tabs, Tag, type TableColumnsType } from "antd";
import { useDeferredValue, useState } from "react";
import { Link, useSearchParams } from "react-router";
import type { Schemas } from "../../api/client";
import { useModels, usePresets, type Model } from "../../api/models";
import { useSession } from "../../app/session";
import { bytes, short } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { More, Nothing, Title, When } from "../../parts/page";
import { PresetFacts } from "../../parts/preset-facts";
import { translateWord, useTexts, type Translate } from "../../texts/language";
import { ImportDialog } from "./import";

export default function Models() {
  const texts = useTexts();
  const { mayWrite } = useSession();
  const [search, setSearch] = useSearchParams();
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Title
        title={texts("nav.models")}
        about={texts("models.about")}
        actions={
          mayWrite && (
            <Button type="primary" icon={<DownloadOutlined />} onClick={() => setOpen(true)}>
              {texts("models.import")}
            </Button>
          )
        }
      />
      <Card styles={{ body: { paddingTop: 4 } }}>
        <Tabs
          activeKey={search.get("tab") ?? "mine"}
          onChange={(tab) => setSearch({ tab }, { replace: true })}
          destroyOnHidden
          items={[
            { key: "mine", label: texts("model.mine"), children: <Mine /> },
            { key: "presets", label: texts("model.presets"), children: <Presets /> },
          ]}
        />
      </Card>
      {isOpen && <ImportDialog onClose={() => setOpen(false)} />}
    </>
  );
}

function Mine() {
  const texts = useTexts();
  const { projectId } = useSession();
  const [written, setWritten] = useState("");
  const [kind, setKind] = useState<Model["kind"] | null>(null);
  const text = useDeferredValue(written);
  const models = useModels({ project_id: projectId, ...(text ? { text } : {}), ...(kind ? { kind } : {}) });
  return (
    <>
      <div className="bar">
        <Input.Search
          allowClear
          style={{ width: 260 }}
          aria-label={texts("models.search")}
          placeholder={texts("models.search")}
          onChange={(event) => setWritten(event.target.value)}
        />
        <Select<Model["kind"] | null>
          allowClear
          style={{ width: 160 }}
          aria-label={texts("model.kind")}
          placeholder={texts("model.kind")}
          value={kind}
          onChange={(value) => setKind(value ?? null)}
          options={(["base", "adapter", "full"] as const).map((value) => ({ value, label: translateWord("kind", value) }))}
        />
      </div>
      {models.error && <ErrorBox error={models.error} again={models.again} />}
      <Table<Model>
        rowKey="id"
        loading={models.isLoading}
        dataSource={models.items}
        columns={columnsOf(texts)}
        pagination={false}
        scroll={{ x: 800 }}
        locale={{ emptyText: <Nothing text={texts(text || kind ? "models.noneFound" : "models.none")} /> }}
      />
      <More list={models} />
    </>
  );
}

function columnsOf(texts: Translate): TableColumnsType<Model> {
  return [
    {
      title: texts("job.name"),
      dataIndex: "name",
      width: 340,
      render: (name: string, each) => (
        <Link to={`/models/${each.id}`} className="any">
          {name}
        </Link>
      ),
    },
    { title: texts("model.kind"), dataIndex: "kind", width: 120, render: (kind: string) => <Tag>{translateWord("kind", kind)}</Tag> },
    { title: texts("job.base"), dataIndex: "base", className: "any" },
    {
      title: texts("overview.bestLoss"),
      key: "loss",
      align: "end",
      className: "numbers",
      render: (_, each) => short(typeof each.details.best_loss === "number" ? each.details.best_loss : null),
    },
    { title: texts("model.size"), dataIndex: "bytes", align: "end", className: "numbers", render: (size: number) => bytes(size) },
    { title: texts("job.created"), dataIndex: "created_at", render: (time: string) => <When time={time} /> },
  ];
}

function Presets() {
  const texts = useTexts();
  const { mayWrite } = useSession();
  const presets = usePresets();
  if (presets.error && !presets.data) return <ErrorBox error={presets.error} again={() => void presets.refetch()} />;
  if (!presets.data) return <Skeleton active />;
  return (
    <div className="columns" style={{ alignItems: "stretch", paddingTop: 8 }}>
      {presets.data.data.map((each) => (
        <Card key={each.name} size="small" title={each.title} extra={<Tag>{each.size}</Tag>}>
          <p style={{ marginTop: 0 }}>{each.about}</p>
          <p className="quiet">
            <PresetFacts of={each} />
          </p>
          <Methods capabilities={each.capabilities} />
          <div className="row" style={{ marginTop: 12 }}>
            <span className="quiet grow">{each.licence}</span>
            {mayWrite && each.capabilities.some((can) => can.available) && (
              <Link to={`/train?base=${encodeURIComponent(each.name)}`}>
                <Button size="small">{texts("model.train")}</Button>
              </Link>
            )}
          </div>
        </Card>
      ))}
    </div>
  );
}

/** The methods that a model can be trained with; where there is none, why. */
function Methods({ capabilities }: { capabilities: Schemas["CapabilityRead"][] }) {
  const able = capabilities.filter((can) => can.available);
  const methods = [...new Set(able.map((can) => can.method))];
  if (methods.length === 0) return <div className="quiet any">{capabilities[0]?.reason}</div>;
  return (
    <div className="row">
      {methods.map((method) => (
        <Tag key={method} color="success" title={able.filter((can) => can.method === method).map((can) => can.stage.toUpperCase()).join(", ")}>
          {translateWord("method", method)}
        </Tag>
      ))}
    </div>
  );
}
