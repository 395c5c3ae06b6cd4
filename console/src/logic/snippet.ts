/** How to ask a model from elsewhere: the same question as a command and as a program. */
import type { Turn } from "./conversation";

interface Asked {
  [name: string]: unknown;
  model: string;
  messages: Turn[];
}

/** A text in single quotes, for a shell. it's -> 'it'\''s' */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function curl(address: string, question: Asked): string {
  return [
    `curl ${quoted(`${address}/v1/chat/completions`)}`,
    `  -H "Authorization: Bearer $TUNESMITH_TOKEN"`,
    `  -H 'Content-Type: application/json'`,
    `  -d ${quoted(JSON.stringify(question, null, 2))}`,
  ].join(" \\\n");
}

/** Parameters that the openai client knows by name; all others go through `extra_body`. */
const KNOWN = new Set(["model", "messages", "temperature", "top_p", "max_tokens", "seed"]);

export function python(address: string, question: Asked): string {
  const known = Object.entries(question).filter(([name]) => KNOWN.has(name));
  const others = Object.entries(question).filter(([name]) => !KNOWN.has(name));
  const given = known.map(([name, value]) => `    ${name}=${literal(value, 4)},`);
  if (others.length) given.push(`    extra_body=${literal(Object.fromEntries(others), 4)},`);
  return [
    "import os",
    "",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${literal(`${address}/v1`)}, api_key=os.environ["TUNESMITH_TOKEN"])`,
    "answer = client.chat.completions.create(",
    ...given,
    "    stream=True,",
    ")",
    "for part in answer:",
    '    print(part.choices[0].delta.content or "", end="", flush=True)',
    "",
  ].join("\n");
}

/** A value as Python writes it. Texts are JSON texts, which Python reads the same way. */
export function literal(value: unknown, indent = 0): string {
  const [inner, outer] = [" ".repeat(indent + 4), " ".repeat(indent)];
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return `[\n${value.map((each) => `${inner}${literal(each, indent + 4)},\n`).join("")}${outer}]`;
  }
  if (typeof value === "object") {
    const pairs = Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${literal(each, indent + 4)}`);
    return `{${pairs.join(", ")}}`;
  }
  return JSON.stringify(value);
}
