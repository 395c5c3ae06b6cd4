/** One job: its state and commands above, everything about it in tabs. */
import { Alert, Button, Card, Skeleton, Tabs } from "antd";
import { Link, useNavigate, useParams } from "react-router";
import { FINAL, useJob, type JobDetails } from "../../api/jobs";
import { useSession } from "../../app/session";
import { ErrorBox } from "../../parts/error";
import { StatusTag, Title } from "../../parts/page";
import { JobProgress } from "../../parts/progress";
import { translateWord, useTexts } from "../../texts/language";
import { Checkpoints } from "./checkpoints";
import { CloneButton } from "./clone";
import { Commands } from "./commands";
import { Curves } from "./curves";
import { Events } from "./events";
import { Information } from "./information";
import { Log } from "./log";
import { RecipeText } from "./recipe";
import { Results } from "./results";

const TABS = ["information", "metrics", "log", "events", "checkpoints", "recipe", "results"] as const;
type Tab = (typeof TABS)[number];

export default function JobPage() {
  const { id = "", tab } = useParams();
  const job = useJob(id);
  if (job.error && !job.data) return <ErrorBox error={job.error} again={() => void job.refetch()} />;
  if (!job.data) return <Skeleton active />;
  return <Shown job={job.data} tab={TABS.find((each) => each === tab) ?? "information"} />;
}

function Shown({ job, tab }: { job: JobDetails; tab: Tab }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const { mayWrite } = useSession();
  const isDone = FINAL.includes(job.status);
  return (
    <>
      <Title
        title={job.name}
        before={<Link to="/jobs">← {texts("nav.jobs")}</Link>}
        after={<StatusTag status={job.status} />}
        about={job.description || undefined}
        actions={
          <>
            {job.model_id && (
              <Link to={`/models/${job.model_id}`}>
                <Button type="primary">{texts("job.viewModel")}</Button>
              </Link>
            )}
            {mayWrite && <CloneButton job={job} />}
            {mayWrite && (
              <Commands jobs={[job]} onDone={(action) => action === "delete" && void navigate("/jobs")} />
            )}
          </>
        }
      />
      <div className="stack">
        <Why job={job} />
        {!isDone && (
          <Card size="small">
            <div className="row" style={{ gap: 24 }}>
              <div style={{ flex: "1 1 240px" }}>
                <JobProgress job={job} />
              </div>
              {job.intent && <span>{translateWord("intent", job.intent)}</span>}
            </div>
          </Card>
        )}
        <Card styles={{ body: { paddingTop: 4 } }}>
          <Tabs
            activeKey={tab}
            onChange={(next) => void navigate(`/jobs/${job.id}/${next}`, { replace: true })}
            destroyOnHidden
            items={TABS.map((key) => ({
              key,
              label: texts(`job.tab.${key}`),
              children: <Part job={job} tab={key} />,
            }))}
          />
        </Card>
      </div>
    </>
  );
}

function Part({ job, tab }: { job: JobDetails; tab: Tab }) {
  switch (tab) {
    case "information":
      return <Information job={job} />;
    case "metrics":
      return <Curves job={job} />;
    case "log":
      return <Log job={job} />;
    case "events":
      return <Events job={job} />;
    case "checkpoints":
      return <Checkpoints job={job} />;
    case "recipe":
      return <RecipeText job={job} />;
    case "results":
      return <Results job={job} />;
  }
}

/** Why a job failed or waits, in the words of whoever stopped it. */
function Why({ job }: { job: JobDetails }) {
  const told = (job.error as { message?: string; hint?: string } | null) ?? job.waits_for;
  const message = told?.message;
  if (!message) return null;
  return (
    <Alert
      type={job.status === "failed" ? "error" : "warning"}
      showIcon
      title={<span className="any">{message}</span>}
      description={told.hint && <span className="any">{told.hint}</span>}
    />
  );
}
