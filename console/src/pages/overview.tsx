/** What goes on: jobs that run and wait, devices, the newest results. */
import { RocketOutlined } from "@ant-design/icons";
import { Button, Card, List, Skeleton } from "antd";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { ACTIVE, useJobs, type Job } from "../api/jobs";
import { useModels } from "../api/models";
import { useStorage, useWorkers } from "../api/system";
import { useSession } from "../app/session";
import { bytes, short } from "../logic/format";
import { DeviceLine, DiskBar } from "../parts/device";
import { ErrorBox } from "../parts/error";
import { Nothing, StatusTag, Title, When } from "../parts/page";
import { JobProgress } from "../parts/progress";
import { useTexts } from "../texts/language";

const RUNS = new Set<Job["status"]>(["starting", "running", "pausing"]);

export default function Overview() {
  const texts = useTexts();
  const { projectId, mayWrite } = useSession();
  const active = useJobs({ project_id: projectId, status: [...ACTIVE], limit: 20 });
  return (
    <>
      <Title
        title={texts("nav.overview")}
        about={texts("overview.about")}
        actions={
          mayWrite && (
            <Link to="/train">
              <Button type="primary" icon={<RocketOutlined />}>
                {texts("nav.train")}
              </Button>
            </Link>
          )
        }
      />
      <div className="stack">
        <Card title={<Active jobs={active.items} />} extra={<Link to="/jobs">{texts("overview.allJobs")}</Link>}>
          {active.error && <ErrorBox error={active.error} again={active.again} />}
          <List<Job>
            loading={active.isLoading}
            dataSource={active.items}
            locale={{ emptyText: <NoJobs mayWrite={mayWrite} /> }}
            renderItem={(job) => (
              <List.Item>
                <div className="row" style={{ width: "100%", gap: 16 }}>
                  <div style={{ flex: "1 1 200px", minWidth: 0 }}>
                    <Link to={`/jobs/${job.id}`} className="any">
                      {job.name}
                    </Link>
                    <div className="quiet any">{job.base}</div>
                  </div>
                  <StatusTag status={job.status} />
                  <div style={{ flex: "0 1 240px" }}>
                    <JobProgress job={job} />
                  </div>
                </div>
              </List.Item>
            )}
          />
        </Card>
        <div className="wide-columns">
          <div className="stack">
            <Devices />
            <Disk />
          </div>
          <Results />
        </div>
      </div>
    </>
  );
}

/** How many of the jobs run, and how many wait. */
function Active({ jobs }: { jobs: Job[] }) {
  const texts = useTexts();
  const running = jobs.filter((job) => RUNS.has(job.status)).length;
  return (
    <>
      {texts("overview.active")}
      {jobs.length > 0 && (
        <span className="quiet" style={{ fontWeight: 400, marginInlineStart: 12 }}>
          {texts("overview.waiting", { running, waiting: jobs.length - running })}
        </span>
      )}
    </>
  );
}

function NoJobs({ mayWrite }: { mayWrite: boolean }) {
  const texts = useTexts();
  return (
    <Nothing text={texts("overview.quiet")}>
      {mayWrite && (
        <Link to="/welcome">
          <Button>{texts("overview.first")}</Button>
        </Link>
      )}
    </Nothing>
  );
}

/** What computes now, with the memory and utilisation that the jobs tell. */
function Devices() {
  const texts = useTexts();
  const workers = useWorkers();
  const running = workers.data?.data.filter((each) => each.is_running) ?? [];
  return (
    <Card title={texts("overview.devices")}>
      <ErrorBox error={workers.error} again={() => void workers.refetch()} />
      {workers.isLoading && <Skeleton active />}
      {workers.data && running.length === 0 && <Nothing text={texts("overview.noDevices")} />}
      <div className="stack">
        {running.flatMap((worker) =>
          worker.devices.map((device) => (
            <div key={`${worker.id} ${device.index}`}>
              <div className="quiet any">{worker.name}</div>
              <DeviceLine device={device} />
            </div>
          )),
        )}
      </div>
    </Card>
  );
}

function Disk() {
  const texts = useTexts();
  const storage = useStorage();
  return (
    <Card title={texts("overview.disk")}>
      <ErrorBox error={storage.error} again={() => void storage.refetch()} />
      {storage.isLoading && <Skeleton active paragraph={{ rows: 1 }} />}
      {storage.data && <DiskBar storage={storage.data} />}
    </Card>
  );
}

function Results() {
  const texts = useTexts();
  const { projectId } = useSession();
  const models = useModels({ project_id: projectId, source: "job", limit: 6 });
  return (
    <Card title={texts("overview.results")} extra={<Link to="/models">{texts("overview.allModels")}</Link>}>
      <ErrorBox error={models.error} />
      <List
        loading={models.isLoading}
        dataSource={models.items.slice(0, 6)}
        locale={{ emptyText: <Nothing text={texts("overview.noResults")} /> }}
        renderItem={(model) => (
          <List.Item>
            <Pair
              left={
                <>
                  <Link to={`/models/${model.id}`} className="any">
                    {model.name}
                  </Link>
                  <div className="quiet">
                    <When time={model.created_at} /> · {bytes(model.bytes)}
                  </div>
                </>
              }
              right={<Loss value={model.details.best_loss} />}
            />
          </List.Item>
        )}
      />
    </Card>
  );
}

function Loss({ value }: { value: unknown }) {
  const texts = useTexts();
  if (typeof value !== "number") return null;
  return (
    <div className="numbers" style={{ textAlign: "end" }}>
      {short(value)}
      <div className="quiet">{texts("overview.bestLoss")}</div>
    </div>
  );
}

function Pair({ left, right }: { left: ReactNode; right: ReactNode }) {
  return (
    <div style={{ display: "flex", width: "100%", gap: 16, alignItems: "flex-start" }}>
      <div style={{ flex: 1, minWidth: 0 }}>{left}</div>
      {right}
    </div>
  );
}
