import { expect, test } from "vitest";
import { body } from "../src/logic/headings";
import { evenShares, modeOf, sumOf, switched } from "../src/logic/mixing";
import { draftOf, recordOf } from "../src/logic/record";

test.each([1, 2, 3, 7, 100])("even shares of %i datasets come to exactly 100", (count) => {
  const datasets = evenShares(count).map((share) => ({ dataset: "a", share }));
  expect(sumOf(datasets)).toBe(100);
});

test("a mixture is by rates or by shares, never both", () => {
  const rates = [{ dataset: "a", sampling_rate: 2 }, { dataset: "b" }];
  expect(modeOf(rates)).toBe("rates");
  const shares = switched(rates, "shares");
  expect(shares).toEqual([{ dataset: "a", share: 50 }, { dataset: "b", share: 50 }]);
  expect(modeOf(shares)).toBe("shares");
  expect(switched(shares, "rates")).toEqual([{ dataset: "a" }, { dataset: "b" }]);
});

test("turns are edited as texts, and what else they hold stays", () => {
  const record = { messages: [{ role: "user", content: "a" }, { role: "assistant", content: "b", weight: 0 }], tools: [1] };
  const draft = draftOf(record);
  expect(draft).toEqual({ turns: { messages: [{ role: "user", content: "a" }, { role: "assistant", content: "b" }] }, texts: {} });
  const turns = { messages: [{ role: "user", content: "a" }, { role: "assistant", content: "c" }] };
  expect(recordOf(record, { turns, texts: {} })).toEqual({
    messages: [{ role: "user", content: "a" }, { role: "assistant", content: "c", weight: 0 }],
    tools: [1],
  });
});

test("plain texts and pairs are edited by name; what is no text is edited as JSON", () => {
  expect(draftOf({ text: "x" })).toEqual({ turns: {}, texts: { text: "x" } });
  expect(recordOf({ text: "x" }, { turns: {}, texts: { text: "y" } })).toEqual({ text: "y" });
  expect(draftOf({ messages: [{ role: "user", content: [{ type: "image" }] }] })).toBeNull();
  expect(draftOf({})).toBeNull();
});

test("both answers of a pair are edited, and the question before them", () => {
  const said = (role: string, content: string) => ({ role, content });
  const pair = { messages: [said("user", "a")], chosen: [said("assistant", "b")], rejected: [said("assistant", "c")], margin: 1 };
  const draft = draftOf(pair);
  expect(draft?.turns.rejected).toEqual([said("assistant", "c")]);
  const changed = { turns: { ...draft?.turns, rejected: [said("assistant", "d")] }, texts: {} };
  expect(recordOf(pair, changed)).toEqual({ ...pair, rejected: [said("assistant", "d")] });
});

test("the YAML in front of a card is left out", () => {
  expect(body("---\nlicense: mit\n---\n# Card")).toBe("# Card");
  expect(body("# Card\n---\nend")).toBe("# Card\n---\nend");
});
