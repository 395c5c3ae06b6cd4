import { expect, test } from "vitest";
import { ApiError, ask, errorOf, whenSignedOut } from "../src/api/client";

const body = {
  error: {
    code: "invalid_recipe",
    message: "recipe: 2 problems",
    hint: "Nothing was submitted.",
    param: "training.epochs",
    request_id: "req_1",
    details: { problems: [{ field: "training.epochs", message: "too many" }, { param: "name", message: "empty" }] },
  },
};
const answer = (status: number, data: unknown, headers = {}) => ({
  ...(status < 400 ? { data } : { error: data }),
  response: new Response(status === 204 ? null : "", { status, headers }),
});

test("an answer gives its body", async () => {
  await expect(ask(Promise.resolve(answer(200, { id: 1 })))).resolves.toEqual({ id: 1 });
});

test("what the server refused is told with its hint, its request and every field", async () => {
  const error = await ask(Promise.resolve(answer(400, body))).catch((failed: unknown) => failed);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ code: "invalid_recipe", hint: "Nothing was submitted.", requestId: "req_1", status: 400 });
  expect((error as ApiError).problems.map((each) => each.field)).toEqual(["training.epochs", "name"]);
});

test("an answer in another shape keeps the id of its request", () => {
  const told = errorOf("<html>", new Response("", { status: 502, headers: { "x-request-id": "req_9" } }));
  expect(told).toMatchObject({ code: "unreadable", requestId: "req_9", status: 502 });
  expect(told.message).toContain("502");
});

test("no answer is told as such", async () => {
  await expect(ask(Promise.reject(new TypeError("fetch failed")))).rejects.toMatchObject({ code: "not_reachable", status: 0 });
});

test("a session that ended is heard of", async () => {
  let times = 0;
  const stop = whenSignedOut(() => (times += 1));
  await ask(Promise.resolve(answer(401, body))).catch(() => undefined);
  stop();
  await ask(Promise.resolve(answer(401, body))).catch(() => undefined);
  expect(times).toBe(1);
});
