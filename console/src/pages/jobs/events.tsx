/** What happened to a job, newest first; steps are in the charts. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Tag, Timeline } from "antd";
import { useCallback } from "react";
import { api, ask, type Schemas } from "../../api/client";
import type { JobDetails } from "../../api/jobs";
import { keys } from "../../api/keys";
import { useNews } from "../../feed/feed";
import type { News } from "../../feed/source";
import { dateTime } from "../../logic/format";
import { eventText, isTold } from "../../logic/events";
import { ErrorBox } from "../../parts/error";
import { Nothing } from "../../parts/page";
import { translateWord, useTexts } from "../../texts/language";

type Event = Schemas["EventRead"];
const COLOURS: Record<string, string> = { error: "red", warning: "orange", info: "gray" };

/** All events but steps: what is stored, then what the feed brings. */
async function load(jobId: string): Promise<Event[]> {
  const found: Event[] = [];
  let after = 0;
  for (;;) {
    const params = { path: { job_id: jobId }, query: { after, limit: 1000 } };
    const page = await ask(api.GET("/api/v1/jobs/{job_id}/events", { params }));
    found.push(...page.data.filter(isTold));
    if (!page.has_more || page.last_number == null) return found;
    after = page.last_number;
  }
}

export function Events({ job }: { job: JobDetails }) {
  const texts = useTexts();
  const client = useQueryClient();
  const key = keys.jobPart(job.id, "events");
  const events = useQuery({ queryKey: key, queryFn: () => load(job.id) });
  const onNews = useCallback(
    (news: News) => {
      if (news.kind !== "event" || news.event.job_id !== job.id) return;
      const event = news.event as Event;
      if (!isTold(event)) return;
      client.setQueryData<Event[]>(keys.jobPart(job.id, "events"), (old) =>
        old && !old.some((each) => each.number === event.number) ? [...old, event] : old,
      );
    },
    [client, job.id],
  );
  useNews(onNews);
  if (events.error && !events.data) return <ErrorBox error={events.error} again={() => void events.refetch()} />;
  if (events.data?.length === 0) return <Nothing text={texts("events.none")} />;
  return (
    <Timeline
      pending={events.isLoading}
      style={{ paddingTop: 12 }}
      items={[...(events.data ?? [])].reverse().map((event) => ({
        key: event.number,
        color: COLOURS[event.level] ?? "gray",
        content: <Told event={event} />,
      }))}
    />
  );
}

function Told({ event }: { event: Event }) {
  const hint = typeof event.data.hint === "string" ? event.data.hint : "";
  return (
    <>
      <div className="row">
        <Tag>{translateWord("event", event.type)}</Tag>
        <span className="quiet">{dateTime(event.created_at)}</span>
      </div>
      <div className="any">{eventText(event)}</div>
      {hint && <div className="quiet any">{hint}</div>}
    </>
  );
}

