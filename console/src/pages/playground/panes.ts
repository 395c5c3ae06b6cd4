/** The models that are asked, side by side, and what was said to each. */
import { useCallback, useEffect, useRef, useState } from "react";
import { chat } from "../../api/chat";
import type { ApiError } from "../../api/client";
import { questionOf, withSystem, type Sampling, type Turn } from "../../logic/conversation";
import { uniqueKey } from "../../logic/key";
import { speed, type Part, type Usage } from "../../logic/stream";

export const MOST_PANES = 4;

export interface ShownTurn extends Turn {
  isWaiting?: boolean;
  isStopped?: boolean;
  /** Where an answer ended because it may not be longer. */
  isCut?: boolean;
  usage?: Usage;
  firstSeconds?: number;
  perSecond?: number | null;
  error?: ApiError;
}

export interface Pane {
  key: string;
  model: string;
  turns: ShownTurn[];
}

interface Asking {
  system: string;
  sampling: Sampling;
  projectId: string;
}

export function usePanes(first: readonly string[]) {
  const [panes, setPanes] = useState<Pane[]>(() => first.slice(0, MOST_PANES).map(empty));
  const running = useRef(new Map<string, AbortController>());
  const [busy, setBusy] = useState(0);
  const change = useCallback((key: string, with_: (pane: Pane) => Pane) => {
    setPanes((all) => all.map((pane) => (pane.key === key ? with_(pane) : pane)));
  }, []);

  const answer = useCallback(
    async (pane: Pane, { system, sampling, projectId }: Asking) => {
      const stop = new AbortController();
      running.current.set(pane.key, stop);
      setBusy((count) => count + 1);
      const turns = pane.turns.map(({ role, content }) => ({ role, content }));
      const last = (with_: (turn: ShownTurn) => ShownTurn) =>
        change(pane.key, (now) => ({ ...now, turns: now.turns.map((turn, at) => (at === now.turns.length - 1 ? with_(turn) : turn)) }));
      change(pane.key, (now) => ({ ...now, turns: [...pane.turns, { role: "assistant", content: "", isWaiting: true }] }));
      const onPart = listener(last);
      try {
        const question = questionOf(pane.model, withSystem(system, turns), sampling);
        await chat({ question, projectId, signal: stop.signal, onPart });
        last((turn) => ({ ...turn, isWaiting: false, isStopped: stop.signal.aborted }));
      } catch (error) {
        last((turn) => ({ ...turn, isWaiting: false, error: error as ApiError }));
      } finally {
        running.current.delete(pane.key);
        setBusy((count) => count - 1);
      }
    },
    [change],
  );

  const send = (text: string, asking: Asking) => {
    for (const pane of panes.filter((each) => each.model)) {
      void answer({ ...pane, turns: [...whole(pane.turns), { role: "user", content: text }] }, asking);
    }
  };
  /** The last question once more, in place of an answer that failed or does not please. */
  const again = (pane: Pane, asking: Asking) => {
    const asked = pane.turns.findLastIndex((turn) => turn.role === "user");
    if (asked >= 0) void answer({ ...pane, turns: pane.turns.slice(0, asked + 1) }, asking);
  };
  const stop = useCallback(() => {
    for (const each of running.current.values()) each.abort();
  }, []);
  useEffect(() => stop, [stop]);

  const choose = (key: string, model: string) => change(key, (pane) => ({ ...pane, model }));
  const add = () => setPanes((all) => (all.length < MOST_PANES ? [...all, empty("")] : all));
  const remove = (key: string) => {
    running.current.get(key)?.abort();
    setPanes((all) => all.filter((pane) => pane.key !== key));
  };
  const clear = () => {
    stop();
    setPanes((all) => all.map((pane) => ({ ...pane, turns: [] })));
  };
  return { panes, send, again, stop, choose, add, remove, clear, isBusy: busy > 0 };
}

function empty(model: string): Pane {
  return { key: uniqueKey(), model, turns: [] };
}

/** What a model is told of what was said: a question without an answer is left out. */
function whole(turns: readonly ShownTurn[]): ShownTurn[] {
  return turns.filter((turn, at) => {
    const answered = turn.role === "user" ? turns[at + 1] : turn;
    return Boolean(answered?.content) && !answered?.error;
  });
}

/** Writes the parts of an answer into the turn, and how fast they came. */
function listener(last: (with_: (turn: ShownTurn) => ShownTurn) => void): (part: Part) => void {
  const began = performance.now();
  let firstAt: number | null = null;
  return (part) => {
    const now = performance.now();
    if (part.kind === "text") {
      firstAt ??= now;
      const firstSeconds = (firstAt - began) / 1000;
      last((turn) => ({ ...turn, content: turn.content + part.text, firstSeconds }));
    }
    if (part.kind === "finish" && part.reason === "length") last((turn) => ({ ...turn, isCut: true }));
    if (part.kind === "usage") {
      const perSecond = speed(part.usage.completion, firstAt, now);
      last((turn) => ({ ...turn, usage: part.usage, perSecond }));
    }
  };
}
