import { expect, test } from "vitest";
import { aligned, further, merged, MOST_POINTS, nextStep, spoken, type Metrics } from "../src/logic/curves";

const metrics = (steps: number[], values: (number | null)[]): Metrics => ({
  job_id: "ftjob-1",
  series: { loss: { steps, values, times: steps, num_points: steps.length } },
  restarts: [],
  last_step: steps.at(-1) ?? null,
});

test("news begin with the last step that is known, which counts as it came last", () => {
  const both = merged(metrics([1, 2, 3], [9, 8, 7]), metrics([3, 4], [6, 5]));
  expect(both.series.loss).toMatchObject({ steps: [1, 2, 3, 4], values: [9, 8, 6, 5] });
  expect(both.last_step).toBe(4);
});

test("no news change nothing", () => {
  const old = metrics([1, 2], [9, 8]);
  expect(merged(old, { ...old, series: {}, last_step: null })).toEqual(old);
});

test("a curve that is new is added", () => {
  const both = merged({ ...metrics([1], [9]), series: {} }, metrics([2], [8]));
  expect(both.series.loss?.steps).toEqual([2]);
});

test("the next request goes on at the last step, and begins anew after a restart or with too many", () => {
  expect(nextStep(undefined, 1, 1)).toBe(0);
  expect(nextStep(metrics([1, 7], [9, 8]), 1, 1)).toBe(7);
  expect(nextStep(metrics([1, 7], [9, 8]), 2, 1)).toBe(0);
  const many = Array.from({ length: MOST_POINTS + 1 }, (_, index) => index);
  expect(nextStep(metrics(many, many), 1, 1)).toBe(0);
});

test("curves share one axis; a step that a curve has not is no gap, a value that is none is one", () => {
  expect(aligned([[1, 2], [2, 3]], [[5, null], [7, 8]])).toEqual([
    [1, 2, 3],
    [5, null, undefined],
    [undefined, 7, 8],
  ]);
});

test("curves of the same steps are laid out as they are, gaps included", () => {
  expect(aligned([[1, 2], [1, 2]], [[5, null], [7, 8]])).toEqual([[1, 2], [5, null], [7, 8]]);
});

test("what a stage measures besides is named once, as the engine has it", () => {
  const { series } = metrics([1], [1]);
  const more = { ...series, kl: series.loss, reward_mean: series.loss, validation_reward_mean: series.loss } as Metrics["series"];
  expect(further({ ...metrics([1], [1]), series: more })).toEqual(["reward_mean"]);
  expect(spoken("reward_mean")).toBe("Reward mean");
});
