import { expect, test } from "vitest";
import { draftOf, EMPTY, everyValue, formOfDraft, parsed, recipeOf, valueOf, type Draft, type Field } from "../src/logic/draft";
import { aboutKind, familiesOf, isIdle, misfits, withKind } from "../src/logic/kinds";

const field = (path: string, more: Partial<Field> = {}): Field =>
  ({ path, section: path.split(".").slice(0, -1).join("."), default: null, kinds: [], aliases: [], types: [], choices: [], ...more }) as Field;
const FIELDS = [
  field("model.base"),
  field("adapter.kind", { default: "lora" }),
  field("adapter.rank", { default: 16, kinds: ["lora"] }),
  field("stage.kind", { default: "sft", choices: ["sft", "dpo", "simpo"] }),
  field("stage.beta", { default: 0.1 }),
  field("stage.loss", { default: "sigmoid", choices: ["sigmoid", "hinge", "ipo"] }),
  field("stage.rewards", { default: [] }),
  field("training.epochs", { default: 3 }),
  field("training.schedule.kind", { default: "cosine" }),
];
const SCHEMA = {
  properties: {
    name: {},
    model: { $ref: "#/$defs/Model" },
    adapter: { discriminator: { mapping: { full: "#/$defs/Full", lora: "#/$defs/Lora" } } },
    stage: { discriminator: { mapping: { sft: "#/$defs/Sft", dpo: "#/$defs/Dpo", simpo: "#/$defs/Simpo" } } },
    training: { $ref: "#/$defs/Training" },
  },
  $defs: {
    Model: { properties: { base: {} } },
    Full: { properties: { kind: {} } },
    Lora: { properties: { kind: {}, rank: { default: 16 } } },
    Sft: { description: "Answers.\n\nMore.", properties: { kind: {} } },
    Dpo: { properties: { kind: {}, beta: { default: 0.1 }, loss: { default: "sigmoid", enum: ["sigmoid", "ipo"] } } },
    Simpo: { properties: { kind: {}, beta: { default: 2 }, rewards: { type: "array", items: { $ref: "#/$defs/Lora" } } } },
    Training: { properties: { epochs: { default: 3 }, schedule: { discriminator: { mapping: { cosine: "#/$defs/Cosine", linear: "#/$defs/Cosine" } } } } },
    Cosine: { properties: { kind: {} } },
  },
};
const DRAFT: Draft = { ...EMPTY, base: "starter", name: "one", datasets: [{ dataset: "support@1" }] };

const SHEET = { fields: FIELDS, schema: SCHEMA };
const recipeFor = (draft: Draft) => recipeOf(draft, formOfDraft(SHEET, draft, {}), {});
const paths = (draft: Draft) => formOfDraft(SHEET, draft, {}).map((each) => each.path);

test("a recipe has what was written and advised, and nothing else", () => {
  const draft = { ...DRAFT, values: { "training.epochs": 5 }, advised: { "adapter.rank": 8 } };
  expect(recipeFor(draft)).toEqual({
    name: "one",
    model: { base: "starter" },
    data: { train: [{ dataset: "support@1" }] },
    adapter: { rank: 8 },
    training: { epochs: 5 },
  });
});

test("what the method has no use for is left out", () => {
  const draft = { ...DRAFT, values: { "adapter.kind": "full", "adapter.rank": 64 } };
  expect(recipeFor(draft).adapter).toEqual({ kind: "full" });
  expect(paths(draft)).not.toContain("adapter.rank");
});

test("what is written wins over the preset, the preset over advice, advice over the default", () => {
  const epochs = FIELDS.find((each) => each.path === "training.epochs") as Field;
  const path = epochs.path;
  expect(valueOf(epochs, DRAFT, {})).toBe(3);
  expect(valueOf(epochs, { ...DRAFT, advised: { [path]: 4 } }, {})).toBe(4);
  expect(valueOf(epochs, { ...DRAFT, advised: { [path]: 4 } }, { [path]: 6 })).toBe(6);
  expect(valueOf(epochs, { ...DRAFT, values: { [path]: null } }, { [path]: 6 })).toBeNull();
});

test("a recipe becomes a draft that becomes the same recipe", () => {
  const recipe = {
    name: "two",
    model: { base: "starter" },
    adapter: { kind: "lora", rank: 32 },
    data: { train: [{ dataset: "a", format: "auto", sampling_rate: 2, role: "user", prompt_field: null }] },
    training: { epochs: 3, schedule: { kind: "linear" } },
  };
  const draft = draftOf(recipe, SHEET, EMPTY);
  expect(draft.values).toEqual({ "adapter.rank": 32, "training.schedule.kind": "linear" });
  expect(recipeFor(draft)).toEqual({
    name: "two",
    model: { base: "starter" },
    adapter: { kind: "lora", rank: 32 },
    stage: { kind: "sft" },
    data: { train: [{ dataset: "a", sampling_rate: 2 }] },
    training: { epochs: 3, schedule: { kind: "linear" } },
  });
});

