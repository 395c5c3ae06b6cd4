/** The order in which jobs wait. */
import type { Schemas } from "../api/client";

type Job = Pick<Schemas["JobRead"], "id" | "status" | "priority" | "position">;

/** Those that wait, the next one first: higher priority, then the place in the queue. */
export function waiting<T extends Job>(jobs: readonly T[]): T[] {
  return jobs
    .filter((job) => job.status === "queued")
    .sort((one, other) => other.priority - one.priority || one.position - other.position);
}

/** Move an element to another place. moved([a, b, c], 0, 2) -> [b, c, a] */
export function moved<T>(list: readonly T[], from: number, to: number): T[] {
  const rest = list.toSpliced(from, 1);
  const one = list[from];
  return one === undefined ? [...list] : rest.toSpliced(to, 0, one);
}
