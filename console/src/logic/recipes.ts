/** Recipes of several jobs side by side: which fields differ. */

export interface Difference {
  path: string;
  values: (string | undefined)[];
}

/** {"training": {"epochs": 2}} -> {"training.epochs": "2"}; lists are one value. */
export function flat(value: unknown, path = ""): Record<string, string> {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return { [path]: shown(value) };
  return Object.assign(
    {},
    ...Object.entries(value).map(([name, each]) => flat(each, path ? `${path}.${name}` : name)),
  ) as Record<string, string>;
}

/** The same without what nobody wrote: null, and empty lists; within lists of sections too. */
export function written(value: unknown): unknown {
  if (Array.isArray(value)) return value.length ? value.map(written) : "";
  if (value === null || value === undefined) return "";
  if (typeof value !== "object") return value;
  const entries = Object.entries(value).map(([name, each]) => [name, written(each)] as const);
  return Object.fromEntries(entries.filter(([, each]) => each !== ""));
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
}

/** The fields that are not the same everywhere, in the order of the first recipe that has them. */
export function differences(recipes: readonly unknown[]): Difference[] {
  const all = recipes.map((each) => flat(each ?? {}));
  const paths = [...new Set(all.flatMap((each) => Object.keys(each)))];
  return paths
    .map((path) => ({ path, values: all.map((each) => each[path]) }))
    .filter(({ values }) => values.some((value) => value !== values[0]));
}
