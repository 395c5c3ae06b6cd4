/** Light or dark: as the system has it until somebody chooses. */
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import type { Look } from "./theme";

const KEPT = "tunesmith.look";
const dark = window.matchMedia("(prefers-color-scheme: dark)");

export type Wish = Look | "system";

interface Chosen {
  look: Look;
  /** What was asked for: `system` follows the system. */
  wish: Wish;
  choose: (wish: Wish) => void;
}

const Context = createContext<Chosen>({ look: "light", wish: "system", choose: () => undefined });

function first(): Wish {
  const kept = localStorage.getItem(KEPT);
  return kept === "light" || kept === "dark" ? kept : "system";
}

function shown(wish: Wish): Look {
  if (wish !== "system") return wish;
  return dark.matches ? "dark" : "light";
}

export function LookProvider({ children }: { children: ReactNode }) {
  const [wish, setWish] = useState<Wish>(first);
  const [look, setLook] = useState<Look>(() => shown(first()));
  useEffect(() => {
    document.documentElement.dataset.look = look;
  }, [look]);
  useEffect(() => {
    const follow = () => setLook(shown(first()));
    dark.addEventListener("change", follow);
    return () => dark.removeEventListener("change", follow);
  }, []);
  const chosen = useMemo(
    () => ({
      look,
      wish,
      choose: (next: Wish) => {
        if (next === "system") localStorage.removeItem(KEPT);
        else localStorage.setItem(KEPT, next);
        setWish(next);
        setLook(shown(next));
      },
    }),
    [look, wish],
  );
  return <Context.Provider value={chosen}>{children}</Context.Provider>;
}

export function useLook(): Chosen {
  return useContext(Context);
}
