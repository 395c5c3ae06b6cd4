/** The parameters, made from the schema of recipes: method, the few that matter, all the others. */
import { Alert, Collapse, Form, Segmented, Select, Skeleton } from "antd";
import { useState } from "react";
import { Link } from "react-router";
import { usePresets } from "../../api/models";
import { everyValue, isParameter, valueOf, type Draft, type Field } from "../../logic/draft";
import { aboutKind, isIdle } from "../../logic/kinds";
import { Choices } from "../../parts/choice";
import { translateWord, useLanguage, useTexts } from "../../texts/language";
import { Parameter } from "./field";
import { refusal } from "./model";
import { methodOf, stageOf } from "./stage";
import type { PageProps } from "./train";
import { Yaml } from "./yaml";

type View = "form" | "yaml";
/** Asked for on other pages, or above as cards. */
const ABOVE = new Set(["adapter.kind", "stage.kind", "data.validation.kind", "data.validation.fraction", "data.validation.dataset"]);

export function ParametersPage(props: PageProps) {
  const texts = useTexts();
  const [chosen, setChosen] = useState<View>("form");
  const isUnapplied = props.draft.unapplied !== null;
  const view = isUnapplied ? "yaml" : chosen;
  if (props.advice.fields.length === 0) return <Skeleton active />;
  return (
    <div className="stack">
      <div className="row">
        <Segmented<View>
          value={view}
          disabled={isUnapplied}
          onChange={setChosen}
          options={[
            { value: "form", label: texts("train.form") },
            { value: "yaml", label: "YAML" },
          ]}
        />
        {view === "form" && <PresetChoice {...props} />}
      </div>
      {view === "yaml" ? <Yaml {...props} /> : <Parameters {...props} />}
    </div>
  );
}

/** A preset takes the place of what was written for the same fields, and of nothing else. */
function withPreset({ draft, advice }: PageProps, name: string | undefined): Partial<Draft> {
  const written = draft.isWhole ? everyValue(draft, advice.fields, advice.preset) : draft.values;
  const taken = advice.presets.find((each) => each.name === name)?.values ?? {};
  const values = Object.fromEntries(Object.entries(written).filter(([path]) => !(path in taken)));
  return { preset: name ?? null, values, isWhole: false };
}

function PresetChoice(props: PageProps) {
  const { draft, change, advice } = props;
  const texts = useTexts();
  const { language } = useLanguage();
  return (
    <Select
      allowClear
      style={{ minWidth: 220 }}
      aria-label={texts("train.preset")}
      placeholder={texts("train.preset")}
      value={draft.preset}
      onChange={(name: string | undefined) => change(withPreset(props, name))}
      options={advice.presets.map((each) => ({ value: each.name, label: each.name, title: each.help[language] }))}
    />
  );
}

function Parameters({ draft, change, advice }: PageProps) {
  const texts = useTexts();
  const { language } = useLanguage();
  const { fields, preset } = advice;
  const set = (path: string, value: unknown) => change({ values: { ...draft.values, [path]: value } });
  const reset = (path: string) => {
    const { [path]: _gone, ...values } = draft.values;
    change({ values });
  };
  const read = (field: Field) => valueOf(field, draft, preset);
  const shown = fields.filter((field) => isParameter(field) && !ABOVE.has(field.path) && !isIdle(field, fields, read));
  const entry = (field: Field) => (
    <Parameter
      key={field.path}
      field={field}
      value={read(field)}
      isWritten={field.path in draft.values}
      problem={advice.problems.get(field.path)}
      onChange={(value) => set(field.path, value)}
      onReset={() => reset(field.path)}
    />
  );
  const chosen = advice.presets.find((each) => each.name === draft.preset);
  const advanced = shown.filter((field) => field.group === "advanced");
  const sections = [...new Set(advanced.map(sectionOf))];
  const rest = [...advice.problems].filter(([path]) => !shown.some((field) => field.path === path));
  return (
    <>
      {chosen && <Alert type="info" title={chosen.name} description={chosen.help[language]} />}
      {rest.map(([path, message]) => (
        <Alert key={path} type="error" showIcon title={<span className="any">{path ? `${path}: ${message}` : message}</span>} />
      ))}
      <MethodChoice draft={draft} change={change} advice={advice} />
      <div>
        <Link to="/help/methods">{texts("help.section.methods")}</Link> ·{" "}
        <Link to="/help/parameters">{texts("help.section.parameters")}</Link>
      </div>
      <Form layout="vertical" component="div">
        <div className="columns" style={{ columnGap: 24, rowGap: 0 }}>
          {shown.filter((field) => field.group === "basic").map(entry)}
        </div>
        <Collapse
          ghost
          items={sections.map((section) => {
            const inside = advanced.filter((field) => sectionOf(field) === section);
            const wrong = inside.some((field) => advice.problems.has(field.path));
            return {
              key: section,
              label: `${texts("train.advanced")}: ${translateWord("section", section)}${wrong ? " ⚠" : ""}`,
              children: (
                <div className="columns" style={{ columnGap: 24, rowGap: 0 }}>
                  {inside.map(entry)}
                </div>
              ),
            };
          })}
        />
      </Form>
    </>
  );
}

/** The methods that there are, those that the model does not take greyed. */
function MethodChoice({ draft, change, advice }: PageProps) {
  const texts = useTexts();
  const presets = usePresets();
  const method = advice.fields.find((each) => each.path === "adapter.kind");
  if (!method) return null;
  const stage = stageOf({ draft, advice });
  const named = (name: string) => presets.data?.data.find((each) => each.name === name);
  const model = named(draft.base) ?? named("starter"); // of one's own model: what holds for every model
  const known = (kind: string) => model?.capabilities.filter((can) => can.stage === stage && can.method === kind) ?? [];
  const about = (kind: string) => {
    const words = translateWord("methodAbout", kind);
    return words === kind ? aboutKind(advice.sheet.schema, "adapter", kind) : words;
  };
  return (
    <Choices
      label={texts("train.method")}
      value={methodOf({ draft, advice })}
      onChange={(kind) => change({ values: { ...draft.values, [method.path]: kind } })}
      options={byUse(method.choices.map(String)).map((kind) => ({
        value: kind,
        name: translateWord("method", kind),
        about: about(kind),
        refused: refusal(known(kind)),
      }))}
    />
  );
}

/** The one to begin with in front, the others as the schema has them. */
function byUse(kinds: string[]): string[] {
  return [...kinds.filter((kind) => kind === "lora"), ...kinds.filter((kind) => kind !== "lora")];
}

/** training.schedule.kind -> training; data.validation.* and data.test.* are groups of their own. */
function sectionOf(field: Field): string {
  const [first = "", second = ""] = field.path.split(".");
  return first === "data" && (second === "validation" || second === "test") ? `data.${second}` : first;
}
