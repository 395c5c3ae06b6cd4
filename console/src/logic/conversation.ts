/** Conversations of the playground: what is sent, what is kept as a row. */

export interface Turn {
  role: "system" | "user" | "assistant";
  content: string;
}

/** How a model is asked; what is null is left to the server. */
export interface Sampling {
  temperature: number | null;
  top_p: number | null;
  max_tokens: number | null;
  seed: number | null;
  repetition_penalty: number | null;
}

export const SAMPLING: Sampling = { temperature: 0, top_p: null, max_tokens: 256, seed: null, repetition_penalty: null };

/** The turns with the system prompt in front, where there is one. */
export function withSystem(system: string, turns: readonly Turn[]): Turn[] {
  return system.trim() ? [{ role: "system", content: system.trim() }, ...turns] : [...turns];
}

/** The body of a question, without what is left to the server. */
export function questionOf(model: string, turns: readonly Turn[], sampling: Sampling): Record<string, unknown> {
  const chosen = Object.entries(sampling).filter(([, value]) => value !== null);
  return { model, messages: turns, ...Object.fromEntries(chosen) };
}

export interface Row {
  [column: string]: unknown;
  messages: Turn[];
}

/** A conversation as a row of a dataset. */
export function rowOf(system: string, turns: readonly Turn[], answer?: string): Row {
  const whole = withSystem(system, turns);
  const last = whole.at(-1);
  if (answer !== undefined && last?.role === "assistant") whole[whole.length - 1] = { ...last, content: answer };
  return { messages: whole };
}

/** A wrong answer as a row. Mended, the right one stands in its place and the wrong one beside it;
 * unmended, the column `to_mend` is what it is found by. */
export function wrongRow(system: string, turns: readonly Turn[], right: string, model: string): Row {
  const wrong = turns.at(-1)?.content ?? "";
  const isMended = right.trim() !== "" && right.trim() !== wrong.trim();
  return {
    ...rowOf(system, turns, isMended ? right.trim() : wrong),
    to_mend: !isMended,
    wrong_answer: wrong,
    answered_by: model,
  };
}

/** Where the rows that wait for mending are found in a dataset. */
export const TO_MEND = "to_mend == True";

/** The turns up to a place, that of an answer included. */
export function until(turns: readonly Turn[], place: number): Turn[] {
  return turns.slice(0, place + 1);
}
