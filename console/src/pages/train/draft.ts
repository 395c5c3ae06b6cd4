/** The draft of the form: kept in this browser until it is sent. */
import { useCallback, useEffect, useState } from "react";
import { useSession } from "../../app/session";
import { EMPTY, type Draft } from "../../logic/draft";

function keptDraft(place: string): Draft {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(place) ?? "null");
    return found && typeof found === "object" ? { ...EMPTY, ...(found as Partial<Draft>) } : EMPTY;
  } catch {
    return EMPTY; // not our text: begin anew
  }
}

export type Change = (changes: Partial<Draft>) => void;

export function useDraft(): [Draft, Change, () => void] {
  const { me } = useSession();
  const place = `tunesmith.draft.${me.user.id}`; // a browser may be shared
  const [draft, setDraft] = useState(() => keptDraft(place));
  useEffect(() => localStorage.setItem(place, JSON.stringify(draft)), [draft, place]);
  const change = useCallback<Change>((changes) => setDraft((old) => ({ ...old, ...changes })), []);
  const clear = useCallback(() => setDraft(EMPTY), []);
  return [draft, change, clear];
}
