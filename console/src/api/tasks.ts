/** Work of the server that takes a while. */
import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { api, ApiError, ask, type Schemas } from "./client";
import { keys } from "./keys";

export type Task = Schemas["TaskRead"];

/** A task until it is over; `onDone` hears once how it ended. */
export function useTask(id: string | null, onDone?: (task: Task) => void) {
  const query = useQuery({
    queryKey: keys.task(id ?? ""),
    queryFn: () => ask(api.GET("/api/v1/tasks/{task_id}", { params: { path: { task_id: id ?? "" } } })),
    enabled: id !== null,
    refetchInterval: ({ state }) => (isOver(state.data) ? false : 700),
  });
  const task = query.data;
  const over = isOver(task) ? task?.id : undefined;
  useEffect(() => {
    if (over && task && onDone) onDone(task);
    // eslint-disable-next-line react-hooks/exhaustive-deps -- once for each task that is over
  }, [over]);
  return query;
}

export function isOver(task: Task | undefined): boolean {
  return task !== undefined && task.state !== "queued" && task.state !== "running";
}

/** What a task says went wrong, in the shape of all errors. */
export function taskError(task: Task | undefined): ApiError | null {
  if (task?.state !== "failed") return null;
  const told = (task.error ?? {}) as Record<string, unknown>;
  const text = (name: string) => (typeof told[name] === "string" ? (told[name] as string) : "");
  return new ApiError({ code: text("code"), message: text("message"), hint: text("hint"), details: told }, 400);
}
