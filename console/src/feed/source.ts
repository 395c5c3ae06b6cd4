/** The stream of all jobs, connected again whenever it breaks. Runs in a page or a worker. */

export interface JobState {
  id: string;
  project_id: string;
  name: string;
  status: string;
  reason: string;
  intent: string | null;
  step: number;
  total_steps: number | null;
  loss: number | null;
  eta_seconds: number | null;
  event_count: number;
  changed_at: string;
}

export interface JobEvent {
  job_id: string;
  number: number;
  attempt: number;
  seq: number | null;
  type: string;
  level: string;
  message: string;
  data: Record<string, unknown>;
  created_at: string;
}

export type News =
  | { kind: "ready" } // connected: what was loaded before may be old
  | { kind: "lost" } // not connected, and trying again
  | { kind: "reload" } // this page was too slow to follow
  | { kind: "job"; job: JobState }
  | { kind: "event"; event: JobEvent };

const ADDRESS = "/api/v1/events/stream";
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;

/** Tell `listener` everything until the function that it returns is called. */
export function follow(listener: (news: News) => void): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let pause = FIRST_PAUSE;

  const connect = () => {
    source = new EventSource(ADDRESS);
    source.addEventListener("ready", () => {
      pause = FIRST_PAUSE;
      listener({ kind: "ready" });
    });
    source.addEventListener("reload", () => listener({ kind: "reload" }));
    source.addEventListener("job", (message) => {
      listener({ kind: "job", job: JSON.parse(message.data as string) as JobState });
    });
    source.addEventListener("message", (message: MessageEvent<string>) => {
      listener({ kind: "event", event: JSON.parse(message.data) as JobEvent });
    });
    source.addEventListener("error", () => {
      // A browser gives up on an answer that is no stream, such as a 503: so ask again ourselves.
      source?.close();
      listener({ kind: "lost" });
      timer = setTimeout(connect, pause);
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    });
  };
  connect();
  return () => {
    clearTimeout(timer);
    source?.close();
  };
}
