/** What kind of training it is: the stage, and where several learn from the same judgements, which.
 * What the schema has is offered; stages that the console has no words for have those of the schema. */
import { valueOf } from "../../logic/draft";
import { aboutKind, familiesOf, familyOf, withKind } from "../../logic/kinds";
import { Choices } from "../../parts/choice";
import { HelpLink } from "../../parts/help-link";
import { translateWord, useTexts } from "../../texts/language";
import type { PageProps } from "./train";

export function StageChoice({ draft, change, advice }: PageProps) {
  const texts = useTexts();
  const stage = stageOf({ draft, advice });
  const field = advice.sheet.fields.find((each) => each.path === "stage.kind");
  if (!field) return null;
  const families = familiesOf(field.choices.map(String));
  const family = familyOf(stage);
  const members = families.find(([name]) => name === family)?.[1] ?? [];
  const choose = (kind: string) => change({ values: withKind(draft.values, "stage", kind) });
  return (
    <>
      <h2 className="part-title">
        {texts("train.stage")} <HelpLink to="/help/stages" about={texts("train.stage")} />
      </h2>
      <Choices
        label={texts("train.stage")}
        value={family}
        onChange={(name) => choose(families.find(([each]) => each === name)?.[1][0] ?? name)}
        options={families.map(([name, [first = name]]) => ({
          value: name,
          name: translateWord("stage", name),
          about: about(name, () => aboutKind(advice.sheet.schema, "stage", first)),
        }))}
      />
      {members.length > 1 && (
        <>
          <h3 className="part-title small">{texts("train.comparison")}</h3>
          <Choices
            label={texts("train.comparison")}
            value={stage}
            onChange={choose}
            options={members.map((kind) => ({
              value: kind,
              name: translateWord("stage", kind),
              about: about(kind, () => aboutKind(advice.sheet.schema, "stage", kind)),
            }))}
          />
        </>
      )}
    </>
  );
}

/** The words of the catalogue, else what `otherwise` says. */
function about(kind: string, otherwise: () => string): string {
  const words = translateWord("stageAbout", kind);
  return words === kind ? otherwise() : words;
}

type Chosen = Pick<PageProps, "draft" | "advice">;

/** The stage that a draft has now. */
export const stageOf = (chosen: Chosen): string => kindOf("stage.kind", chosen) ?? "sft";

/** The method that a draft has now. */
export const methodOf = (chosen: Chosen): string => kindOf("adapter.kind", chosen) ?? "lora";

function kindOf(path: string, { draft, advice }: Chosen): string | undefined {
  const field = advice.fields.find((each) => each.path === path);
  return field && String(valueOf(field, draft, advice.preset));
}
