/** How to read the curves: what is seen in them, with its figures, and what to do about it. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { App, Button, Card, Skeleton, Tag } from "antd";
import { useNavigate } from "react-router";
import { api, ask, refusalOf, type Schemas } from "../../api/client";
import { FINAL, type JobDetails } from "../../api/jobs";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { flat } from "../../logic/recipes";
import { ErrorBox } from "../../parts/error";
import { translateWord, useLanguage, useTexts } from "../../texts/language";

type Finding = Schemas["FindingRead"];
const COLOURS: Record<Finding["weight"], string> = { note: "processing", good: "success", warning: "warning" };

export function CurveAdvice({ job }: { job: JobDetails }) {
  const texts = useTexts();
  const { language } = useLanguage();
  const advice = useQuery({
    queryKey: [...keys.jobPart(job.id, "advice"), language],
    queryFn: () => ask(api.GET("/api/v1/jobs/{job_id}/advice", { params: { path: { job_id: job.id } } })),
    refetchInterval: FINAL.includes(job.status) ? false : 10_000,
  });
  return (
    <Card size="small" title={texts("advice.title")} className="advice">
      <ErrorBox error={advice.error} again={() => void advice.refetch()} />
      {advice.isLoading && <Skeleton active title={false} />}
      {advice.data?.findings.length === 0 && <span className="quiet">{texts("advice.none")}</span>}
      <ul className="plain">
        {advice.data?.findings.map((each) => (
          <li key={each.code}>
            <Tag color={COLOURS[each.weight]}>{translateWord("adviceWeight", each.weight)}</Tag>
            <div className="any">{each.message}</div>
            <div className="quiet any">{each.hint}</div>
            {Object.keys(each.changes).length > 0 && <NextJob job={job} finding={each} />}
          </li>
        ))}
      </ul>
    </Card>
  );
}

/** A job like this one with the change that the finding proposes. */
function NextJob({ job, finding }: { job: JobDetails; finding: Finding }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const { mayWrite } = useSession();
  const { modal, message } = App.useApp();
  const changes = Object.entries(flat(finding.changes))
    .map(([path, value]) => `${path}: ${value}`)
    .join("\n");
  const clone = useMutation({
    mutationFn: () =>
      ask(
        api.POST("/api/v1/jobs/{job_id}/clone", {
          params: { path: { job_id: job.id } },
          body: { changes: finding.changes, priority: job.priority },
        }),
      ),
    onSuccess: (made) => navigate(`/jobs/${made.id}/metrics`),
    onError: (error) => void message.error(refusalOf(error)),
  });
  if (!mayWrite) return null;
  const sure = () =>
    modal.confirm({
      title: texts("advice.next.sure"),
      content: <pre className="mono any">{changes}</pre>,
      okText: texts("branch.start"),
      cancelText: texts("action.back"),
      onOk: () => clone.mutateAsync().catch(() => undefined),
    });
  return (
    <Button size="small" style={{ marginTop: 6 }} loading={clone.isPending} onClick={sure}>
      {texts("advice.next")}
    </Button>
  );
}
