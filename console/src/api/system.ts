/** What pages ask about the installation. */
import { useQuery } from "@tanstack/react-query";
import { api, ask, type Schemas } from "./client";
import { keys } from "./keys";

export type Worker = Schemas["WorkerRead"];
export type Device = Schemas["DeviceRead"];
export type Storage = Schemas["StorageRead"];

export function useWorkers() {
  return useQuery({
    queryKey: keys.workers,
    queryFn: () => ask(api.GET("/api/v1/workers")),
    refetchInterval: 5_000,
  });
}

export function useStorage() {
  return useQuery({
    queryKey: keys.storage,
    queryFn: () => ask(api.GET("/api/v1/storage")),
    refetchInterval: 30_000,
  });
}
