/** What the texts need of a browser, without one. */
const kept = new Map<string, string>();
Object.defineProperty(globalThis, "navigator", { value: { language: "en-GB" } });
Object.assign(globalThis, {
  localStorage: {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  },
});
