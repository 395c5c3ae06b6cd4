/** The model card: Markdown as elements of ours, never markup of somebody else. */
import { useQuery } from "@tanstack/react-query";
import { Skeleton } from "antd";
import { lazy, Suspense } from "react";
import { api, ask, ApiError } from "../../api/client";
import { keys } from "../../api/keys";
import type { ModelDetails } from "../../api/models";
import { body } from "../../logic/headings";
import { ErrorBox } from "../../parts/error";
import { Nothing } from "../../parts/page";
import { useTexts } from "../../texts/language";

const Text = lazy(() => import("../../parts/markdown"));

export function Card({ model }: { model: ModelDetails }) {
  const texts = useTexts();
  const card = useQuery({
    queryKey: keys.modelPart(model.id, "text", "README.md"),
    queryFn: () =>
      ask(
        api.GET("/api/v1/models/{model_id}/files/text", {
          params: { path: { model_id: model.id }, query: { path: "README.md" } },
        }),
      ),
  });
  if (card.error instanceof ApiError && card.error.status === 404) return <Nothing text={texts("model.noCard")} />;
  if (card.error && !card.data) return <ErrorBox error={card.error} />;
  if (!card.data) return <Skeleton active />;
  return (
    <Suspense fallback={<Skeleton active />}>
      <Text text={body(card.data.text)} />
    </Suspense>
  );
}
