/** One dataset: its rows, what is wrong with them, how long they are, how it became what it is. */
import { DownloadOutlined, PlusOutlined, RocketOutlined } from "@ant-design/icons";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { App, Button, Card, Select, Skeleton, Tabs, Tag } from "antd";
import { useState } from "react";
import { Link, useNavigate, useParams, useSearchParams } from "react-router";
import { api, ask, refusalOf } from "../../api/client";
import { useDataset, type Dataset } from "../../api/datasets";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { bytes, count } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { Nothing, Title } from "../../parts/page";
import { TaskProgress } from "../../parts/task";
import { useTexts } from "../../texts/language";
import { ExportDialog } from "./export";
import { Report } from "./report";
import { Rows } from "./rows";
import { Splits } from "./splits";
import { Stats } from "./stats";
import { UploadDialog } from "./upload";
import { Versions } from "./versions";

const TABS = ["rows", "report", "stats", "splits", "versions"] as const;
type Tab = (typeof TABS)[number];

export interface PartProps {
  dataset: Dataset;
  version: number;
}

export default function DatasetPage() {
  const { id = "", tab } = useParams();
  const dataset = useDataset(id);
  if (dataset.error && !dataset.data) return <ErrorBox error={dataset.error} again={() => void dataset.refetch()} />;
  if (!dataset.data) return <Skeleton active />;
  return <Shown dataset={dataset.data} tab={TABS.find((each) => each === tab) ?? "rows"} />;
}

function Shown({ dataset, tab }: { dataset: Dataset; tab: Tab }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const { mayWrite } = useSession();
  const [search, setSearch] = useSearchParams();
  const [isOpen, setOpen] = useState(false);
  const [isExport, setExport] = useState(false);
  const version = Number(search.get("version")) || dataset.num_versions;
  const newest = dataset.newest;
  return (
    <>
      <Title
        title={dataset.name}
        before={<Link to="/datasets">← {texts("nav.datasets")}</Link>}
        after={dataset.role === "general" && <Tag>{texts("dataset.general")}</Tag>}
        about={
          newest
            ? `${texts("dataset.rowsOf", { count: count(newest.rows) })} · ${bytes(newest.bytes)}${dataset.description ? ` · ${dataset.description}` : ""}`
            : dataset.description
        }
        actions={
          <>
            {dataset.num_versions > 1 && (
              <Select
                aria-label={texts("dataset.version")}
                value={version}
                onChange={(value) => setSearch({ version: String(value) })}
                options={Array.from({ length: dataset.num_versions }, (_, index) => dataset.num_versions - index).map(
                  (value) => ({ value, label: texts("dataset.versionOf", { number: value }) }),
                )}
              />
            )}
            {mayWrite && newest && (
              <Button icon={<DownloadOutlined />} onClick={() => setExport(true)}>
                {texts("export.title")}
              </Button>
            )}
            {mayWrite && (
              <>
                <DeleteButton dataset={dataset} />
                <Button icon={<PlusOutlined />} onClick={() => setOpen(true)}>
                  {texts("datasets.append")}
                </Button>
                {newest && (
                  <Link to={`/train?dataset=${encodeURIComponent(`${dataset.name}@${version}`)}`}>
                    <Button type="primary" icon={<RocketOutlined />}>
                      {texts("dataset.train")}
                    </Button>
                  </Link>
                )}
              </>
            )}
          </>
        }
      />
      <Card styles={{ body: { paddingTop: 4 } }}>
        {newest ? (
          <Tabs
            activeKey={tab}
            destroyOnHidden
            onChange={(next) => void navigate({ pathname: `/datasets/${dataset.id}/${next}`, search: search.toString() }, { replace: true })}
            items={TABS.map((key) => ({
              key,
              label: texts(`dataset.tab.${key}`),
              children: <Part tab={key} dataset={dataset} version={version} />,
            }))}
          />
        ) : (
          <Empty dataset={dataset} />
        )}
      </Card>
      {isExport && <ExportDialog dataset={dataset} version={version} onClose={() => setExport(false)} />}
      {isOpen && <UploadDialog dataset={dataset} onClose={() => setOpen(false)} />}
    </>
  );
}

function Part({ tab, ...props }: PartProps & { tab: Tab }) {
  switch (tab) {
    case "rows":
      return <Rows {...props} />;
    case "report":
      return <Report {...props} />;
    case "stats":
      return <Stats {...props} />;
    case "splits":
      return <Splits {...props} />;
    case "versions":
      return <Versions {...props} />;
  }
}

/** While its first import runs, or after it failed. */
function Empty({ dataset }: { dataset: Dataset }) {
  const texts = useTexts();
  const client = useQueryClient();
  const tasks = useQuery({
    queryKey: [...keys.tasks, dataset.id],
    queryFn: () => ask(api.GET("/api/v1/tasks", { params: { query: { target: dataset.id, limit: 1 } } })),
  });
  const task = tasks.data?.data[0];
  if (!task) return <Nothing text={texts("dataset.noVersion")} />;
  return (
    <TaskProgress id={task.id} onDone={() => void client.invalidateQueries({ queryKey: keys.dataset(dataset.id) })} />
  );
}

function DeleteButton({ dataset }: { dataset: Dataset }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const client = useQueryClient();
  const { modal, message } = App.useApp();
  const remove = async () => {
    try {
      await ask(api.DELETE("/api/v1/datasets/{dataset_id}", { params: { path: { dataset_id: dataset.id } } }));
      void client.invalidateQueries({ queryKey: keys.datasetLists });
      await navigate("/datasets");
    } catch (error) {
      void message.error(refusalOf(error));
    }
  };
  const sure = () =>
    modal.confirm({
      title: texts("dataset.delete.sure"),
      content: dataset.name,
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
