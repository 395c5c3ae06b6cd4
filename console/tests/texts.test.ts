import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { en } from "../src/texts/en";
import { fill } from "../src/texts/language";
import { zh } from "../src/texts/zh";

const blanks = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();

test("both catalogues have the same keys", () => {
  expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
});

test.each(Object.keys(en) as (keyof typeof en)[])("%s has the same blanks in both languages", (key) => {
  expect(blanks(zh[key])).toEqual(blanks(en[key]));
});

test("no text is empty", () => {
  for (const text of [...Object.values(en), ...Object.values(zh)]) expect(text.trim()).not.toBe("");
});

test("every text is used somewhere", () => {
  const folder = join(import.meta.dirname, "../src");
  const code = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name) && !/(texts.(en|zh)[-\w]*|schema)\.ts$/.test(name))
    .map((name) => readFileSync(join(folder, name), "utf8"))
    .join("\n");
  const words = [...code.matchAll(/translateWord\(\s*"(\w+)"/g), ...code.matchAll(/texts\(`(\w+(?:\.\w+)*)\.\$/g)].map((found) => found[1]);
  const written = new Set([...code.matchAll(/"([^"\n]*)"/g)].map((found) => found[1]));
  const unused = Object.keys(en).filter(
    (key) => !written.has(key) && !words.some((word) => key.startsWith(`${word}.`)),
  );
  expect(unused).toEqual([]);
});

test("blanks are filled, and one without a value is left to see", () => {
  expect(fill("{count} of {total}", { count: 3 })).toBe("3 of {total}");
});

test("one thing is named in the singular", () => {
  const rows = "{count} {count:row is|rows are} wrong";
  expect([0, 1, "1", 2].map((count) => fill(rows, { count }))).toEqual([
    "0 rows are wrong", "1 row is wrong", "1 row is wrong", "2 rows are wrong",
  ]);
});
