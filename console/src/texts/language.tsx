/** The language of the page: chosen once, kept in this browser, known to calls outside of React. */
import { createContext, useCallback, useContext, useMemo, useState, type ReactNode } from "react";
import { en, type TextKey } from "./en";
import { zh } from "./zh";

export type Language = "en" | "zh";
export type Values = Record<string, string | number>;
export type Translate = (key: TextKey, values?: Values) => string;

const KEPT = "tunesmith.language";
const CATALOGUES: Record<Language, Record<TextKey, string>> = { en, zh };
let current: Language = kept() ?? (navigator.language.startsWith("zh") ? "zh" : "en");

function kept(): Language | null {
  const found = localStorage.getItem(KEPT);
  return found === "en" || found === "zh" ? found : null;
}

export function currentLanguage(): Language {
  return current;
}

/** "{count} {count:row|rows}" with {count: 3} -> "3 rows" */
export function fill(template: string, values: Values = {}): string {
  return template
    .replace(/\{(\w+):([^{}|]*)\|([^{}|]*)\}/g, (whole, name: string, one: string, many: string) => {
      const value = values[name];
      return value === undefined ? whole : String(value) === "1" ? one : many;
    })
    .replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

export function translate(key: TextKey, values?: Values): string {
  return fill(CATALOGUES[current][key], values);
}

/** A key that is made of parts, such as a state; the text itself where no catalogue has it. */
export function translateWord(prefix: string, word: string): string {
  const catalogue = CATALOGUES[current] as Record<string, string>;
  return catalogue[`${prefix}.${word}`] ?? word;
}

interface Chosen {
  language: Language;
  choose: (language: Language) => void;
}

const Context = createContext<Chosen>({ language: current, choose: () => undefined });

export function LanguageProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState(current);
  const choose = useCallback((next: Language) => {
    current = next;
    localStorage.setItem(KEPT, next);
    document.documentElement.lang = next === "zh" ? "zh-CN" : "en";
    setLanguage(next);
  }, []);
  const chosen = useMemo(() => ({ language, choose }), [language, choose]);
  return <Context.Provider value={chosen}>{children}</Context.Provider>;
}

export function useLanguage(): Chosen {
  return useContext(Context);
}

/** The texts of the language that is chosen; the page is drawn again when it changes. */
export function useTexts(): Translate {
  const { language } = useLanguage();
  return useCallback(
    (key: TextKey, values?: Values) => fill(CATALOGUES[language][key], values),
    [language],
  );
}
