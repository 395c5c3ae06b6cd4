/** Models that answer: those on one base share a process. */
import { CloudServerOutlined } from "@ant-design/icons";
import { Button, Card, Table, type TableColumnsType } from "antd";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { useDeployments, type Deployment } from "../../api/deployments";
import { useSession } from "../../app/session";
import { count } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { ModelName } from "../../parts/model-name";
import { DeploymentTag, Nothing, Title, When } from "../../parts/page";
import { translateWord, useTexts, type Translate } from "../../texts/language";
import { DeploymentCommands } from "./commands";
import { DeployDialog } from "./create";

export default function Deployments() {
  const texts = useTexts();
  const navigate = useNavigate();
  const { projectId, mayWrite } = useSession();
  const deployments = useDeployments(projectId);
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Title
        title={texts("nav.deployments")}
        about={texts("deployments.about")}
        actions={
          mayWrite && (
            <Button type="primary" icon={<CloudServerOutlined />} onClick={() => setOpen(true)}>
              {texts("deploy.title")}
            </Button>
          )
        }
      />
      <div className="stack">
        <ErrorBox error={deployments.error} again={() => void deployments.refetch()} />
        <Card styles={{ body: { padding: 0 } }}>
          <Table<Deployment>
            rowKey="id"
            loading={deployments.isLoading}
            dataSource={deployments.data ?? []}
            pagination={false}
            scroll={{ x: 860 }}
            columns={columnsOf(texts, mayWrite)}
            locale={{
              emptyText: (
                <Nothing text={texts("deployments.none")}>
                  {mayWrite && (
                    <Button type="primary" onClick={() => setOpen(true)}>
                      {texts("deploy.title")}
                    </Button>
                  )}
                </Nothing>
              ),
            }}
          />
        </Card>
      </div>
      {isOpen && <DeployDialog onClose={() => setOpen(false)} onMade={(made) => void navigate(`/deployments/${made.id}`)} />}
    </>
  );
}

function columnsOf(texts: Translate, mayWrite: boolean): TableColumnsType<Deployment> {
  return [
    {
      title: texts("job.name"),
      dataIndex: "name",
      width: 300,
      render: (name: string, each) => (
        <Link to={`/deployments/${each.id}`} className="any">
          {name}
        </Link>
      ),
    },
    { title: texts("job.base"), dataIndex: "base", className: "any", width: 200, render: (base: string) => <ModelName id={base} /> },
    {
      title: texts("job.status"),
      dataIndex: "status",
      width: 140,
      render: (status: string, each) => (
        <>
          <DeploymentTag status={status} />
          {status === "stopped" && each.reason && (
            <div className="quiet" style={{ fontSize: 12 }}>
              {translateWord("stopReason", each.reason)}
            </div>
          )}
        </>
      ),
    },
    { title: texts("deploy.requests"), dataIndex: "num_requests", align: "end", className: "numbers", width: 100, render: (number: number) => count(number) },
    { title: texts("deploy.used"), dataIndex: "used_at", width: 130, render: (time: string | null) => <When time={time} /> },
    {
      key: "do",
      width: 230,
      render: (_, each) => (
        <div className="row" style={{ flexWrap: "nowrap" }}>
          <Link to={`/playground?model=${encodeURIComponent(each.name)}`}>
            <Button size="small">{texts("deploy.chat")}</Button>
          </Link>
          {mayWrite && <DeploymentCommands deployment={each} size="small" />}
        </div>
      ),
    },
  ];
}
