/** What a model is called, where only its id is known: names that are no ids stand as they are. */
import { useQuery } from "@tanstack/react-query";
import { api, ask } from "../api/client";
import { keys } from "../api/keys";

export function ModelName({ id }: { id: string }) {
  const model = useQuery({
    queryKey: keys.model(id),
    queryFn: () => ask(api.GET("/api/v1/models/{model_id}", { params: { path: { model_id: id } } })),
    enabled: id.startsWith("model-"),
    staleTime: 60_000,
  });
  return <span className="any">{model.data?.name ?? id}</span>;
}
