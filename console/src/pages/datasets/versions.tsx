/** How a dataset became what it is: no version ever changes, each change is the next one. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Button, Space, Table } from "antd";
import { useState } from "react";
import { Link } from "react-router";
import { api, ask, type Schemas } from "../../api/client";
import type { Version } from "../../api/datasets";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { bytes, count } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { When } from "../../parts/page";
import { TaskProgress } from "../../parts/task";
import { useTexts } from "../../texts/language";
import type { PartProps } from "./dataset";
import { DiffDrawer } from "./diff";

type Edited = Schemas["Edited"];

export function Versions({ dataset }: PartProps) {
  const texts = useTexts();
  const client = useQueryClient();
  const { mayWrite } = useSession();
  const [compared, setCompared] = useState<number | null>(null);
  const [task, setTask] = useState<string | null>(null);
  const path = { dataset_id: dataset.id };
  const versions = useQuery({
    queryKey: keys.datasetPart(dataset.id, "versions"),
    queryFn: () => ask(api.GET("/api/v1/datasets/{dataset_id}/versions", { params: { path } })),
  });
  const renew = () => void client.invalidateQueries({ queryKey: keys.dataset(dataset.id) });
  const rollBack = useMutation({
    mutationFn: (version: number): Promise<Edited> =>
      ask(
        api.POST("/api/v1/datasets/{dataset_id}/edit", {
          params: { path },
          body: { operation: { operation: "roll_back", version } },
        }),
      ),
    onSuccess: (edited) => (edited.task ? setTask(edited.task.id) : renew()),
  });
  return (
    <>
      {task && <TaskProgress id={task} onDone={renew} />}
      <ErrorBox error={versions.error ?? rollBack.error} />
      <Table<Version>
        rowKey="id"
        size="middle"
        pagination={false}
        loading={versions.isLoading}
        dataSource={versions.data?.data ?? []}
        scroll={{ x: 720 }}
        columns={[
          {
            title: texts("dataset.version"),
            dataIndex: "number",
            width: 100,
            render: (number: number) => <Link to={`/datasets/${dataset.id}/rows?version=${number}`}>v{number}</Link>,
          },
          { title: texts("dataset.rows"), dataIndex: "rows", className: "numbers", render: (rows: number) => count(rows) },
          { title: texts("model.size"), dataIndex: "bytes", className: "numbers", render: (size: number) => bytes(size) },
          { title: texts("dataset.note"), dataIndex: "note", className: "any" },
          { title: texts("job.created"), dataIndex: "created_at", render: (time: string) => <When time={time} /> },
          {
            key: "do",
            width: 240,
            render: (_, each) =>
              each.number !== dataset.num_versions && (
                <Space>
                  <Button size="small" onClick={() => setCompared(each.number)}>
                    {texts("diff.compare")}
                  </Button>
                  {mayWrite && (
                    <Button
                      size="small"
                      loading={rollBack.isPending && rollBack.variables === each.number}
                      onClick={() => rollBack.mutate(each.number)}
                    >
                      {texts("dataset.rollBack")}
                    </Button>
                  )}
                </Space>
              ),
          },
        ]}
      />
      {compared !== null && (
        <DiffDrawer dataset={dataset} before={compared} after={dataset.num_versions} onClose={() => setCompared(null)} />
      )}
    </>
  );
}
