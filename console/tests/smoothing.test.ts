import { expect, test } from "vitest";
import { smooth } from "../src/logic/smoothing";

test("no weight leaves the values as they are", () => {
  expect(smooth([3, 1, 2], 0)).toEqual([3, 1, 2]);
});

test("the first value stands, however heavy the smoothing", () => {
  expect(smooth([5, 5, 5], 0.99)).toEqual([5, 5, 5].map((value) => expect.closeTo(value)));
});

test("a mean forgets its start", () => {
  expect(smooth([1, 3], 0.5)).toEqual([1, expect.closeTo(7 / 3)]);
});

test("what is no number stays a gap and spoils nothing behind it", () => {
  expect(smooth([1, null, Number.NaN, 1], 0.9)).toEqual([1, null, null, expect.closeTo(1)]);
});
