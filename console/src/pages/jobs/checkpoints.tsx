/** What a job saved on its way: each can become a model, or the start of another training. */
import { useQueryClient } from "@tanstack/react-query";
import { App, Button, Space, Table, Tag } from "antd";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { api, ask, refusalOf, type Schemas } from "../../api/client";
import type { JobDetails } from "../../api/jobs";
import { keys } from "../../api/keys";
import { useList } from "../../api/lists";
import { useSession } from "../../app/session";
import { bytes, count, short } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { More, Nothing, When } from "../../parts/page";
import { useTexts } from "../../texts/language";
import { DeployDialog } from "../deployments/create";
import { BranchDialog } from "./clone";

type Checkpoint = Schemas["CheckpointRead"];

export function Checkpoints({ job }: { job: JobDetails }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const client = useQueryClient();
  const { message } = App.useApp();
  const { mayWrite } = useSession();
  const [branched, setBranched] = useState<Checkpoint | null>(null);
  const [deployed, setDeployed] = useState<Checkpoint | null>(null);
  const list = useList<Checkpoint>([...keys.jobPart(job.id, "checkpoints"), job.num_checkpoints], (after) =>
    ask(
      api.GET("/api/v1/jobs/{job_id}/checkpoints", {
        params: { path: { job_id: job.id }, query: { after, limit: 100 } },
      }),
    ),
  );
  const makeModel = async (checkpoint: Checkpoint) => {
    try {
      const params = { path: { checkpoint_id: checkpoint.id } };
      const made = await ask(api.POST("/api/v1/checkpoints/{checkpoint_id}/model", { params, body: {} }));
      void client.invalidateQueries({ queryKey: keys.modelLists });
      await navigate(`/models/${made.model_id}`);
    } catch (error) {
      void message.error(refusalOf(error));
    }
  };
  const metric = (checkpoint: Checkpoint, name: string) => {
    const value = checkpoint.metrics[name];
    return typeof value === "number" ? short(value) : "–";
  };
  return (
    <>
      {list.error && <ErrorBox error={list.error} again={list.again} />}
      <Table<Checkpoint>
        rowKey="id"
        size="middle"
        loading={list.isLoading}
        dataSource={list.items}
        pagination={false}
        scroll={{ x: 820 }}
        locale={{ emptyText: <Nothing text={texts("checkpoints.none")} /> }}
        columns={[
          { title: texts("chart.step"), dataIndex: "step", width: 90, render: (step: number) => count(step) },
          { title: texts("curves.training"), key: "train", render: (_, each) => metric(each, "train_loss") },
          { title: texts("curves.validation"), key: "valid", render: (_, each) => metric(each, "valid_loss") },
          { title: texts("model.size"), dataIndex: "bytes", render: (size: number) => bytes(size) },
          { title: texts("job.created"), dataIndex: "created_at", render: (time: string) => <When time={time} /> },
          {
            key: "do",
            width: 320,
            render: (_, each) =>
              each.deleted_at ? (
                <Tag>{texts("checkpoints.deleted")}</Tag>
              ) : (
                mayWrite && (
                  <Space>
                    <Button size="small" onClick={() => void makeModel(each)}>
                      {texts("checkpoints.use")}
                    </Button>
                    <Button size="small" onClick={() => setBranched(each)}>
                      {texts("checkpoints.branch")}
                    </Button>
                    <Button size="small" onClick={() => setDeployed(each)}>
                      {texts("deploy.deploy")}
                    </Button>
                  </Space>
                )
              ),
          },
        ]}
      />
      <More list={list} />
      {job.model_id && (
        <p>
          <Link to={`/models/${job.model_id}`}>{texts("job.viewModel")}</Link>
        </p>
      )}
      {deployed && (
        <DeployDialog
          model={deployed.id}
          shown={`${job.name} · ${texts("chart.step")} ${deployed.step}`}
          onClose={() => setDeployed(null)}
          onMade={(made) => void navigate(`/deployments/${made.id}`)}
        />
      )}
      {branched && <BranchDialog job={job} checkpoint={branched} onClose={() => setBranched(null)} />}
    </>
  );
}
