/** What the server says to a draft: its fields, its problems, what it comes to, what it will take. */
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { formOfDraft, recipeOf, type Draft, type Field, type Values } from "../../logic/draft";
import type { Sheet } from "../../logic/kinds";
import { useQuiet } from "../../logic/quiet";
import { useLanguage } from "../../texts/language";

export type Comes = Schemas["Explained"]["comes_to"];
export interface Advice {
  /** All fields there are; empty until they are known. */
  sheet: Sheet;
  /** Those of the stage and the method that are chosen. */
  fields: readonly Field[];
  /** By stage, the kinds of rows that it is meant for. */
  rowsOfStages: Record<string, string[]>;
  presets: Schemas["tunesmith__schemas__recipes__PresetRead"][];
  preset: Values;
  recipe: Record<string, unknown>;
  problems: ReadonlyMap<string, string>;
  notices: Schemas["NoticeRead"][];
  comes: Comes | null;
  error: Error | null;
  isChecking: boolean;
}

const NO_SHEET: Sheet = { fields: [], schema: {} };

export function useAdvice(draft: Draft): Advice {
  const { projectId } = useSession();
  const { language } = useLanguage();
  const schema = useQuery({
    queryKey: keys.schema(draft.profile),
    queryFn: () => ask(api.GET("/api/v1/recipes/schema", { params: { query: { profile: draft.profile } } })),
    staleTime: Infinity,
  });
  const presets = useQuery({
    queryKey: keys.recipePresets,
    queryFn: () => ask(api.GET("/api/v1/recipes/presets")),
    staleTime: Infinity,
  });
  const sheet = useMemo(
    () => (schema.data ? { fields: schema.data.fields, schema: schema.data.json_schema } : NO_SHEET),
    [schema.data],
  );
  const preset = useMemo<Values>(
    () => presets.data?.find((each) => each.name === draft.preset)?.values ?? {},
    [presets.data, draft.preset],
  );
  const fields = useMemo(() => formOfDraft(sheet, draft, preset), [sheet, draft, preset]);
  const recipe = useMemo(() => recipeOf(draft, fields, preset), [draft, fields, preset]);
  const quiet = useQuiet(recipe, 350);
  const body = { recipe: quiet, project_id: projectId, num_devices: draft.devices };
  const isReady = fields.length > 0 && draft.base !== "" && draft.datasets.length > 0;
  const checked = useQuery({
    queryKey: ["validate", body, language],
    queryFn: () => ask(api.POST("/api/v1/recipes/validate", { body })),
    enabled: isReady && quiet === recipe, // not the draft of a moment ago
    placeholderData: (old) => old,
  });
  const explained = useQuery({
    queryKey: ["explain", body, language],
    queryFn: () => ask(api.POST("/api/v1/recipes/explain", { body })),
    enabled: isReady && checked.data?.valid === true && !checked.isPlaceholderData,
    placeholderData: (old) => old,
  });
  const problems = useMemo(
    () => new Map(checked.data?.problems.map((each) => [each.field, `${each.message} ${each.hint ?? ""}`.trim()])),
    [checked.data],
  );
  return {
    sheet,
    fields,
    rowsOfStages: schema.data?.stage_rows ?? {},
    presets: presets.data ?? [],
    preset,
    recipe,
    problems,
    notices: (checked.data?.valid ? explained.data?.notices : checked.data?.notices) ?? [],
    comes: checked.data?.valid ? (explained.data?.comes_to ?? null) : null,
    error: schema.error ?? presets.error ?? checked.error ?? (checked.data?.valid ? explained.error : null),
    isChecking: quiet !== recipe || checked.isFetching || explained.isFetching,
  };
}
