/** Which fields a form has once the kinds of its sections are chosen: the stage, the method. What a
 * kind says of a field (its default, its choices) stands in the JSON schema of recipes. */
import type { Field, Values } from "./draft";

type Node = Record<string, unknown>;
export type KindOf = (section: string) => string;

export interface Sheet {
  fields: readonly Field[];
  schema: Node;
}

/** The fields that have a meaning for these kinds, each as its kind has it. */
export function formOf({ fields, schema }: Sheet, kindOf: KindOf): Field[] {
  return fields.flatMap((field) => {
    const node = nodeOf(schema, field.path, kindOf);
    return node ? [asKind(field, node, defaultsOf(schema, field, kindOf))] : [];
  });
}

/** The kinds that some values say; a section that they do not name has its default. */
export function kindsOf(fields: readonly Field[], read: (path: string) => unknown): KindOf {
  return (section) => {
    const path = `${section}.kind`;
    return String(read(path) ?? fields.find((each) => each.path === path)?.default ?? "");
  };
}

/** What the schema says of one kind of a section; nothing for one that it does not know. */
export function aboutKind(schema: Node, section: string, kind: string): string {
  const node = pointed(schema, nodeOf(schema, section, () => kind) ?? {}, kind);
  const [first = ""] = String(node?.description ?? "").split("\n\n");
  return first.replaceAll("\n", " ");
}

/** A field that is none of the chosen kinds is null. `kind` itself always is one. */
function nodeOf(schema: Node, path: string, kindOf: KindOf): Node | null {
  let node: Node = schema;
  const names = path.split(".");
  for (const [at, name] of names.entries()) {
    const section = names.slice(0, at).join(".");
    const kind = name === "kind" ? firstKind(node) : kindOf(section);
    const inside = pointed(schema, node, kind);
    const next = (inside?.properties as Node | undefined)?.[name];
    if (!next) return null;
    node = next as Node;
  }
  return node;
}

function mappingOf(node: Node): Record<string, string> | undefined {
  return (node.discriminator as { mapping?: Record<string, string> } | undefined)?.mapping;
}

function firstKind(node: Node): string {
  return Object.keys(mappingOf(node) ?? {})[0] ?? "";
}

/** The section behind references, behind "or nothing", and of one kind where there are several. */
function pointed(schema: Node, node: Node, kind: string): Node | null {
  if (typeof node.$ref === "string") return pointed(schema, found(schema, node.$ref), kind);
  const mapping = mappingOf(node);
  if (mapping) return mapping[kind] === undefined ? null : pointed(schema, found(schema, mapping[kind]), kind);
  const options = node.anyOf as Node[] | undefined;
  const option = options?.find((each) => "$ref" in each || mappingOf(each));
  return option ? pointed(schema, option, kind) : node;
}

function found(schema: Node, reference: string): Node {
  const name = reference.split("/").at(-1) ?? "";
  return ((schema.$defs as Record<string, Node> | undefined) ?? {})[name] ?? {};
}

/** What the kinds of its section have as default. */
function defaultsOf(schema: Node, field: Field, kindOf: KindOf): unknown[] {
  const section = field.path.split(".").slice(0, -1).join(".");
  const parent = section ? nodeOf(schema, section, kindOf) : null;
  return Object.keys((parent && mappingOf(parent)) ?? {}).flatMap((kind) => {
    const node = nodeOf(schema, field.path, (name) => (name === section ? kind : kindOf(name)));
    return node && "default" in node ? [node.default] : [];
  });
}

/** A default that no kind has comes from the profile, and stays. */
function asKind(field: Field, node: Node, defaults: unknown[]): Field {
  if (field.path.endsWith(".kind")) return field;
  const isOwn = defaults.some((each) => JSON.stringify(each) === JSON.stringify(field.default));
  const choices = Array.isArray(node.enum) ? (node.enum as unknown[]) : field.choices;
  return {
    ...field,
    choices: field.choices.length > 0 ? choices : field.choices,
    types: isOfObjects(node) ? ["json"] : field.types,
    ...(isOwn && "default" in node ? { default: node.default } : {}),
  };
}

/** A list of objects, which no single line of text can hold. */
function isOfObjects(node: Node): boolean {
  const items = node.items as Node | undefined;
  return node.type === "array" && items !== undefined && ("$ref" in items || "oneOf" in items || "anyOf" in items);
}

/** Stages that are learned from the same judgements, and are chosen between in a second step. */
const FAMILIES: Record<string, string> = { dpo: "preferences", simpo: "preferences", orpo: "preferences", cpo: "preferences", kto: "preferences" };

export function familyOf(stage: string): string {
  return FAMILIES[stage] ?? stage;
}

/** {preferences: [dpo, kto], sft: [sft]}, in the order of the schema. */
export function familiesOf(stages: readonly string[]): [string, string[]][] {
  const families = new Map<string, string[]>();
  for (const stage of stages) families.set(familyOf(stage), [...(families.get(familyOf(stage)) ?? []), stage]);
  return [...families];
}

/** The kinds of rows of a dataset that a stage is not meant for; [] where it fits at least in part. */
export function misfits(kinds: Record<string, number>, wanted: readonly string[] | undefined): string[] {
  const present = Object.keys(kinds).filter((kind) => (kinds[kind] ?? 0) > 0);
  if (!wanted || present.length === 0 || present.some((kind) => wanted.includes(kind))) return [];
  return present;
}

/** Fields of a switch that is off say nothing: wandb_project without wandb. */
export function isIdle(field: Field, form: readonly Field[], read: (field: Field) => unknown): boolean {
  const owner = form.find((each) => each.types.includes("bool") && field.path.startsWith(`${each.path}_`));
  return owner !== undefined && read(owner) !== true;
}

/** What was written, without what belonged to another stage: 0.1 is no beta of simpo. */
export function withKind(values: Values, section: string, kind: string): Values {
  const kept = Object.entries(values).filter(([path]) => !path.startsWith(`${section}.`));
  return { ...Object.fromEntries(kept), [`${section}.kind`]: kind };
}
