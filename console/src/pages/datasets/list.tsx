/** The datasets of the project, and the door for new ones. */
import { UploadOutlined } from "@ant-design/icons";
import { Button, Card, Input, Table, Tag, type TableColumnsType } from "antd";
import { useDeferredValue, useState } from "react";
import { Link, useNavigate } from "react-router";
import { useDatasetPresets, useDatasets, type Dataset } from "../../api/datasets";
import { useSession } from "../../app/session";
import { bytes, count } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { More, Nothing, Title, When } from "../../parts/page";
import { useTexts, type Translate } from "../../texts/language";
import { UploadDialog } from "./upload";

export default function Datasets() {
  const texts = useTexts();
  const { projectId, mayWrite } = useSession();
  const [written, setWritten] = useState("");
  const [isOpen, setOpen] = useState(false);
  const text = useDeferredValue(written);
  const list = useDatasets({ project_id: projectId, ...(text ? { text } : {}) });
  return (
    <>
      <Title
        title={texts("nav.datasets")}
        about={texts("datasets.about")}
        actions={
          mayWrite && (
            <Button type="primary" icon={<UploadOutlined />} onClick={() => setOpen(true)}>
              {texts("datasets.upload")}
            </Button>
          )
        }
      />
      <div className="stack">
        <Input.Search
          allowClear
          style={{ maxWidth: 280 }}
          aria-label={texts("datasets.search")}
          placeholder={texts("datasets.search")}
          onChange={(event) => setWritten(event.target.value)}
        />
        {list.error && <ErrorBox error={list.error} again={list.again} />}
        <Card styles={{ body: { padding: 0 } }}>
          <Table<Dataset>
            rowKey="id"
            loading={list.isLoading}
            dataSource={list.items}
            columns={columnsOf(texts)}
            pagination={false}
            scroll={{ x: 720 }}
            locale={{
              emptyText: (
                <Nothing text={texts(text ? "datasets.noneFound" : "datasets.none")}>
                  {mayWrite && !text && (
                    <Button type="primary" onClick={() => setOpen(true)}>
                      {texts("datasets.upload")}
                    </Button>
                  )}
                </Nothing>
              ),
            }}
          />
          <More list={list} />
        </Card>
        <Presets />
      </div>
      {isOpen && <UploadDialog onClose={() => setOpen(false)} />}
    </>
  );
}

function columnsOf(texts: Translate): TableColumnsType<Dataset> {
  return [
    {
      title: texts("job.name"),
      dataIndex: "name",
      width: 300,
      render: (name: string, each) => (
        <>
          <Link to={`/datasets/${each.id}`} className="any">
            {name}
          </Link>
          {each.role === "general" && (
            <Tag style={{ marginInlineStart: 8 }}>{texts("dataset.general")}</Tag>
          )}
          {each.description && <div className="quiet any">{each.description}</div>}
        </>
      ),
    },
    {
      title: texts("dataset.version"),
      key: "version",
      width: 110,
      render: (_, each) => (each.newest ? `v${each.newest.number}` : <Tag>{texts("dataset.empty")}</Tag>),
    },
    {
      title: texts("dataset.rows"),
      key: "rows",
      align: "end",
      className: "numbers",
      render: (_, each) => (each.newest ? count(each.newest.rows) : "–"),
    },
    {
      title: texts("model.size"),
      key: "bytes",
      align: "end",
      className: "numbers",
      render: (_, each) => (each.newest ? bytes(each.newest.bytes) : "–"),
    },
    { title: texts("job.created"), dataIndex: "created_at", render: (time: string) => <When time={time} /> },
  ];
}

/** What ships with the platform. */
function Presets() {
  const texts = useTexts();
  const navigate = useNavigate();
  const { mayWrite } = useSession();
  const presets = useDatasetPresets();
  if (!presets.data?.data.length) return <ErrorBox error={presets.error} />;
  return (
    <Card title={texts("data.presets")} size="small">
      <div className="columns">
        {presets.data.data.map((each) => (
          <div key={each.name} className="stack" style={{ gap: 6 }}>
            <div>
              <strong className="mono">{each.name}</strong>
              <div className="quiet">{each.description}</div>
              <div className="quiet numbers">
                {texts("dataset.rowsOf", { count: count(each.rows) })} · {bytes(each.bytes)}
              </div>
            </div>
            {mayWrite && each.role === "user" && (
              <div>
                <Button size="small" onClick={() => void navigate(`/train?dataset=${encodeURIComponent(each.name)}`)}>
                  {texts("dataset.train")}
                </Button>
              </div>
            )}
          </div>
        ))}
      </div>
    </Card>
  );
}
