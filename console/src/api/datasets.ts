/** What pages ask about datasets. */
import { useQuery } from "@tanstack/react-query";
import { api, ask, type Schemas } from "./client";
import { keys } from "./keys";
import { useList } from "./lists";

export type Dataset = Schemas["DatasetRead"];
export type Version = Schemas["VersionRead"];

export function useDatasets(filter: { project_id?: string; text?: string; limit?: number }) {
  return useList<Dataset>([...keys.datasetLists, filter], (after) =>
    ask(api.GET("/api/v1/datasets", { params: { query: { limit: 50, ...filter, after } } })),
  );
}

export function useDatasetPresets() {
  return useQuery({
    queryKey: keys.datasetPresets,
    queryFn: () => ask(api.GET("/api/v1/datasets/presets")),
    staleTime: 300_000,
  });
}

export function useDataset(id: string) {
  return useQuery({
    queryKey: keys.dataset(id),
    queryFn: () => ask(api.GET("/api/v1/datasets/{dataset_id}", { params: { path: { dataset_id: id } } })),
  });
}
