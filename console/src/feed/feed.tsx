/** News of jobs for pages: kept in the cache of queries, so a page only asks the cache. */
import { useQueryClient, type QueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useState, type ReactNode } from "react";
import type { Schemas } from "../api/client";
import { keys } from "../api/keys";
import { follow, type JobState, type News } from "./source";

type Job = Schemas["JobRead"];
type Listener = (news: News) => void;
const listeners = new Set<Listener>();
const Connected = createContext(true);

/** Whether the page hears of changes; false while it connects again. */
export function useConnected(): boolean {
  return useContext(Connected);
}

/** Call `listener` with every piece of news while the component is there. */
export function useNews(listener: Listener) {
  useEffect(() => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, [listener]);
}

export function FeedProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const [connected, setConnected] = useState(true);
  useEffect(() => {
    const leave = join((news) => {
      if (news.kind === "ready") setConnected(true);
      if (news.kind === "lost") setConnected(false);
      keep(client, news);
      for (const tell of listeners) tell(news);
    });
    return leave;
  }, [client]);
  return <Connected.Provider value={connected}>{children}</Connected.Provider>;
}

/** Through the worker that all tabs share; on its own where a browser has none. */
function join(listener: Listener): () => void {
  if (typeof SharedWorker === "undefined") return follow(listener);
  const worker = new SharedWorker(new URL("./worker.ts", import.meta.url), {
    type: "module",
    name: "tunesmith-feed",
  });
  const send = (word: "join" | "leave") => worker.port.postMessage(word);
  const [leave, comeBack] = [() => send("leave"), () => send("join")];
  worker.port.onmessage = (message: MessageEvent<News>) => listener(message.data);
  send("join");
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", comeBack);
  return () => {
    window.removeEventListener("pagehide", leave);
    window.removeEventListener("pageshow", comeBack);
    leave();
  };
}

function keep(client: QueryClient, news: News) {
  if (news.kind === "ready" || news.kind === "reload") void client.invalidateQueries();
  if (news.kind === "job") keepJob(client, news.job);
}

/** Put the state of a job into every answer that shows it; lists are asked for again when a job
 * is new to them or changed its status, for it may belong elsewhere now. */
function keepJob(client: QueryClient, state: JobState) {
  const { intent, status, ...rest } = state;
  const fresh = { ...rest, intent, status } as Partial<Job>;
  let moved = true;
  client.setQueryData<Schemas["JobDetails"]>(keys.job(state.id), (old) =>
    old ? { ...old, ...fresh } : old,
  );
  client.setQueriesData<Pages>({ queryKey: keys.jobLists }, (old) => {
    if (!old) return old;
    const pages = old.pages.map((page) => ({
      ...page,
      data: page.data.map((job) => {
        if (job.id !== state.id) return job;
        moved = job.status !== status;
        return { ...job, ...fresh };
      }),
    }));
    return { ...old, pages };
  });
  if (moved) {
    void client.invalidateQueries({ queryKey: keys.jobLists });
    void client.invalidateQueries({ queryKey: keys.job(state.id) });
  }
}

interface Pages {
  pages: Schemas["Listed_JobRead_"][];
  pageParams: unknown[];
}
