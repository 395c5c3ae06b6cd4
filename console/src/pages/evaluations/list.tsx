/** Evaluations: what was found out about models, newest first. */
import { ExperimentOutlined } from "@ant-design/icons";
import { Button, Card, Table, Tag, type TableColumnsType } from "antd";
import { useState } from "react";
import { Link, useNavigate, useSearchParams } from "react-router";
import { isAtWork, useEvaluations, type Evaluation } from "../../api/evaluations";
import { useSession } from "../../app/session";
import { percent } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { More, Nothing, Title, VerdictTag, When } from "../../parts/page";
import { translateWord, useTexts, type Translate } from "../../texts/language";
import { EvaluateDialog } from "./create";

export default function Evaluations() {
  const texts = useTexts();
  const navigate = useNavigate();
  const { mayWrite } = useSession();
  const [search] = useSearchParams();
  const [isOpen, setOpen] = useState(search.has("new"));
  const open = () => setOpen(true);
  return (
    <>
      <Title
        title={texts("nav.evaluations")}
        about={texts("evaluations.about")}
        actions={
          mayWrite && (
            <Button type="primary" icon={<ExperimentOutlined />} onClick={open}>
              {texts("evaluate.title")}
            </Button>
          )
        }
      />
      <Card styles={{ body: { padding: 0 } }}>
        <EvaluationTable {...(mayWrite ? { onNew: open } : {})} />
      </Card>
      {isOpen && mayWrite && (
        <EvaluateDialog
          model={search.get("model") ?? ""}
          onClose={() => setOpen(false)}
          onMade={(made) => void navigate(`/evaluations/${made.id}`)}
        />
      )}
    </>
  );
}

/** Those of the project, or of one model. */
export function EvaluationTable({ modelId, onNew }: { modelId?: string; onNew?: () => void }) {
  const texts = useTexts();
  const { projectId } = useSession();
  const list = useEvaluations({ project_id: projectId, ...(modelId ? { model_id: modelId } : {}) });
  return (
    <>
      {list.error && <ErrorBox error={list.error} again={list.again} />}
      <Table<Evaluation>
        rowKey="id"
        loading={list.isLoading}
        dataSource={list.items}
        pagination={false}
        scroll={{ x: 860 }}
        columns={columnsOf(texts)}
        locale={{
          emptyText: (
            <Nothing text={texts("evaluations.none")}>
              {onNew && (
                <Button type="primary" onClick={onNew}>
                  {texts("evaluate.title")}
                </Button>
              )}
            </Nothing>
          ),
        }}
      />
      <More list={list} />
    </>
  );
}

function columnsOf(texts: Translate): TableColumnsType<Evaluation> {
  return [
    {
      title: texts("evaluate.model"),
      dataIndex: "model",
      width: 320,
      render: (model: string, each) => (
        <>
          <Link to={`/evaluations/${each.id}`} className="any">
            {model}
          </Link>
          {each.base && (
            <div className="quiet any" style={{ fontSize: 12 }}>
              {texts("evaluate.against", { base: each.base })}
            </div>
          )}
        </>
      ),
    },
    { title: texts("evaluate.data"), dataIndex: "data", className: "any", width: 200 },
    { title: texts("evaluate.verdict"), key: "verdict", width: 150, render: (_, each) => <Outcome evaluation={each} /> },
    { title: texts("job.created"), dataIndex: "created_at", width: 140, render: (time: string) => <When time={time} /> },
  ];
}

/** The verdict once there is one; until then how far it is. */
export function Outcome({ evaluation }: { evaluation: Evaluation }) {
  const texts = useTexts();
  if (evaluation.verdict) return <VerdictTag verdict={evaluation.verdict} />;
  if (isAtWork(evaluation)) {
    const { done, total } = evaluation.progress as { done?: number; total?: number };
    const share = total ? ` ${percent(done ?? 0, total)}%` : "";
    return <Tag color="processing">{translateWord("status", evaluation.state) + share}</Tag>;
  }
  if (evaluation.state === "succeeded") return <Tag color="success">{texts("evaluate.scored")}</Tag>;
  return <Tag color={evaluation.state === "failed" ? "error" : "default"}>{translateWord("status", evaluation.state)}</Tag>;
}
