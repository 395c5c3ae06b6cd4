/** Answers that come in parts, conversations that are kept, and code that asks the same. */
import { expect, test } from "vitest";
import { SAMPLING, questionOf, rowOf, until, withSystem, wrongRow, type Turn } from "../src/logic/conversation";
import { curl, literal, python } from "../src/logic/snippet";
import { lines, partsOf, speed } from "../src/logic/stream";

const turns: Turn[] = [
  { role: "user", content: "hi" },
  { role: "assistant", content: "ho" },
];

test("a line that is cut in two waits for its other half", () => {
  const [whole, rest] = lines('data: {"a"');
  expect(whole).toEqual([]);
  expect(lines(`${rest}: 1}\r\n\r\ndata: x`)).toEqual([['data: {"a": 1}', ""], "data: x"]);
});

test("an event says text, end and usage; comments, the end mark and broken lines say nothing", () => {
  const event = { choices: [{ delta: { content: "<b>" }, finish_reason: "length" }], usage: { prompt_tokens: 3, completion_tokens: 5 } };
  expect(partsOf(`data: ${JSON.stringify(event)}`)).toEqual([
    { kind: "text", text: "<b>" },
    { kind: "finish", reason: "length" },
    { kind: "usage", usage: { prompt: 3, completion: 5 } },
  ]);
  expect([": ping", "", "data: [DONE]", "data: {broken"].flatMap(partsOf)).toEqual([]);
});

test("an error within the stream is heard", () => {
  expect(partsOf('data: {"error": {"message": "gone", "code": "deployment_lost"}}')).toEqual([
    { kind: "error", message: "gone", code: "deployment_lost" },
  ]);
});

test("speed counts from the first token, and is unknown for one", () => {
  expect(speed(41, 1000, 3000)).toBe(20);
  expect([speed(1, 0, 10), speed(5, null, 10), speed(5, 10, 59)]).toEqual([null, null, null]);
});

test("a question leaves out what the server decides, and an empty system prompt", () => {
  expect(questionOf("m", withSystem("  ", turns), { ...SAMPLING, temperature: 0 })).toEqual({
    model: "m",
    messages: turns,
    temperature: 0,
    max_tokens: 256,
  });
  expect(withSystem(" Be short. ", turns)[0]).toEqual({ role: "system", content: "Be short." });
});

test("a conversation becomes a row, up to the answer that is meant", () => {
  const longer: Turn[] = [...turns, { role: "user", content: "more" }];
  expect(rowOf("Be short.", until(longer, 1)).messages).toEqual([{ role: "system", content: "Be short." }, ...turns]);
});

test("a wrong answer is mended in its row, and both are told apart", () => {
  const row = wrongRow("", turns, " right ", "m");
  expect(row.messages.at(-1)).toEqual({ role: "assistant", content: "right" });
  expect(row).toMatchObject({ to_mend: false, wrong_answer: "ho", answered_by: "m" });
});

test("a wrong answer without a right one waits for its mend", () => {
  for (const right of ["", "ho"]) {
    const row = wrongRow("", turns, right, "m");
    expect(row.messages.at(-1)?.content).toBe("ho");
    expect(row.to_mend).toBe(true);
  }
});

test("a command quotes what a shell would read", () => {
  const text = curl("http://x", { model: "m", messages: [{ role: "user", content: "it's `$HOME`" }] });
  expect(text).toContain("'http://x/v1/chat/completions'");
  expect(text).toContain("it'\\''s `$HOME`");
});

test("a program names what the client knows and hands on the rest", () => {
  const text = python("http://x", { model: "m", messages: turns, temperature: 0, repetition_penalty: 1.1 });
  expect(text).toContain('base_url="http://x/v1"');
  expect(text).toContain("    temperature=0,");
  expect(text).toContain('    extra_body={"repetition_penalty": 1.1},');
});

test("values are written as Python writes them", () => {
  expect(["None", "True", "[]", '"a\\n\\"b\\""']).toEqual([null, true, [], 'a\n"b"'].map((each) => literal(each)));
});
