/** What pages of evaluations, comparisons and the queue work out themselves. */
import { expect, test } from "vitest";
import { placeOf, reachOf, tendency } from "../src/logic/interval";
import { checkpointName, parentOf } from "../src/logic/names";
import { moved, waiting } from "../src/logic/queue";
import { differences, flat, written } from "../src/logic/recipes";
import { growth, intervalText, scoreValue, signed } from "../src/logic/scores";

test("all intervals fit on their line, and zero is in its middle", () => {
  const wide = { value: 0.07, low: -0.02, high: 0.13 };
  expect(reachOf([wide, { value: 0, low: null, high: 0 }])).toBeCloseTo(0.2);
  expect(reachOf([])).toBe(1);
  expect([placeOf(0, 0.2), placeOf(0.1, 0.2), placeOf(-9, 0.2)]).toEqual([50, 75, 0]);
});

test("an interval that crosses zero says nothing for certain", () => {
  expect(tendency({ value: 1, low: -1, high: 3 }, "higher")).toBe("unclear");
  expect(tendency({ value: 2, low: 1, high: 3 }, "higher")).toBe("better");
  expect(tendency({ value: 2, low: 1, high: 3 }, "lower")).toBe("worse");
  expect(tendency({ value: 2, low: 1, high: 3 }, "neither")).toBe("unclear");
});

test("values are shown in their unit, differences with their sign", () => {
  expect([scoreValue(0.452, "share"), scoreValue(0.4512, "seconds"), scoreValue(1234.4, "characters"), scoreValue(null, "share")]).toEqual([
    "45.2 %",
    "0.451 s",
    "1,234",
    "–",
  ]);
  expect([signed(0.139, "share"), signed(-0.12, "seconds"), signed(0.0001, "share"), signed(-1234, "characters")]).toEqual([
    "+13.9",
    "−0.12 s",
    "0.0",
    "−1,234",
  ]);
  expect(intervalText({ value: 0, low: -0.01, high: 0.02 }, "share")).toBe("−1.0 … +2.0");
  expect([growth(0.5), growth(-0.25), growth(null)]).toEqual(["+50 %", "−25 %", "–"]);
});

test("a checkpoint leads back to its model", () => {
  expect(parentOf(checkpointName("ft:starter:default:shop:01abcdef", 88))).toBe("ft:starter:default:shop:01abcdef");
  expect(parentOf("starter")).toBe("starter");
});

test("only fields that differ stand in the table, missing ones too", () => {
  const one = { training: { epochs: 2, learning_rate: 0.1 }, data: { train: ["a"] } };
  const other = { training: { epochs: 3, learning_rate: 0.1 }, data: { train: ["a"] }, name: "x" };
  expect(differences([one, other])).toEqual([
    { path: "training.epochs", values: ["2", "3"] },
    { path: "name", values: [undefined, "x"] },
  ]);
  expect(flat({ a: { b: [1] } })).toEqual({ "a.b": "[1]" });
});

test("jobs wait by priority, then by their place", () => {
  const job = (id: string, priority: number, position: number, status: "queued" | "running" = "queued") => ({ id, priority, position, status });
  const order = waiting([job("c", 0, 2), job("a", 5, 9), job("b", 0, 1), job("d", 0, 0, "running")]);
  expect(order.map((each) => each.id)).toEqual(["a", "b", "c"]);
});

test("what is dragged stands where it was dropped", () => {
  expect(moved(["a", "b", "c"], 0, 2)).toEqual(["b", "c", "a"]);
  expect(moved(["a", "b", "c"], 2, 0)).toEqual(["c", "a", "b"]);
  expect(moved(["a"], 3, 0)).toEqual(["a"]);
});

test("what nobody wrote is no parameter", () => {
  const recipe = { data: { train: [{ dataset: "shop", share: null, tags: [] }] }, adapter: { rank: 8, layers: null } };
  expect(flat(written(recipe))).toEqual({ "data.train": '[{"dataset":"shop"}]', "adapter.rank": "8" });
});
