/** Curves of a job: put together from parts that came one after another, and laid out for a chart. */
import type { Schemas } from "../api/client";

export type Metrics = Schemas["MetricsRead"];
export type Series = Schemas["SeriesRead"];

/** Beyond so many points the server is asked to thin them out again. */
export const MOST_POINTS = 4000;

/** What was known and what came since: points of steps that came again count as they came last. */
export function merged(old: Metrics, news: Metrics): Metrics {
  const series: Record<string, Series> = { ...old.series };
  for (const [name, added] of Object.entries(news.series)) {
    const known = series[name];
    series[name] = known ? joined(known, added) : added;
  }
  return { ...news, series, last_step: news.last_step ?? old.last_step };
}

function joined(old: Series, news: Series): Series {
  const first = news.steps[0];
  if (first === undefined) return old;
  const cut = old.steps.findIndex((step) => step >= first);
  const kept = cut < 0 ? old.steps.length : cut;
  return {
    steps: [...old.steps.slice(0, kept), ...news.steps],
    values: [...old.values.slice(0, kept), ...news.values],
    times: [...old.times.slice(0, kept), ...news.times],
    num_points: kept + news.num_points,
  };
}

/** Where the next request goes on: at the last step, whose evaluation may have come since; 0 to load
 * all anew: too many points, or steps done again. */
export function nextStep(known: Metrics | undefined, attempt: number, knownAttempt: number): number {
  if (!known || known.last_step === null || attempt !== knownAttempt) return 0;
  const longest = Math.max(0, ...Object.values(known.series).map((each) => each.steps.length));
  return longest > MOST_POINTS ? 0 : known.last_step;
}

/** Several curves over the union of their steps, as uPlot wants them: [x, y1, y2, ...].
 * aligned([[1, 2], [2]], [[5, 6], [7]]) -> [[1, 2], [5, 6], [undefined, 7]]
 */
export function aligned(
  steps: readonly (readonly number[])[],
  values: readonly (readonly (number | null)[])[],
): [number[], ...(number | null | undefined)[][]] {
  const all = union(steps);
  let place: Map<number, number> | null = null;
  const rows = values.map((curve, index) => {
    // Mostly all curves have the same steps: nothing has to be looked for then.
    if (isSame(steps[index] ?? [], all)) return [...curve];
    place ??= new Map(all.map((step, at) => [step, at]));
    // undefined: no point here, the line goes on; null: a gap, for a loss that was no number.
    const row = new Array<number | null | undefined>(all.length).fill(undefined);
    steps[index]?.forEach((step, at) => {
      row[place?.get(step) as number] = curve[at] ?? null;
    });
    return row;
  });
  return [all, ...rows];
}

/** All steps of rising lists, each once, rising. */
function union(lists: readonly (readonly number[])[]): number[] {
  const [first = [], ...others] = lists.filter((each, index) => lists.findIndex((one) => isSame(one, each)) === index);
  if (others.length === 0) return [...first];
  return [...new Set([first, ...others].flat())].sort((one, other) => one - other);
}

function isSame(one: readonly number[], other: readonly number[]): boolean {
  return one === other || (one.length === other.length && one.every((step, at) => step === other[at]));
}

/** What stands before the name of what an evaluation measured. */
export const VALIDATION = "validation_";

/** Curves that have a picture with words of the console. */
const KNOWN = new Set([
  ...["loss", "token_accuracy", "learning_rate", "grad_norm", "tokens_per_second", "throughput"],
  ...["memory_bytes", "memory_utilisation", "utilisation"],
  ...["reward_accuracy", "reward_margin", "chosen_reward", "rejected_reward", "kl", "entropy", "nll_loss"],
  ...["chosen_log_prob", "rejected_log_prob", "chosen_logit", "rejected_logit"],
]);

/** Names of what was measured besides, each once, whether while training or evaluating. */
export function further(metrics: Metrics): string[] {
  const names = Object.keys(metrics.series).map((name) => name.replace(/^validation_/, ""));
  return [...new Set(names)].filter((name) => !KNOWN.has(name));
}

/** log_odds_ratio -> Log odds ratio */
export function spoken(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
