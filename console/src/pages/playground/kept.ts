/** What the playground keeps in this browser: what was typed and chosen, not what was said. */
import { SAMPLING, type Sampling } from "../../logic/conversation";

const KEY = "tunesmith.playground";

export interface Kept {
  text: string;
  system: string;
  sampling: Sampling;
  models: string[];
}

const NOTHING: Kept = { text: "", system: "", sampling: SAMPLING, models: [] };

export function kept(): Kept {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Kept>;
    return { ...NOTHING, ...found, sampling: { ...SAMPLING, ...found.sampling } };
  } catch {
    return NOTHING;
  }
}

export function keep(now: Kept) {
  localStorage.setItem(KEY, JSON.stringify(now));
}
