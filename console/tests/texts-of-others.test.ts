/** What comes from elsewhere: terminals, rows, events, numbers. */
import { expect, test } from "vitest";
import { eventText, isTold } from "../src/logic/events";
import { ago, bytes, duration, exponent, percent, short } from "../src/logic/format";
import { placed } from "../src/logic/lineage";
import { excerpt } from "../src/logic/row";
import { plain } from "../src/logic/terminal";

test("a terminal's colours and titles go, its text stays", () => {
  expect(plain("\u001b[31mred\u001b[0m \u001b]0;title\u0007<b>x</b>\u0000")).toBe("red <b>x</b>");
});

test("of a line that was written over the last state stays", () => {
  expect(plain("10%\r50%\r100%\ndone\r\n")).toBe("100%\ndone\n");
});

test("the excerpt of a conversation is its last answer and what it answers", () => {
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
    { role: "user", content: "c" },
    { role: "assistant", content: "d" },
  ];
  expect(excerpt({ record: { messages } })).toEqual({ question: "c", answer: "d" });
  expect(excerpt({ record: { text: "<script>" } })).toEqual({ question: "", answer: "<script>" });
  expect(excerpt({ record: { messages: [{ role: "user" }] } })).toEqual({ question: "", answer: "" });
});

test("the excerpt of a pair has both answers, and one that is judged alone what was found", () => {
  const said = (role: string, content: string) => ({ role, content });
  const pair = { messages: [said("user", "a")], chosen: [said("assistant", "b")], rejected: [said("assistant", "c")] };
  expect(excerpt({ record: pair })).toEqual({ question: "a", answer: "b", rejected: "c" });
  const judged = { messages: [said("user", "a"), said("assistant", "b")], desirable: false };
  expect(excerpt({ record: judged })).toEqual({ question: "a", answer: "b", good: false });
});

test("an event without words gets some, and steps are none", () => {
  expect(eventText({ type: "evaluation", message: "", data: { step: 20, loss: 1.5 } })).toBe("Step 20: validation loss 1.5");
  expect(eventText({ type: "warning", message: "Disk is filling", data: {} })).toBe("Disk is filling");
  expect(isTold({ type: "step" })).toBe(false);
});

test("numbers read as people write them", () => {
  expect([short(0.00001), short(8.00654), short(0), short(null)]).toEqual(["1e-5", "8.007", "0", "–"]);
  expect([exponent(0.000025), bytes(1_300_000_000), bytes(999)]).toEqual(["2.5e-5", "1.3 GB", "999 B"]);
  expect([percent(1, 0), percent(1, 3), percent(9, 3)]).toEqual([0, 33, 100]);
});

test("a clock that jumped makes no negative times", () => {
  expect(duration(-5)).toBe("0 s");
  expect(ago("2030-01-01T00:00:00Z", Date.parse("2029-12-31T00:00:00Z"))).toBe("just now");
});

test("a model stands right of all that it came from, and a circle ends", () => {
  const node = (id: string) => ({ id, kind: "model", name: id, details: {} });
  const edge = (source: string, target: string) => ({ source, target, relation: "base" });
  const line = placed({ nodes: ["c", "a", "b"].map(node), edges: [edge("a", "b"), edge("b", "c")] });
  expect(line.map((each) => [each.node.id, each.column])).toEqual([["c", 2], ["a", 0], ["b", 1]]);
  expect(placed({ nodes: ["a", "b"].map(node), edges: [edge("a", "b"), edge("b", "a")] })).toHaveLength(2);
});
