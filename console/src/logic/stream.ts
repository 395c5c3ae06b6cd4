/** Answers of a model as they come: events of a chat completion, put together. */

export interface Usage {
  prompt: number;
  completion: number;
}

/** One thing that an event says. */
export type Part =
  | { kind: "text"; text: string }
  | { kind: "usage"; usage: Usage }
  | { kind: "finish"; reason: string }
  | { kind: "error"; message: string; code: string };

interface Chunk {
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
  usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
  error?: { message?: string; code?: string };
}

/** Whole lines of what came so far, and the rest, which waits for more.
 * lines('data: {"a": 1}\n\ndata: {') -> [['data: {"a": 1}', ''], 'data: {']
 */
export function lines(buffer: string): [string[], string] {
  const parts = buffer.split(/\r?\n/);
  const rest = parts.pop() ?? "";
  return [parts, rest];
}

/** What a line of an event stream says; nothing for comments, the end, and lines that are broken. */
export function partsOf(line: string): Part[] {
  if (!line.startsWith("data:")) return [];
  const text = line.slice(5).trim();
  if (text === "" || text === "[DONE]") return [];
  let chunk: Chunk;
  try {
    chunk = JSON.parse(text) as Chunk;
  } catch {
    return [];
  }
  if (chunk.error) return [{ kind: "error", message: chunk.error.message ?? "", code: chunk.error.code ?? "" }];
  const found: Part[] = [];
  const choice = chunk.choices?.[0];
  if (choice?.delta?.content) found.push({ kind: "text", text: choice.delta.content });
  if (choice?.finish_reason) found.push({ kind: "finish", reason: choice.finish_reason });
  if (chunk.usage) {
    const { prompt_tokens: prompt = 0, completion_tokens: completion = 0 } = chunk.usage;
    found.push({ kind: "usage", usage: { prompt, completion } });
  }
  return found;
}

/** Answers that come in one piece say nothing about speed. */
const SHORTEST = 50;

/** Tokens a second, from the first token to the last; null where that cannot be said.
 * speed(41, 1000, 3000) -> 20, as the first one of the 41 marks the start
 */
export function speed(tokens: number, firstAt: number | null, endAt: number): number | null {
  if (firstAt === null || tokens < 2 || endAt - firstAt < SHORTEST) return null;
  return (1000 * (tokens - 1)) / (endAt - firstAt);
}