test("what is advised later takes no place of what a whole recipe says", () => {
  const recipe = { model: { base: "starter" }, adapter: { kind: "lora", rank: 16 }, training: { epochs: 3 } };
  const draft = { ...draftOf(recipe, SHEET, EMPTY), advised: { "adapter.kind": "full", "training.epochs": 6 } };
  expect(recipeFor(draft)).toMatchObject(recipe);
  expect(valueOf(FIELDS.find((each) => each.path === "training.epochs") as Field, draft, { "training.epochs": 9 })).toBe(3);
  expect(everyValue(draft, formOfDraft(SHEET, draft, {}), {})).toMatchObject({ "adapter.kind": "lora", "training.epochs": 3 });
});

test("a recipe of another profile keeps all that it says", () => {
  const draft = draftOf({ profile: "pangu-lora", training: { epochs: 3 } }, SHEET, EMPTY);
  expect(draft.values["training.epochs"]).toBe(3);
});

test("a form has the fields of its stage, with the default and the choices of that stage", () => {
  expect(paths(DRAFT)).not.toContain("stage.beta");
  const of = (kind: string) => formOfDraft(SHEET, { ...DRAFT, values: { "stage.kind": kind } }, {});
  const read = (kind: string, path: string) => of(kind).find((each) => each.path === path);
  expect(read("dpo", "stage.loss")?.choices).toEqual(["sigmoid", "ipo"]);
  expect([read("dpo", "stage.beta")?.default, read("simpo", "stage.beta")?.default]).toEqual([0.1, 2]);
  expect(read("simpo", "stage.loss")).toBeUndefined();
  expect(read("simpo", "stage.rewards")?.types).toEqual(["json"]);
  expect(read("unheard", "stage.kind")?.path).toBe("stage.kind");
});

test("a default of the profile stays, whatever the stage has", () => {
  const fields = FIELDS.map((each) => (each.path === "stage.beta" ? { ...each, default: 0.3 } : each));
  const form = formOfDraft({ fields, schema: SCHEMA }, { ...DRAFT, values: { "stage.kind": "simpo" } }, {});
  expect(form.find((each) => each.path === "stage.beta")?.default).toBe(0.3);
});

test("a recipe keeps what is the default of another stage only", () => {
  const draft = draftOf({ stage: { kind: "simpo", beta: 0.1 } }, SHEET, EMPTY);
  expect(draft.values).toEqual({ "stage.kind": "simpo", "stage.beta": 0.1 });
});

test("another stage leaves nothing of the one before, and the rest as it was", () => {
  expect(withKind({ "stage.beta": 0.1, "training.epochs": 2 }, "stage", "simpo")).toEqual({ "stage.kind": "simpo", "training.epochs": 2 });
});

test("stages of the same judgements are one family, others are their own", () => {
  expect(familiesOf(["sft", "dpo", "kto", "grpo"])).toEqual([["sft", ["sft"]], ["preferences", ["dpo", "kto"]], ["grpo", ["grpo"]]]);
  expect([aboutKind(SCHEMA, "stage", "sft"), aboutKind(SCHEMA, "stage", "unheard")]).toEqual(["Answers.", ""]);
});

test("a dataset misfits where none of its rows are what the stage learns from", () => {
  expect(misfits({ conversation: 8, text: 0 }, ["preference_pair"])).toEqual(["conversation"]);
  expect(misfits({ conversation: 8, preference_pair: 1 }, ["preference_pair"])).toEqual([]);
  expect([misfits({}, ["text"]), misfits({ conversation: 8 }, undefined)]).toEqual([[], []]);
});

test("fields of a switch that is off are idle", () => {
  const form = [field("report.wandb", { types: ["bool"] }), field("report.wandb_project"), field("report.mlflow", { types: ["bool"] })];
  const idle = (on: boolean) => form.map((each) => isIdle(each, form, () => on));
  expect([idle(false), idle(true)]).toEqual([[false, true, false], [false, false, false]]);
});

test.each([
  ['[{"kind": "json"}]', ["json"], [{ kind: "json" }]],
  ["[{", ["json"], "[{"],
  ["1e-4", ["float"], 1e-4],
  [" 16 ", ["int"], 16],
  ["sixteen", ["int"], "sixteen"],
  ["", ["int"], null],
  ["auto", ["int"], "auto"],
  ["q_proj, v_proj", ["str", "list"], ["q_proj", "v_proj"]],
  ["all-linear", ["str", "list"], "all-linear"],
])("%s is read as a person means it", (text, types, value) => {
  expect(parsed(text, types)).toEqual(value);
});
