import { expect, test } from "vitest";
import { moved, zoomed } from "../src/logic/zoom";

test("a zoom keeps what is under the cursor where it is", () => {
  expect(zoomed([0, 100], [0, 100], 20, 0.5)).toEqual([10, 60]);
  expect(zoomed([10, 60], [0, 100], 20, 2)).toEqual([0, 100]);
});

test("a zoom ends at the whole curve and at one step", () => {
  expect(zoomed([10, 60], [0, 100], 35, 100)).toEqual([0, 100]);
  expect(zoomed([10, 11], [0, 100], 10, 0.5)).toEqual([10, 11]);
  expect(zoomed([10, 60], [0, 100], 900, 0.5)).toEqual([35, 60]);
});

test("arrows lead from point to point, and stop at the ends", () => {
  expect(moved("ArrowRight", null, 50, false)).toBe(0);
  expect(moved("ArrowLeft", null, 50, false)).toBe(49);
  expect(moved("ArrowRight", 3, 50, true)).toBe(8);
  expect(moved("ArrowLeft", 0, 50, false)).toBe(0);
  expect(moved("ArrowRight", 49, 50, false)).toBe(49);
});
