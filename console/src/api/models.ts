/** What pages ask about models. */
import { useQuery } from "@tanstack/react-query";
import { api, ask, type Schemas } from "./client";
import { keys } from "./keys";
import { useList } from "./lists";

export type Model = Schemas["ModelRead"];
export type ModelDetails = Schemas["ModelDetails"];
export type Preset = Schemas["PresetList"]["data"][number];

export interface ModelFilter {
  project_id?: string;
  kind?: Model["kind"];
  source?: NonNullable<Schemas["ModelImport"]["source"]>;
  text?: string;
  limit?: number;
}

export function useModels(filter: ModelFilter) {
  return useList<Model>([...keys.modelLists, filter], (after) =>
    ask(api.GET("/api/v1/models", { params: { query: { limit: 50, ...filter, after } } })),
  );
}

export function usePresets() {
  return useQuery({
    queryKey: keys.presets,
    queryFn: () => ask(api.GET("/api/v1/models/presets")),
    staleTime: 60_000,
  });
}

export function useModel(id: string) {
  return useQuery({
    queryKey: keys.model(id),
    queryFn: () => ask(api.GET("/api/v1/models/{model_id}", { params: { path: { model_id: id } } })),
  });
}
