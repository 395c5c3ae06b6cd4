/** What pages ask about jobs, and what they make jobs do. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, ask, type Schemas } from "./client";
import { keys } from "./keys";
import { useList } from "./lists";

export type Job = Schemas["JobRead"];
export type JobDetails = Schemas["JobDetails"];
export type Status = Job["status"];
export type Action = Schemas["JobBulk"]["action"];

export const ACTIVE: readonly Status[] = ["validating_files", "queued", "starting", "running", "pausing", "paused"];
export const FINAL: readonly Status[] = ["succeeded", "failed", "cancelled"];

/** So many curves can still be told apart. */
export const MOST_COMPARED = 8;

/** What can be asked of a job now; the server decides again. */
export function actionsOf(job: Pick<Job, "status" | "intent">): Action[] {
  const isAsked = job.intent !== null;
  switch (job.status) {
    case "running":
      return isAsked ? ["cancel"] : ["pause", "stop", "cancel"];
    case "paused":
      return ["resume", "cancel"];
    case "succeeded":
      return ["delete"];
    case "failed":
    case "cancelled":
      return ["retry", "delete"];
    default:
      return ["cancel"];
  }
}

export interface JobFilter {
  project_id?: string;
  status?: Status[];
  text?: string;
  limit?: number;
}

export function useJobs(filter: JobFilter) {
  return useList<Job>([...keys.jobLists, filter], (after) =>
    ask(api.GET("/api/v1/jobs", { params: { query: { limit: 50, ...filter, after } } })),
  );
}

export function useJob(id: string) {
  return useQuery({
    queryKey: keys.job(id),
    queryFn: () => ask(api.GET("/api/v1/jobs/{job_id}", { params: { path: { job_id: id } } })),
  });
}

/** One command for several jobs; each has its own outcome. */
export function useCommand() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ action, ids }: { action: Action; ids: string[] }) =>
      ask(api.POST("/api/v1/jobs/bulk", { body: { action, job_ids: ids } })),
    onSettled: (_answer, _error, { ids }) => {
      void client.invalidateQueries({ queryKey: keys.jobLists });
      for (const id of ids) void client.invalidateQueries({ queryKey: keys.job(id) });
    },
  });
}
