/** A record of a dataset as texts to edit, and back. */

export interface Turn {
  role: string;
  content: string;
}

/** The lists of turns that a record can have: the dialogue, and both answers of a pair. */
export const LISTS = ["messages", "chosen", "rejected"] as const;
export type ListName = (typeof LISTS)[number];

export interface Draft {
  turns: Partial<Record<ListName, Turn[]>>;
  /** Texts beside the turns, such as `text`. */
  texts: Record<string, string>;
}

type Stored = Record<string, unknown>;

/** What of a record can be edited as text; null where something in it is no text (pictures, tools). */
export function draftOf(record: Stored): Draft | null {
  const lists = LISTS.filter((name) => Array.isArray(record[name]));
  const stored = lists.map((name) => [name, record[name] as Stored[]] as const);
  const isPlain = stored.every(([, turns]) => turns.every((each) => typeof each.role === "string" && typeof each.content === "string"));
  const texts = Object.fromEntries(Object.entries(record).filter(([, value]) => typeof value === "string"));
  if (!isPlain || (stored.length === 0 && Object.keys(texts).length === 0)) return null;
  const turns = stored.map(([name, each]) => [name, each.map((turn) => ({ role: String(turn.role), content: String(turn.content) }))]);
  return { turns: Object.fromEntries(turns) as Draft["turns"], texts: texts as Record<string, string> };
}

/** The record with the texts of the draft; whatever else a turn or the record has stays. */
export function recordOf(record: Stored, { turns, texts }: Draft): Stored {
  const lists = Object.entries(turns).map(([name, written]) => {
    const before = record[name] as Stored[];
    return [name, written.map((each, index) => ({ ...before[index], ...each }))];
  });
  return { ...record, ...texts, ...Object.fromEntries(lists) };
}
