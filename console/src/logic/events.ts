/** Events of a job as sentences. */
import type { Schemas } from "../api/client";
import { translate, translateWord } from "../texts/language";
import { bytes, count, duration, short } from "./format";

type Event = Schemas["EventRead"];

/** Steps fill charts, and progress comes many times a second: neither is a line of a history. */
export function isTold(event: Pick<Event, "type">): boolean {
  return event.type !== "step" && event.type !== "progress";
}

/** What the server says, or what follows from the numbers of an event that has no words. */
export function eventText({ type, message, data }: Pick<Event, "type" | "message" | "data">): string {
  const number = (name: string) => (typeof data[name] === "number" ? (data[name] as number) : 0);
  const text = (name: string) => (typeof data[name] === "string" ? (data[name] as string) : "");
  switch (type) {
    case "status":
      return translate("event.became", {
        from: translateWord("status", text("from")),
        to: translateWord("status", text("to")),
      });
    case "model":
      return text("name") ? translate("event.made", { name: text("name") }) : message;
    case "started":
      return translate("event.startedOn", { base: text("base"), method: text("method"), device: text("device") });
    case "plan":
      return translate("event.planOf", {
        steps: count(number("total_steps")),
        rows: count(number("rows")),
        validation: count(number("validation_rows")),
        memory: bytes(number("memory_bytes_estimate")),
      });
    case "evaluation":
      return translate("event.evaluated", { step: count(number("step")), loss: short(number("loss")) });
    case "checkpoint":
      return translate("event.saved", { step: count(number("step")) });
    case "finished":
      return translate("event.ended", { step: count(number("step")), time: duration(number("seconds")) });
    default:
      return message || text("message") || text("kind");
  }
}
