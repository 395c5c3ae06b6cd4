/** One evaluation: how far it is, then what it found. */
import { CloudServerOutlined, DownloadOutlined, FileTextOutlined } from "@ant-design/icons";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { App, Button, Card, Progress, Skeleton, Tabs } from "antd";
import { useState } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { api, ApiError, ask, refusalOf } from "../../api/client";
import { isAtWork, useEvaluation, useFound, type Evaluation, type Found } from "../../api/evaluations";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { count, percent } from "../../logic/format";
import { download } from "../../parts/download";
import { ErrorBox } from "../../parts/error";
import { Title } from "../../parts/page";
import { translateWord, useTexts } from "../../texts/language";
import { DeployDialog } from "../deployments/create";
import { Behind } from "./behind";
import { Outcome } from "./list";
import { RowList } from "./rows";
import { Forgetting, Scores, Verdict } from "./verdict";

const TABS = ["verdict", "rows", "behind", "forgetting"] as const;
type Tab = (typeof TABS)[number];

export default function EvaluationPage() {
  const { id = "", tab } = useParams();
  const evaluation = useEvaluation(id);
  if (evaluation.error && !evaluation.data) return <ErrorBox error={evaluation.error} again={() => void evaluation.refetch()} />;
  if (!evaluation.data) return <Skeleton active />;
  return <Shown evaluation={evaluation.data} tab={TABS.find((each) => each === tab) ?? "verdict"} />;
}

function Shown({ evaluation, tab }: { evaluation: Evaluation; tab: Tab }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const { mayWrite } = useSession();
  const found = useFound(evaluation);
  const [isOpen, setOpen] = useState(false);
  const isDone = evaluation.finished_at !== null;
  const has = { verdict: true, rows: true, behind: evaluation.model_id !== null, forgetting: evaluation.base !== "" };
  const tabs = TABS.filter((each) => has[each]);
  return (
    <>
      <Title
        title={evaluation.model}
        before={<Link to="/evaluations">← {texts("nav.evaluations")}</Link>}
        after={<Outcome evaluation={evaluation} />}
        about={`${evaluation.base ? `${texts("evaluate.against", { base: evaluation.base })} · ` : ""}${evaluation.data}${found.data ? ` · ${texts("dataset.rowsOf", { count: count(found.data.rows) })}` : ""}`}
        actions={
          <>
            {mayWrite && <DeleteButton evaluation={evaluation} />}
            {isDone && <ReportButtons evaluation={evaluation} />}
            {mayWrite && evaluation.model_id && isDone && (
              <Button type="primary" icon={<CloudServerOutlined />} onClick={() => setOpen(true)}>
                {texts("deploy.deploy")}
              </Button>
            )}
          </>
        }
      />
      <div className="stack">
        <Going evaluation={evaluation} />
        <ErrorBox error={found.error} again={() => void found.refetch()} />
        {isDone && !found.data && !found.error && <Skeleton active />}
        {found.data && (
          <Card styles={{ body: { paddingTop: 4 } }}>
            <Tabs
              activeKey={tab}
              destroyOnHidden
              onChange={(next) => void navigate(`/evaluations/${evaluation.id}/${next}`, { replace: true })}
              items={tabs.map((key) => ({
                key,
                label: texts(`evaluation.tab.${key}`),
                children: <Part evaluation={evaluation} found={found.data} tab={key} />,
              }))}
            />
          </Card>
        )}
      </div>
      {isOpen && (
        <DeployDialog
          model={evaluation.model}
          onClose={() => setOpen(false)}
          onMade={(made) => void navigate(`/deployments/${made.id}`)}
        />
      )}
    </>
  );
}

function Part({ evaluation, found, tab }: { evaluation: Evaluation; found: Found; tab: Tab }) {
  switch (tab) {
    case "verdict":
      return evaluation.base ? <Verdict found={found} /> : <Scores found={found} />;
    case "rows":
      return <RowList evaluation={evaluation} found={found} />;
    case "behind":
      return <Behind evaluation={evaluation} />;
    case "forgetting":
      return <Forgetting found={found} />;
  }
}

/** How far it is, or why it ended without a result. */
function Going({ evaluation }: { evaluation: Evaluation }) {
  const texts = useTexts();
  const told = evaluation.error as { code?: string; message?: string; hint?: string } | null;
  if (evaluation.state === "failed" && told)
    return <ErrorBox error={new ApiError({ ...told, details: told }, 400)} />;
  if (!isAtWork(evaluation)) return null;
  const { done, total, activity } = evaluation.progress as { done?: number; total?: number; activity?: string };
  return (
    <Card size="small">
      <div role="status">
        <div className="quiet">{activity ? translateWord("activity", activity) : texts("task.waiting")}</div>
        <Progress percent={percent(done ?? 0, total)} status="active" aria-label={texts("job.progress")} />
        {total ? (
          <div className="quiet numbers">
            {count(done ?? 0)} / {count(total)} {texts("unit.rows")}
          </div>
        ) : (
          <div className="quiet">{texts("evaluate.starting")}</div>
        )}
      </div>
    </Card>
  );
}

function ReportButtons({ evaluation }: { evaluation: Evaluation }) {
  const texts = useTexts();
  const { message } = App.useApp();
  const address = `/api/v1/evaluations/${evaluation.id}/report`;
  const fetchReport = useMutation({
    mutationFn: () =>
      ask(
        api.GET("/api/v1/evaluations/{evaluation_id}/report", {
          params: { path: { evaluation_id: evaluation.id } },
          parseAs: "blob",
        }),
      ),
    onSuccess: (blob) => download(blob as unknown as Blob, `${evaluation.id}.html`),
    onError: (error) => void message.error(refusalOf(error)),
  });
  return (
    <>
      <Button icon={<FileTextOutlined />} href={address} target="_blank" rel="noreferrer">
        {texts("evaluation.report")}
      </Button>
      <Button icon={<DownloadOutlined />} loading={fetchReport.isPending} onClick={() => fetchReport.mutate()}>
        {texts("action.download")}
      </Button>
    </>
  );
}

function DeleteButton({ evaluation }: { evaluation: Evaluation }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const client = useQueryClient();
  const { modal, message } = App.useApp();
  const atWork = isAtWork(evaluation);
  const go = async () => {
    try {
      if (atWork) {
        await ask(api.POST("/api/v1/tasks/{task_id}/cancel", { params: { path: { task_id: evaluation.task_id } } }));
        await client.invalidateQueries({ queryKey: keys.evaluation(evaluation.id) });
        return;
      }
      await ask(api.DELETE("/api/v1/evaluations/{evaluation_id}", { params: { path: { evaluation_id: evaluation.id } } }));
      void client.invalidateQueries({ queryKey: keys.evaluationLists });
      await navigate("/evaluations");
    } catch (error) {
      void message.error(refusalOf(error));
    }
  };
  const sure = () =>
    modal.confirm({
      title: texts(atWork ? "evaluation.cancel.sure" : "evaluation.delete.sure"),
      content: evaluation.model,
      okText: texts(atWork ? "evaluation.cancel" : "action.delete"),
      cancelText: texts("action.back"),
      okButtonProps: { danger: true },
      onOk: go,
    });
  return (
    <Button danger onClick={sure}>
      {texts(atWork ? "evaluation.cancel" : "action.delete")}
    </Button>
  );
}
