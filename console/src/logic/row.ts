/** A row of a dataset as one line of text. */

interface Turn {
  role?: unknown;
  content?: unknown;
}

export interface Excerpt {
  question: string;
  answer: string;
  /** The worse answer of a pair. */
  rejected?: string;
  /** Whether an answer that is judged alone was found good. */
  good?: boolean;
}

/** What is asked and what is answered, whatever kind of row it is. */
export function excerpt(row: Record<string, unknown>): Excerpt {
  const record = (row.record ?? row) as Record<string, unknown>;
  const turns = turnsOf(record.messages);
  if ("chosen" in record && turns.length > 0)
    return { question: lastOf(turns, "user"), answer: side(record.chosen), rejected: side(record.rejected) };
  if (turns.length > 0) {
    const last = turns.findLast((turn) => turn.role === "assistant");
    const before = last ? turns.slice(0, turns.lastIndexOf(last)) : turns;
    const judged = typeof record.desirable === "boolean" ? { good: record.desirable } : {};
    return { question: lastOf(before, "user"), answer: text(last?.content), ...judged };
  }
  if ("text" in record) return { question: "", answer: text(record.text) };
  if ("chosen" in record) return { question: text(record.prompt), answer: text(record.chosen), rejected: text(record.rejected) };
  return { question: text(record.prompt ?? record.question), answer: text(record.response ?? record.answer) };
}

function turnsOf(value: unknown): Turn[] {
  return Array.isArray(value) ? (value as Turn[]) : [];
}

function lastOf(turns: Turn[], role: string): string {
  return text(turns.findLast((turn) => turn.role === role)?.content);
}

/** One answer of a pair: its last turn that says something. */
function side(value: unknown): string {
  const turns = turnsOf(value);
  return turns.length > 0 ? lastOf(turns, "assistant") : text(value);
}

function text(value: unknown): string {
  if (typeof value === "string") return value;
  return value === null || value === undefined ? "" : JSON.stringify(value);
}
