/** Talk to models: one question to up to four of them, answers side by side as they come. */
import { ClearOutlined, PlusOutlined, SendOutlined, SettingOutlined, StopOutlined } from "@ant-design/icons";
import { Button, Input } from "antd";
import { useEffect, useState } from "react";
import { useSearchParams } from "react-router";
import { useDeployments, type Deployment } from "../../api/deployments";
import { useSession } from "../../app/session";
import { ErrorBox } from "../../parts/error";
import { Nothing, Title } from "../../parts/page";
import { useTexts } from "../../texts/language";
import { kept, keep, type Kept } from "./kept";
import { PaneView } from "./pane";
import { MOST_PANES, usePanes } from "./panes";
import { SettingsDrawer } from "./settings";

export default function Playground() {
  const { projectId } = useSession();
  const deployments = useDeployments(projectId);
  const [search] = useSearchParams();
  if (deployments.isLoading) return null;
  const asked = search.getAll("model");
  const first = asked.length ? asked : firstModels(kept().models, deployments.data ?? []);
  return (
    <>
      {!deployments.data && <ErrorBox error={deployments.error} again={() => void deployments.refetch()} />}
      <Talk key={projectId} first={first} deployments={deployments.data ?? []} />
    </>
  );
}

/** As it was left; else what runs; else the model that is always there. */
function firstModels(before: string[], deployments: readonly Deployment[]): string[] {
  if (before.length) return before;
  const ready = deployments.filter((each) => each.status === "ready").map((each) => each.name);
  return ready.length ? ready.slice(0, 2) : ["starter"];
}

function Talk({ first, deployments }: { first: string[]; deployments: Deployment[] }) {
  const texts = useTexts();
  const { projectId, mayWrite } = useSession();
  const [search, setSearch] = useSearchParams();
  const [draft, setDraft] = useState<Kept>(kept);
  const [isOpen, setOpen] = useState(false);
  const { panes, send, again, stop, choose, add, remove, clear, isBusy } = usePanes(first);
  const asking = { system: draft.system, sampling: draft.sampling, projectId };
  const models = panes.map((pane) => pane.model).filter(Boolean);
  const address = models.map((model) => `model=${encodeURIComponent(model)}`).join("&");
  useEffect(() => keep({ ...draft, models: new URLSearchParams(address).getAll("model") }), [draft, address]);
  useEffect(() => {
    if (search.toString() !== new URLSearchParams(address).toString()) setSearch(address, { replace: true });
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the address follows the panes, not the reverse
  }, [address]);
  const change = (part: Partial<Kept>) => setDraft((now) => ({ ...now, ...part }));
  const mayAsk = draft.text.trim() !== "" && models.length > 0 && !isBusy;
  const ask = () => {
    if (!mayAsk) return;
    send(draft.text.trim(), asking);
    change({ text: "" });
  };
  return (
    <div className="playground">
      <Title
        title={texts("nav.playground")}
        about={texts("playground.about")}
        actions={
          <>
            <Button icon={<ClearOutlined />} disabled={panes.every((pane) => pane.turns.length === 0)} onClick={clear}>
              {texts("playground.clear")}
            </Button>
            <Button icon={<SettingOutlined />} onClick={() => setOpen(true)}>
              {texts("playground.settings")}
            </Button>
            <Button icon={<PlusOutlined />} disabled={panes.length >= MOST_PANES} onClick={add}>
              {texts("playground.add")}
            </Button>
          </>
        }
      />
      <div className="panes">
        {panes.map((pane) => (
          <PaneView
            key={pane.key}
            pane={pane}
            deployments={deployments}
            asking={asking}
            mayWrite={mayWrite}
            isBusy={isBusy}
            onChoose={(model) => choose(pane.key, model)}
            onAgain={() => again(pane, asking)}
            {...(panes.length > 1 ? { onRemove: () => remove(pane.key) } : {})}
          />
        ))}
        {panes.length === 0 && <Nothing text={texts("playground.none")} />}
      </div>
      <form
        className="composer"
        onSubmit={(event) => {
          event.preventDefault();
          ask();
        }}
      >
        <Input.TextArea
          autoFocus
          rows={1} className="growing"
          aria-label={texts("playground.question")}
          placeholder={texts("playground.placeholder")}
          value={draft.text}
          onChange={(event) => change({ text: event.target.value })}
          onKeyDown={(event) => {
            // Enter also ends the choice of a Chinese character, which is no question yet.
            if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
            event.preventDefault();
            ask();
          }}
        />
        {isBusy ? (
          <Button danger icon={<StopOutlined />} onClick={stop}>
            {texts("playground.stop")}
          </Button>
        ) : (
          <Button type="primary" htmlType="submit" icon={<SendOutlined />} disabled={!mayAsk}>
            {texts("playground.send")}
          </Button>
        )}
      </form>
      <SettingsDrawer open={isOpen} draft={draft} onChange={change} onClose={() => setOpen(false)} />
    </div>
  );
}
