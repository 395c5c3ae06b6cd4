/** The form of a training, page by page; what it comes to stands beside it all the time. */
import { App, Button, Card, Space, Steps } from "antd";
import { useEffect, useRef, useState } from "react";
import { useSearchParams } from "react-router";
import { api, ask } from "../../api/client";
import { useSession } from "../../app/session";
import { draftOf, EMPTY, type Draft } from "../../logic/draft";
import { ErrorBox } from "../../parts/error";
import { Title } from "../../parts/page";
import { useTexts } from "../../texts/language";
import { useAdvice, type Advice } from "./advice";
import { BasicsPage } from "./basics";
import { DataPage } from "./data";
import { useDraft, type Change } from "./draft";
import { ModelPage } from "./model";
import { OrderPage } from "./order";
import { PAGES, pageOf, type PageName } from "./pages";
import { ParametersPage } from "./parameters";
import { Summary } from "./summary";

const FORMER = "former-draft"; // the offer to take back what was replaced

export interface PageProps {
  draft: Draft;
  change: Change;
  advice: Advice;
}

export default function Train() {
  const texts = useTexts();
  const { message, modal } = App.useApp();
  const [draft, change, clear] = useDraft();
  const [search, setSearch] = useSearchParams();
  const advice = useAdvice(draft);
  const error = useStart(advice, draft, change);
  useRecommendation(draft, change);
  const isUnapplied = draft.unapplied !== null;
  const asked = Math.max(0, PAGES.findIndex((each) => each === search.get("page")));
  const page = isUnapplied ? PAGES.indexOf("parameters") : asked;
  const go = (index: number) => {
    if (isUnapplied) void message.warning(texts("yaml.unapplied"));
    else setSearch({ page: PAGES[index] ?? "model" });
  };
  const isComplete = [draft.base !== "", draft.datasets.length > 0, true, draft.name !== "", true];
  const missing = isComplete.findIndex((each) => !each);
  const furthest = missing < 0 ? PAGES.length - 1 : missing;
  const wrong = new Set([...advice.problems.keys()].map(pageOf));
  const startAnew = () =>
    modal.confirm({
      title: texts("train.anew.sure"),
      okText: texts("train.anew"),
      cancelText: texts("action.back"),
      onOk: () => {
        clear();
        setSearch({ page: "model" });
      },
    });

  return (
    <>
      <Title
        title={texts("nav.train")}
        about={texts("train.about")}
        actions={<Button onClick={startAnew}>{texts("train.anew")}</Button>}
      />
      <Steps
        size="small"
        className="pages"
        responsive={false}
        current={page}
        onChange={go}
        style={{ marginBottom: 20 }}
        items={PAGES.map((each, index) => ({
          title: texts(`train.${each}`),
          disabled: index > furthest,
          ...(wrong.has(each) ? { status: "error" as const } : {}),
          ...(index < page && !isComplete[index] ? { status: "wait" as const } : {}),
        }))}
      />
      <div className={page === PAGES.length - 1 ? "" : "two"}>
        <div className="stack">
          {(error ?? advice.error) && <ErrorBox error={error ?? advice.error} />}
          <Card>
            <Page page={PAGES[page] ?? "model"} draft={draft} change={change} advice={advice} onSent={clear} />
          </Card>
          <Space>
            {page > 0 && <Button onClick={() => go(page - 1)}>{texts("train.before")}</Button>}
            {page < PAGES.length - 1 && (
              <Button type="primary" disabled={!isComplete[page]} onClick={() => go(page + 1)}>
                {texts("train.next")}
              </Button>
            )}
          </Space>
        </div>
        {page < PAGES.length - 1 && <Summary draft={draft} advice={advice} />}
      </div>
    </>
  );
}

function Page({ page, onSent, ...props }: PageProps & { page: PageName; onSent: () => void }) {
  switch (page) {
    case "model":
      return <ModelPage {...props} />;
    case "data":
      return <DataPage {...props} />;
    case "parameters":
      return <ParametersPage {...props} />;
    case "basics":
      return <BasicsPage {...props} />;
    case "order":
      return <OrderPage {...props} onSent={onSent} />;
  }
}

/** Addresses that begin a draft: ?base=..., ?dataset=..., ?like=JOB. Taken once, then removed. */
function useStart({ sheet }: Advice, draft: Draft, change: Change): Error | null {
  const texts = useTexts();
  const { notification } = App.useApp();
  const [search, setSearch] = useSearchParams();
  const [error, setError] = useState<Error | null>(null);
  const taken = useRef(false);
  useEffect(() => {
    const [base, dataset, like] = [search.get("base"), search.get("dataset"), search.get("like")];
    if (taken.current || sheet.fields.length === 0 || !(base || dataset || like)) return;
    taken.current = true;
    const former = draft;
    const offerFormer = () => {
      const isWritten = former.name || former.datasets.length > 0 || Object.keys(former.values).length > 0;
      if (!isWritten || dataset) return;
      const back = () => {
        change(former);
        notification.destroy(FORMER);
      };
      notification.info({
        key: FORMER,
        title: texts("train.replaced", { name: former.name || former.base }),
        actions: <Button onClick={back}>{texts("train.former")}</Button>,
        duration: 0,
      });
    };
    const begin = async () => {
      if (base) change({ ...EMPTY, base });
      if (dataset) change({ datasets: [{ dataset }] });
      if (like) change(await likeJob(like, sheet));
      offerFormer();
      setSearch({ page: like ? "parameters" : base ? "data" : "model" }, { replace: true });
    };
    begin().catch((failed: Error) => setError(failed));
  }, [search, setSearch, sheet, draft, change, notification, texts]);
  useEffect(() => () => notification.destroy(FORMER), [notification]);
  return error;
}

async function likeJob(id: string, sheet: Advice["sheet"]): Promise<Partial<Draft>> {
  const body = await ask(api.GET("/api/v1/jobs/{job_id}/draft", { params: { path: { job_id: id } } }));
  const recipe = typeof body.recipe === "object" ? (body.recipe as Record<string, unknown>) : {};
  const draft = draftOf(recipe, sheet, EMPTY);
  return {
    ...draft,
    base: body.base ?? draft.base,
    name: `${draft.name}-2`.slice(0, 100),
    description: body.description ?? "",
    flavour: body.flavour ?? "",
    devices: body.num_devices ?? 1,
  };
}

/** What the platform advises for the model and its data is filled in where nothing was written. */
function useRecommendation({ base, datasets, profile }: Draft, change: Change) {
  const { projectId } = useSession();
  const names = datasets.map((each) => each.dataset).join("\n");
  useEffect(() => {
    if (!base) return;
    let isGone = false;
    const query = { base, profile, project_id: projectId, dataset: names ? names.split("\n") : [] };
    ask(api.GET("/api/v1/recipes/defaults", { params: { query } })).then(
      (found) => !isGone && change({ advised: found.values }),
      // A model or dataset that is not known is told beside its field by the check of the recipe.
      () => !isGone && change({ advised: {} }),
    );
    return () => {
      isGone = true;
    };
  }, [base, names, profile, projectId, change]);
}
