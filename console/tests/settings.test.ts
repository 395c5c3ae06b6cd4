import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Schemas } from "../src/api/client";
import { beginOf, endOf, isOver } from "../src/logic/days";
import { anchored, headingsOf } from "../src/logic/headings";
import { changesOf, limitsOf } from "../src/logic/limits";
import { placeOf, SECTIONS } from "../src/pages/help/sections";

const user = {
  email: "li@example.com",
  is_admin: false,
  quota_running_jobs: null,
  quota_device_hours: 10,
  quota_storage_bytes: 5e9,
  credit_cents: 250,
} as Schemas["UserRead"];

test("limits are sent in bytes and cents, and an empty one is none", () => {
  expect(limitsOf({ running_jobs: 0, device_hours: null, storage_gb: 1.5, credit: 2.5 })).toEqual({
    quota_running_jobs: 0,
    quota_device_hours: null,
    quota_storage_bytes: 1_500_000_000,
    credit_cents: 250,
  });
});

test("only what differs is changed, so that a credit is not set back", () => {
  const same = { email: "li@example.com", is_admin: false, device_hours: 10, storage_gb: 5, credit: 2.5 };
  expect(changesOf(user, same)).toEqual({});
  expect(changesOf(user, { ...same, is_admin: true, password: "" })).toEqual({ is_admin: true });
  expect(changesOf(user, { ...same, device_hours: null })).toEqual({ quota_device_hours: null });
});

test("a day begins and ends where the reader is", () => {
  const [begin, end] = [beginOf("2026-11-22"), endOf("2026-11-22")];
  expect(new Date(begin ?? "").getHours()).toBe(0);
  expect(new Date(end ?? "").getDate()).toBe(23);
  expect(beginOf("")).toBeUndefined();
  expect(endOf("no day")).toBeUndefined();
});

test("a token is over when its time is behind", () => {
  expect(isOver("2026-01-01T00:00:00Z", Date.parse("2026-01-02T00:00:00Z"))).toBe(true);
  expect(isOver("2026-01-03T00:00:00Z", Date.parse("2026-01-02T00:00:00Z"))).toBe(false);
});

test("a heading can have a place to link to", () => {
  expect(anchored("LoRA {#lora}")).toEqual({ text: "LoRA", id: "lora" });
  expect(anchored("When")).toEqual({ text: "When", id: "" });
});

const folder = join(import.meta.dirname, "../src/help");
const read = (language: string, section: string) => readFileSync(join(folder, language, `${section}.md`), "utf8");

test.each([...SECTIONS])("the help on %s has the same places in both languages", (section) => {
  const ids = (language: string) => headingsOf(read(language, section)).map((each) => each.id);
  expect(ids("zh")).toEqual(ids("en"));
  const count = (language: string) => [...read(language, section).matchAll(/^## /gm)].length;
  expect(count("zh")).toBe(count("en"));
});

test("every file of the help is a section, and every link from a form ends at a heading", () => {
  for (const language of ["en", "zh"]) {
    expect(readdirSync(join(folder, language)).sort()).toEqual([...SECTIONS].map((each) => `${each}.md`).sort());
  }
  const paths = ["adapter.kind", "adapter.rank", "data.max_length", "data.general_ratio", "training.epochs", "data.validation.fraction"];
  for (const path of paths) {
    const [section = "", id] = (placeOf(path) ?? "").replace("/help/", "").split("#");
    expect(SECTIONS).toContain(section);
    if (id) expect(headingsOf(read("en", section)).map((each) => each.id)).toContain(id);
  }
  expect(placeOf("training.seed")).toBeNull();
});
