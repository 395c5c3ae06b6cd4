/** What pages ask about deployments, and what they make them do. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, ask, type Schemas } from "./client";
import { keys } from "./keys";
import { useList } from "./lists";

export type Deployment = Schemas["DeploymentRead"];
export type Asked = Schemas["AskedRead"];
export type DeploymentCommand = "start" | "stop" | "delete";

const SOON = 1000;
const LATER = 10_000;

/** A start is watched closely; the rest changes seldom. */
function pause(deployments: readonly Deployment[]): number {
  return deployments.some((each) => each.status === "starting") ? SOON : LATER;
}

/** All deployments of a project, those of running evaluations left out. */
export function useDeployments(projectId: string) {
  return useQuery({
    queryKey: [...keys.deploymentLists, projectId],
    queryFn: async () => {
      const query = { project_id: projectId, limit: 1000 };
      const { data } = await ask(api.GET("/api/v1/deployments", { params: { query } }));
      return data.filter((each) => !/^evaluation-[0-9a-f]{12}$/.test(each.name));
    },
    refetchInterval: ({ state }) => pause(state.data ?? []),
  });
}

export function useDeployment(id: string) {
  return useQuery({
    queryKey: keys.deployment(id),
    queryFn: () => ask(api.GET("/api/v1/deployments/{deployment_id}", { params: { path: { deployment_id: id } } })),
    refetchInterval: ({ state }) => pause(state.data ? [state.data] : []),
  });
}

export function useAsked(id: string) {
  return useList<Asked>([...keys.deployment(id), "requests"], (after) =>
    ask(
      api.GET("/api/v1/deployments/{deployment_id}/requests", {
        params: { path: { deployment_id: id }, query: { after, limit: 50 } },
      }),
    ),
  );
}

export function useDeploy() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: Schemas["DeploymentCreate"]) => ask(api.POST("/api/v1/deployments", { body })),
    onSuccess: () => client.invalidateQueries({ queryKey: keys.deploymentLists }),
  });
}

export function useDeploymentCommand() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async ({ id, command }: { id: string; command: DeploymentCommand }) => {
      const params = { path: { deployment_id: id } };
      if (command === "start") await ask(api.POST("/api/v1/deployments/{deployment_id}/start", { params }));
      else if (command === "stop") await ask(api.POST("/api/v1/deployments/{deployment_id}/stop", { params }));
      else await ask(api.DELETE("/api/v1/deployments/{deployment_id}", { params }));
    },
    onSettled: (_answer, error, { id, command }) => {
      void client.invalidateQueries({ queryKey: keys.deploymentLists });
      if (command !== "delete" || error) void client.invalidateQueries({ queryKey: keys.deployment(id) });
    },
  });
}

/** The deployment of a model: by its name, by its id, or by that of its model. */
export function deploymentOf(deployments: readonly Deployment[], model: string): Deployment | undefined {
  return (
    deployments.find((each) => each.id === model || each.name === model) ??
    deployments.find((each) => each.model_id === model)
  );
}
