/** One connection for all tabs of a browser, since HTTP/1.1 allows it six in all. */
import { follow, type News } from "./source";

const tabs = new Set<MessagePort>();
let stop: (() => void) | null = null;
let connection: News = { kind: "lost" };

function tell(news: News) {
  if (news.kind === "ready" || news.kind === "lost") connection = news;
  for (const tab of tabs) tab.postMessage(news);
}

function join(tab: MessagePort) {
  tabs.add(tab);
  if (stop === null) stop = follow(tell);
  else tab.postMessage(connection);
}

function leave(tab: MessagePort) {
  tabs.delete(tab);
  if (tabs.size === 0) {
    stop?.();
    stop = null;
  }
}

(self as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = (event) => {
  const tab = event.ports[0];
  if (!tab) return;
  tab.onmessage = (message: MessageEvent<"join" | "leave">) =>
    message.data === "join" ? join(tab) : leave(tab);
};
