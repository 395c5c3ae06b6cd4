/** The files of a model: to read where they are text, and to take home. */
import { DownloadOutlined } from "@ant-design/icons";
import { useQuery } from "@tanstack/react-query";
import { Button, Drawer, Skeleton, Space, Table } from "antd";
import { useState } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import type { ModelDetails } from "../../api/models";
import { bytes } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { Nothing } from "../../parts/page";
import { useTexts } from "../../texts/language";

type ModelFile = Schemas["ModelFileRead"];

export function Files({ model }: { model: ModelDetails }) {
  const texts = useTexts();
  const [opened, setOpened] = useState<string | null>(null);
  const files = useQuery({
    queryKey: keys.modelPart(model.id, "files"),
    queryFn: () => ask(api.GET("/api/v1/models/{model_id}/files", { params: { path: { model_id: model.id } } })),
  });
  return (
    <>
      <ErrorBox error={files.error} />
      <Table<ModelFile>
        rowKey="path"
        size="middle"
        pagination={false}
        loading={files.isLoading}
        dataSource={files.data?.data ?? []}
        scroll={{ x: 640 }}
        locale={{ emptyText: <Nothing text={texts("file.none")} /> }}
        columns={[
          { title: texts("file.path"), dataIndex: "path", className: "mono any" },
          { title: texts("model.size"), dataIndex: "bytes", width: 110, align: "end", render: (size: number) => bytes(size) },
          { title: "SHA-256", dataIndex: "sha256", width: 150, className: "mono", render: (hash: string) => <span title={hash}>{hash.slice(0, 12)}…</span> },
          {
            key: "do",
            width: 220,
            render: (_, each) => (
              <Space>
                <Button
                  size="small"
                  icon={<DownloadOutlined />}
                  href={`/api/v1/models/${model.id}/files/content?path=${encodeURIComponent(each.path)}`}
                  download
                >
                  {texts("action.download")}
                </Button>
                {each.is_text && (
                  <Button size="small" onClick={() => setOpened(each.path)}>
                    {texts("file.open")}
                  </Button>
                )}
              </Space>
            ),
          },
        ]}
      />
      {opened && <Opened model={model} path={opened} onClose={() => setOpened(null)} />}
    </>
  );
}

function Opened({ model, path, onClose }: { model: ModelDetails; path: string; onClose: () => void }) {
  const texts = useTexts();
  const file = useQuery({
    queryKey: keys.modelPart(model.id, "text", path),
    queryFn: () =>
      ask(api.GET("/api/v1/models/{model_id}/files/text", { params: { path: { model_id: model.id }, query: { path } } })),
  });
  return (
    <Drawer open size="min(760px, 100vw)" title={path} onClose={onClose}>
      <ErrorBox error={file.error} />
      {file.isLoading && <Skeleton active />}
      {file.data && (
        <pre className="yaml mono" style={{ whiteSpace: "pre-wrap", maxHeight: "none" }}>
          {file.data.text}
        </pre>
      )}
      {file.data && !file.data.is_whole && <p className="quiet">{texts("file.part")}</p>}
    </Drawer>
  );
}
