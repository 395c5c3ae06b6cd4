/** Who is signed in, and which project they look at. */
import { queryOptions, useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, useCallback, useContext, useEffect, useMemo, useState } from "react";
import type { ReactNode } from "react";
import { api, ApiError, ask, whenSignedOut, type Schemas } from "../api/client";
import { keys } from "../api/keys";

type Me = Schemas["Me"];
const KEPT_PROJECT = "tunesmith.project";

interface Session {
  me: Me;
  projectId: string;
  chooseProject: (id: string) => void;
  mayWrite: boolean;
  signOut: () => Promise<void>;
}

const Context = createContext<Session | null>(null);

/** Whoever is signed in; only below `SignedIn`. */
export function useSession(): Session {
  const session = useContext(Context);
  if (!session) throw new Error("useSession outside of SignedIn");
  return session;
}

/** Asked before anything is drawn; see `app.tsx`. */
export const ME = queryOptions({
  queryKey: keys.me,
  queryFn: () => ask(api.GET("/api/v1/me")),
  staleTime: 5 * 60_000,
  retry: (times, error) => times < 3 && !(error instanceof ApiError && error.status === 401),
});

export function useMe() {
  return useQuery(ME);
}

export function SignedIn({ me, children }: { me: Me; children: ReactNode }) {
  const client = useQueryClient();
  const [projectId, setProjectId] = useState(() => localStorage.getItem(KEPT_PROJECT) ?? "");
  const known = projectId in me.roles || me.user.is_admin ? projectId : "";
  const chosen = known || me.project_id;
  useEffect(
    () =>
      whenSignedOut(() => {
        const known = client.getQueryState(keys.me);
        // Once: the answer to this question is a refusal itself.
        if (known?.status === "success" && known.fetchStatus === "idle") void client.invalidateQueries({ queryKey: keys.me });
      }),
    [client],
  );
  const chooseProject = useCallback((id: string) => {
    localStorage.setItem(KEPT_PROJECT, id);
    setProjectId(id);
  }, []);
  const signOut = useCallback(async () => {
    await ask(api.DELETE("/api/v1/session"));
    client.clear();
    window.location.assign("/");
  }, [client]);
  const session = useMemo(() => {
    const role = me.user.is_admin ? "admin" : me.roles[chosen];
    const mayWrite = me.scopes.includes("write") && role !== "viewer";
    return { me, projectId: chosen, chooseProject, mayWrite, signOut };
  }, [me, chosen, chooseProject, signOut]);
  return <Context.Provider value={session}>{children}</Context.Provider>;
}
