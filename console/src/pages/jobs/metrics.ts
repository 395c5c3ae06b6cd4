/** The curves of a job, loaded once and then added to, at most once a second. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef } from "react";
import { api, ask } from "../../api/client";
import type { JobDetails } from "../../api/jobs";
import { keys } from "../../api/keys";
import { useNews } from "../../feed/feed";
import type { News } from "../../feed/source";
import { merged, nextStep, type Metrics } from "../../logic/curves";

const PAUSE = 1000;

export function useMetrics(job: JobDetails) {
  const client = useQueryClient();
  const key = keys.jobPart(job.id, "metrics");
  const attempt = useRef(job.attempt);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);

  const query = useQuery({
    queryKey: key,
    staleTime: Infinity,
    structuralSharing: false, // thousands of numbers, which are new whenever they come
    queryFn: async () => {
      const known = client.getQueryData<Metrics>(key);
      const from = nextStep(known, job.attempt, attempt.current);
      attempt.current = job.attempt;
      const params = { path: { job_id: job.id }, query: { points: 2000, from_step: from } };
      const news = await ask(api.GET("/api/v1/jobs/{job_id}/metrics", { params }));
      return known && from > 0 ? merged(known, news) : news;
    },
  });
  const { refetch } = query;

  const onNews = useCallback(
    (news: News) => {
      const isOurs =
        (news.kind === "job" && news.job.id === job.id) ||
        (news.kind === "event" && news.event.job_id === job.id);
      if (!isOurs || timer.current) return;
      timer.current = setTimeout(() => {
        timer.current = undefined;
        void refetch();
      }, PAUSE);
    },
    [job.id, refetch],
  );
  useNews(onNews);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      timer.current = undefined;
    },
    [],
  );
  return { data: query.data, error: query.error, again: () => void refetch() };
}
