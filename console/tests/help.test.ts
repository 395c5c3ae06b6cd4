/** The pages of help, as they are drawn: no mark of Markdown is left to see, no space between Chinese characters. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import Markdown from "react-markdown";
import remarkGfm from "remark-gfm";
import { expect, test } from "vitest";

const folder = join(import.meta.dirname, "../src/help");
const pages = ["en", "zh"].flatMap((language) => readdirSync(join(folder, language)).map((name) => `${language}/${name}`));

test("both languages have the same pages", () => {
  expect(readdirSync(join(folder, "zh")).sort()).toEqual(readdirSync(join(folder, "en")).sort());
});

test.each(pages)("%s is drawn whole", (page) => {
  const text = readFileSync(join(folder, page), "utf8");
  const drawn = renderToStaticMarkup(createElement(Markdown, { remarkPlugins: [remarkGfm] }, text));
  const words = drawn.replace(/<code>.*?<\/code>/gs, "").replace(/<[^>]+>/g, "");
  expect(words.match(/.{0,20}(\*\*|__|\]\(|^#+ ).{0,20}/gm)).toBeNull();
  expect(drawn.match(/[\u4e00-\u9fff，。；：、][ \n]+[\u4e00-\u9fff].{0,20}/g)).toBeNull();
});
