/** What jobs can be made to do; what cannot be undone asks first. */
import { App, Button } from "antd";
import { refusalOf } from "../../api/client";
import type { Action, Job } from "../../api/jobs";
import { actionsOf, useCommand } from "../../api/jobs";
import { translate, translateWord, useTexts } from "../../texts/language";

const ASKS: readonly Action[] = ["cancel", "stop", "delete"];

type Commanded = Pick<Job, "id" | "status" | "intent" | "name">;

interface Props {
  jobs: Commanded[];
  size?: "small" | "middle";
  onDone?: (action: Action) => void;
}

/** What a button says; a job is deleted without its model, so that is named. */
export function wordOf(action: Action): string {
  return action === "delete" ? translate("jobs.delete") : translateWord("action", action);
}

export function isHarsh(action: Action): boolean {
  return action === "delete" || action === "cancel";
}

/** The commands that at least one of the jobs can take; one that is being sent is `pending`. */
export function useCommands(jobs: Commanded[], onDone?: (action: Action) => void) {
  const texts = useTexts();
  const { modal, message } = App.useApp();
  const command = useCommand();
  const possible = [...new Set(jobs.flatMap(actionsOf))];

  const run = async (action: Action) => {
    const ids = jobs.filter((job) => actionsOf(job).includes(action)).map((job) => job.id);
    const answer = await command.mutateAsync({ action, ids });
    const refused = answer.data.filter((each) => !each.ok);
    for (const each of refused) {
      const told = each.error as { message?: string; hint?: string } | null;
      void message.error(`${told?.message ?? ""} ${told?.hint ?? ""}`);
    }
    if (refused.length < ids.length) {
      void message.success(texts("jobs.asked", { action: translateWord("action", action) }));
      onDone?.(action);
    }
  };

  const begin = (action: Action) => {
    const go = () => run(action).catch((error: unknown) => void message.error(refusalOf(error)));
    if (!ASKS.includes(action)) return void go();
    modal.confirm({
      title: translateWord("confirm", action),
      content: jobs.length === 1 ? <span className="any">{jobs[0]?.name}</span> : texts("jobs.count", { count: jobs.length }),
      okText: wordOf(action),
      cancelText: texts("action.back"),
      okButtonProps: { danger: action !== "stop" },
      onOk: go,
    });
  };
  return { possible, begin, pending: command.isPending ? command.variables.action : null };
}

export function Commands({ jobs, size = "middle", onDone }: Props) {
  const { possible, begin, pending } = useCommands(jobs, onDone);
  return possible.map((action) => (
    <Button key={action} size={size} danger={isHarsh(action)} loading={pending === action} onClick={() => begin(action)}>
      {wordOf(action)}
    </Button>
  ));
}
