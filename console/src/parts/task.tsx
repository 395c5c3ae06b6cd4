/** A task of the server as it goes: a bar while it runs, the error when it fails. */
import { Progress } from "antd";
import { isOver, taskError, useTask, type Task } from "../api/tasks";
import { percent } from "../logic/format";
import { translateWord, useTexts } from "../texts/language";
import { ErrorBox } from "./error";

export function TaskProgress({ id, onDone }: { id: string; onDone?: (task: Task) => void }) {
  const texts = useTexts();
  const task = useTask(id, onDone);
  if (task.error && !task.data) return <ErrorBox error={task.error} />;
  const failed = taskError(task.data);
  if (failed) return <ErrorBox error={failed} />;
  if (!task.data || isOver(task.data)) return null;
  const { done, total, activity } = task.data.progress as { done?: number; total?: number; activity?: string };
  return (
    <div role="status">
      <div className="quiet">
        {activity ? translateWord("activity", activity) : texts("task.waiting")}
      </div>
      <Progress percent={percent(done ?? 0, total)} status="active" size="small" aria-label={texts("job.progress")} />
    </div>
  );
}
