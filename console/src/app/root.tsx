/** Signed in or not, and the pages by address; each comes when it is first opened. */
import { useQueryClient } from "@tanstack/react-query";
import { Spin } from "antd";
import { lazy, Suspense, useEffect, useRef, type ReactNode } from "react";
import { Navigate, Route, Routes } from "react-router";
import { ApiError } from "../api/client";
import { FeedProvider } from "../feed/feed";
import { ErrorBox } from "../parts/error";
import { Missing } from "../pages/missing";
import { useLanguage } from "../texts/language";
import { Frame } from "./frame";
import { SignedIn, useMe } from "./session";

/** Each page by the beginning of its address. What comes first in an address is looked at first. */
const LOADS = {
  "/welcome": () => import("../pages/start/welcome"),
  "/jobs/compare": () => import("../pages/jobs/compare"),
  "/jobs/": () => import("../pages/jobs/job"),
  "/jobs": () => import("../pages/jobs/list"),
  "/train": () => import("../pages/train/train"),
  "/datasets/": () => import("../pages/datasets/dataset"),
  "/datasets": () => import("../pages/datasets/list"),
  "/models/": () => import("../pages/models/model"),
  "/models": () => import("../pages/models/list"),
  "/settings": () => import("../pages/settings/settings"),
  "/help": () => import("../pages/help/help"),
  "/playground": () => import("../pages/playground/playground"),
  "/deployments/": () => import("../pages/deployments/deployment"),
  "/deployments": () => import("../pages/deployments/list"),
  "/evaluations/": () => import("../pages/evaluations/evaluation"),
  "/evaluations": () => import("../pages/evaluations/list"),
  "/": () => import("../pages/overview"),
};

// The page of the address is fetched while it is asked who is signed in. A failure shows when it is drawn.
const first = Object.entries(LOADS).find(([path]) => window.location.pathname.startsWith(path));
first?.[1]().catch(() => undefined);

const SignIn = lazy(() => import("../pages/start/sign-in"));
const SignInAgain = lazy(() => import("../pages/start/sign-in-again"));
const Overview = lazy(LOADS["/"]);
const Welcome = lazy(LOADS["/welcome"]);
const Jobs = lazy(LOADS["/jobs"]);
const Job = lazy(LOADS["/jobs/"]);
const Train = lazy(LOADS["/train"]);
const Datasets = lazy(LOADS["/datasets"]);
const Dataset = lazy(LOADS["/datasets/"]);
const Models = lazy(LOADS["/models"]);
const Model = lazy(LOADS["/models/"]);
const Settings = lazy(LOADS["/settings"]);
const Help = lazy(LOADS["/help"]);
const Playground = lazy(LOADS["/playground"]);
const Deployments = lazy(LOADS["/deployments"]);
const Deployment = lazy(LOADS["/deployments/"]);
const Evaluations = lazy(LOADS["/evaluations"]);
const Evaluation = lazy(LOADS["/evaluations/"]);
const Compare = lazy(LOADS["/jobs/compare"]);

export function Waiting() {
  return (
    <div className="centre" aria-busy="true">
      <Spin size="large" />
    </div>
  );
}

export function Root() {
  const me = useMe();
  if (me.isLoading) return <Waiting />;
  const isSignedOut = me.error instanceof ApiError && me.error.status === 401;
  if (isSignedOut && !me.data)
    return (
      <Suspense fallback={<Waiting />}>
        <SignIn />
      </Suspense>
    );
  if (!me.data)
    return (
      <div className="centre">
        <ErrorBox error={me.error} again={() => void me.refetch()} />
      </div>
    );
  return (
    <SignedIn me={me.data}>
      <FeedProvider>
        <Pages />
      </FeedProvider>
      {isSignedOut && (
        <Suspense fallback={null}>
          <SignInAgain />
        </Suspense>
      )}
    </SignedIn>
  );
}

/** Answers hold sentences: once another language is chosen they are asked for again. */
function useAnswersOfLanguage() {
  const { language } = useLanguage();
  const client = useQueryClient();
  const spoken = useRef(language);
  useEffect(() => {
    if (spoken.current === language) return;
    spoken.current = language;
    void client.invalidateQueries();
  }, [language, client]);
}

function Pages() {
  useAnswersOfLanguage();
  const page = (element: ReactNode) => <Suspense fallback={<Waiting />}>{element}</Suspense>;
  return (
    <Routes>
      <Route path="/welcome" element={page(<Welcome />)} />
      <Route element={<Frame />}>
        <Route path="/" element={page(<Overview />)} />
        <Route path="/jobs" element={page(<Jobs />)} />
        <Route path="/jobs/:id/:tab?" element={page(<Job />)} />
        <Route path="/train" element={page(<Train />)} />
        <Route path="/datasets" element={page(<Datasets />)} />
        <Route path="/datasets/:id/:tab?" element={page(<Dataset />)} />
        <Route path="/models" element={page(<Models />)} />
        <Route path="/models/:id/:tab?" element={page(<Model />)} />
        <Route path="/settings/:tab?" element={page(<Settings />)} />
        <Route path="/help/:section?" element={page(<Help />)} />
        <Route path="/jobs/compare" element={page(<Compare />)} />
        <Route path="/playground" element={page(<Playground />)} />
        <Route path="/deployments" element={page(<Deployments />)} />
        <Route path="/deployments/:id/:tab?" element={page(<Deployment />)} />
        <Route path="/evaluations" element={page(<Evaluations />)} />
        <Route path="/evaluations/:id/:tab?" element={page(<Evaluation />)} />
        <Route path="/sign-in" element={<Navigate to="/" replace />} />
        <Route path="*" element={<Missing />} />
      </Route>
    </Routes>
  );
}
