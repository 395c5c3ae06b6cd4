/** What pages ask about evaluations. */
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { currentLanguage } from "../texts/language";
import type { Estimate } from "../logic/interval";
import { api, ask, type Schemas } from "./client";
import { keys } from "./keys";
import { useList } from "./lists";

export type Evaluation = Schemas["EvaluationRead"];
export type EvaluationRow = Schemas["EvaluationRow"];
export type Outcome = "won" | "lost" | "same";

/** One score of both models; of a model alone only `value` stands there. */
export interface Contest {
  base?: Estimate;
  tuned?: Estimate;
  difference?: Estimate;
  value?: number | null;
  better: "higher" | "lower" | "neither";
  unit: string;
  rows: number;
  wins?: string[];
  losses?: string[];
  ties?: number;
  sign_test_p?: number;
}

export interface Reason {
  code: string;
  weight: "for" | "note" | "hold" | "reject";
  text: string;
}

/** What GET .../document answers: of a comparison, or of one model alone. */
export interface Found {
  verdict?: Evaluation["verdict"];
  reasons?: Reason[];
  data: string;
  rows: number;
  primary: string;
  scores: Record<string, Contest>;
  general?: (Contest & { data: string; score: string }) | null;
  length_growth?: number | null;
  latency_growth?: number | null;
  resamples?: number;
  gate?: Record<string, unknown>;
  refused?: number | { base: number; tuned: number };
  cut_off?: number;
}

export function isAtWork(evaluation: Pick<Evaluation, "state">): boolean {
  return evaluation.state === "queued" || evaluation.state === "running";
}

export function useEvaluations(filter: { project_id?: string; model_id?: string }) {
  return useList<Evaluation>(
    [...keys.evaluationLists, filter],
    (after) => ask(api.GET("/api/v1/evaluations", { params: { query: { limit: 50, ...filter, after } } })),
    { refetchInterval: 5000 },
  );
}

export function useEvaluation(id: string) {
  return useQuery({
    queryKey: keys.evaluation(id),
    queryFn: () => ask(api.GET("/api/v1/evaluations/{evaluation_id}", { params: { path: { evaluation_id: id } } })),
    refetchInterval: ({ state }) => (state.data && isAtWork(state.data) ? 1000 : false),
  });
}

/** In the language of the page, as the reasons in it are sentences. */
export function useFound(evaluation: Evaluation) {
  return useQuery({
    queryKey: [...keys.evaluation(evaluation.id), "document", currentLanguage()],
    queryFn: async () => {
      const params = { path: { evaluation_id: evaluation.id } };
      return (await ask(api.GET("/api/v1/evaluations/{evaluation_id}/document", { params }))) as unknown as Found;
    },
    enabled: evaluation.finished_at !== null,
    staleTime: Infinity,
  });
}

export function useRows(id: string, outcome: Outcome | null, score: string) {
  return useInfiniteQuery({
    queryKey: [...keys.evaluation(id), "rows", outcome, score],
    queryFn: ({ pageParam }) =>
      ask(
        api.GET("/api/v1/evaluations/{evaluation_id}/rows", {
          params: {
            path: { evaluation_id: id },
            query: { skip: pageParam, limit: 20, ...(outcome ? { outcome } : {}), ...(score ? { score } : {}) },
          },
        }),
      ),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next_skip ?? undefined,
    staleTime: Infinity,
  });
}
