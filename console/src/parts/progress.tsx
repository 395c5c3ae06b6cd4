/** How far a job is: a bar, steps, and when it will be done. */
import { Progress } from "antd";
import type { Job } from "../api/jobs";
import { count, duration, percent } from "../logic/format";
import { useTexts } from "../texts/language";

type Shown = Pick<Job, "status" | "step" | "total_steps" | "eta_seconds">;

export function JobProgress({ job }: { job: Shown }) {
  const texts = useTexts();
  if (!job.total_steps) return <span className="quiet">–</span>;
  const part = job.status === "succeeded" ? 100 : percent(job.step, job.total_steps);
  return (
    <div className="numbers" style={{ minWidth: 130 }}>
      <Progress
        percent={part}
        size="small"
        status={STATES[job.status] ?? "normal"}
        aria-label={texts("job.progress")}
        format={(value) => `${value ?? 0}%`}
      />
      <div className="quiet" style={{ fontSize: 12 }}>
        {count(job.step)} / {count(job.total_steps)}
        {job.eta_seconds !== null && job.status === "running" && (
          <> · {texts("job.left", { time: duration(job.eta_seconds) })}</>
        )}
      </div>
    </div>
  );
}

const STATES: Partial<Record<Job["status"], "active" | "exception" | "success">> = {
  running: "active",
  failed: "exception",
  succeeded: "success",
};
