/** The draft of the form: kept in this browser until it is sent. */
import { useCallback, useEffect, useState } from "react";
import { EMPTY, type Draft } from "../../logic/draft";

const KEPT = "tunesmith.draft";

export function keptDraft(): Draft {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEPT) ?? "null");
    return found && typeof found === "object" ? { ...EMPTY, ...(found as Partial<Draft>) } : EMPTY;
  } catch {
    return EMPTY; // not our text: begin anew
  }
}

export type Change = (changes: Partial<Draft>) => void;

export function useDraft(): [Draft, Change, () => void] {
  const [draft, setDraft] = useState(keptDraft);
  useEffect(() => localStorage.setItem(KEPT, JSON.stringify(draft)), [draft]);
  const change = useCallback<Change>((changes) => setDraft((old) => ({ ...old, ...changes })), []);
  const clear = useCallback(() => setDraft(EMPTY), []);
  return [draft, change, clear];
}
