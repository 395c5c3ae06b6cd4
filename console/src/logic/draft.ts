/** A training as it is being written, and the recipe that it comes to; both ways. */
import type { Schemas } from "../api/client";
import { formOf, kindsOf, type Sheet } from "./kinds";

export type Field = Schemas["FieldRead"];
export type Values = Record<string, unknown>;
export type DatasetUse = { dataset: string } & Record<string, unknown>;

export interface Reminder {
  channel: string;
  address: string;
}

export interface Draft {
  base: string;
  datasets: DatasetUse[];
  /** What the user wrote, by path of the recipe. */
  values: Values;
  /** What the platform advises for the model; counts where the user wrote nothing. */
  advised: Values;
  /** The values come from a whole recipe: what they leave out is the default, not preset or advised. */
  isWhole: boolean;
  profile: string;
  preset: string | null;
  name: string;
  description: string;
  flavour: string;
  devices: number;
  reminders: Reminder[];
  /** YAML that was changed and not applied yet; nothing goes on before it is. */
  unapplied: string | null;
}

export const EMPTY: Draft = {
  base: "",
  datasets: [],
  values: {},
  advised: {},
  isWhole: false,
  profile: "default",
  preset: null,
  name: "",
  description: "",
  flavour: "",
  devices: 1,
  reminders: [],
  unapplied: null,
};

/** Parts of a recipe that the pages before the parameters ask for. */
const ELSEWHERE = /^(name|profile|preset|model\.base|data\.train)$|\*/;

/** Fields of the form: those of the page of parameters. */
export function isParameter(field: Field): boolean {
  return !ELSEWHERE.test(field.path);
}

/** What a field is now: written, of the preset, advised, or the default. */
export function valueOf(field: Field, draft: Draft, preset: Values): unknown {
  const chosen = chosenOf(field.path, draft, preset);
  return chosen === undefined ? field.default : chosen;
}

/** What somebody has chosen for a field: the user, a preset, the platform; else undefined. */
function chosenOf(path: string, draft: Draft, preset: Values): unknown {
  if (path in draft.values) return draft.values[path];
  if (draft.isWhole) return undefined;
  return path in preset ? preset[path] : draft.advised[path];
}

/** Everything that the form says, by path. */
export function everyValue(draft: Draft, form: readonly Field[], preset: Values): Values {
  const values = form.filter(isParameter).map((field) => [field.path, valueOf(field, draft, preset)] as const);
  return Object.fromEntries(values.filter(([, value]) => value !== undefined));
}

/** The fields of a draft: those that its stage and its methods have. */
export function formOfDraft(sheet: Sheet, draft: Draft, preset: Values): Field[] {
  const kinds = kindsOf(sheet.fields, (path) => chosenOf(path, draft, preset));
  return formOf(sheet, kinds);
}

/** The recipe of a draft: what was written and advised, and nothing that does not apply. */
export function recipeOf(draft: Draft, form: readonly Field[], preset: Values): Record<string, unknown> {
  const recipe: Record<string, unknown> = {
    ...(draft.name ? { name: draft.name } : {}),
    ...(draft.profile === "default" ? {} : { profile: draft.profile }),
    ...(draft.preset ? { preset: draft.preset } : {}),
  };
  if (draft.base) put(recipe, "model.base", draft.base);
  put(recipe, "data.train", draft.datasets);
  for (const field of form) {
    if (!isParameter(field)) continue;
    const { path } = field;
    if (path in draft.values) put(recipe, path, draft.values[path]);
    // Left out, it would be what the server advises; and a required field has no default to write.
    else if (draft.isWhole && !(field.required && field.default === null)) put(recipe, path, field.default);
    else if (!draft.isWhole && path in draft.advised && !(path in preset)) put(recipe, path, draft.advised[path]);
  }
  return recipe;
}

/** A draft of a whole recipe, in which every value is decided: what differs from the defaults. */
export function draftOf(recipe: Record<string, unknown>, sheet: Sheet, old: Draft): Draft {
  const values: Values = {};
  const text = (path: string, otherwise: string) => {
    const value = get(recipe, path);
    return typeof value === "string" && value ? value : otherwise;
  };
  const profile = text("profile", "default");
  const hasDefaults = profile === old.profile; // those of the sheet
  for (const field of formOf(sheet, kindsOf(sheet.fields, (path) => get(recipe, path)))) {
    if (!isParameter(field)) continue;
    const value = get(recipe, field.path);
    if (value === undefined || (hasDefaults && same(value, field.default))) continue;
    values[field.path] = value;
  }
  const train = get(recipe, "data.train");
  const datasets = Array.isArray(train) ? train.map((each) => short(each as DatasetUse)) : old.datasets;
  return {
    ...old,
    base: text("model.base", old.base),
    name: text("name", old.name),
    profile,
    preset: text("preset", "") || null,
    datasets,
    values,
    isWhole: true,
  };
}

/** A dataset without what says nothing. */
function short(use: DatasetUse): DatasetUse {
  const said = Object.entries(use).filter(([name, value]) => {
    if (value === null || value === undefined) return false;
    return !(name === "format" && value === "auto") && !(name === "sampling_rate" && value === 1) && !(name === "role" && value === "user");
  });
  return Object.fromEntries(said) as DatasetUse;
}

export function get(tree: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((node, name) => {
    return node && typeof node === "object" ? (node as Record<string, unknown>)[name] : undefined;
  }, tree);
}

function put(tree: Record<string, unknown>, path: string, value: unknown) {
  const names = path.split(".");
  const last = names.pop() as string;
  let node = tree;
  for (const name of names) node = (node[name] ??= {}) as Record<string, unknown>;
  node[last] = value;
}

export function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** What a person typed as a value of a field: "1e-4" -> 0.0001; words stay words, for the server
 * to refuse beside their field. Nothing: null, or for a text "". */
export function parsed(text: string, types: readonly string[]): unknown {
  const trimmed = text.trim();
  const isNumber = types.some((each) => each === "int" || each === "float");
  if (isNumber) {
    if (trimmed === "") return null;
    const number = Number(trimmed);
    return Number.isFinite(number) ? number : trimmed;
  }
  if (types.includes("json")) return parsedJson(trimmed);
  if (types.includes("list") && trimmed.includes(",")) return trimmed.split(",").map((each) => each.trim()).filter(Boolean);
  return text;
}

/** A list of objects; text that is no JSON stays, for the server to refuse beside its field. */
function parsedJson(text: string): unknown {
  try {
    return text === "" ? [] : (JSON.parse(text) as unknown);
  } catch {
    return text;
  }
}
