import { expect, test } from "vitest";
import { besideExpected } from "../src/logic/expected";
import { duration } from "../src/logic/format";

test("what a job took stands beside what it was ordered by, with the error once it is whole", () => {
  expect(besideExpected(duration, 50, 40, true)).toBe("50 s; expected 40 s (+25%)");
  expect(besideExpected(duration, 30, 40, true)).toBe("30 s; expected 40 s (−25%)");
});

test("while a job runs there is no error to speak of", () => {
  expect(besideExpected(duration, 10, 40, false)).toBe("10 s; expected 40 s");
  expect(besideExpected(duration, null, 40, false)).toBe("–; expected 40 s");
});

test("without an estimate only the fact is told", () => {
  expect(besideExpected(duration, 10, null, true)).toBe("10 s");
});
