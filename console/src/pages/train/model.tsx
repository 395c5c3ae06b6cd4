/** What kind of training it is, and which model is trained: a preset one, or one of the project. */
import { Input, Segmented, Skeleton, Tag } from "antd";
import { useState } from "react";
import type { Schemas } from "../../api/client";
import { useModels, usePresets } from "../../api/models";
import { useSession } from "../../app/session";
import { bytes } from "../../logic/format";
import { Choices } from "../../parts/choice";
import { ErrorBox } from "../../parts/error";
import { More, Nothing } from "../../parts/page";
import { PresetFacts } from "../../parts/preset-facts";
import { useTexts } from "../../texts/language";
import { StageChoice, stageOf } from "./stage";
import type { PageProps } from "./train";

type Source = "preset" | "mine";

export function ModelPage(props: PageProps) {
  const { draft, change } = props;
  const texts = useTexts();
  const presets = usePresets();
  const [chosen, setSource] = useState<Source | null>(null);
  const isMine = draft.base !== "" && presets.data !== undefined && !presets.data.data.some((each) => each.name === draft.base);
  const source = chosen ?? (isMine ? "mine" : "preset");
  const [text, setText] = useState("");
  const choose = (base: string) => change({ base });
  const stage = stageOf(props);
  return (
    <div className="stack">
      <StageChoice {...props} />
      <h2 className="part-title">
        {texts("deploy.model")} <Tag>{texts("train.type.llm")}</Tag>
      </h2>
      <div className="row">
        <Segmented<Source>
          value={source}
          onChange={setSource}
          options={[
            { value: "preset", label: texts("model.presets") },
            { value: "mine", label: texts("model.mine") },
          ]}
        />
        <Input.Search
          allowClear
          style={{ maxWidth: 280 }}
          aria-label={texts("models.search")}
          placeholder={texts("models.search")}
          onChange={(event) => setText(event.target.value)}
        />
      </div>
      <div className="quiet">{texts("train.model.help")}</div>
      {source === "preset" ? (
        <Presets value={draft.base} onChange={choose} text={text} stage={stage} />
      ) : (
        <Mine value={draft.base} onChange={choose} text={text} stage={stage} />
      )}
    </div>
  );
}

interface Props {
  value: string;
  onChange: (base: string) => void;
  text: string;
  stage: string;
}

function Presets({ value, onChange, text, stage }: Props) {
  const texts = useTexts();
  const presets = usePresets();
  if (presets.error && !presets.data) return <ErrorBox error={presets.error} again={() => void presets.refetch()} />;
  if (!presets.data) return <Skeleton active />;
  const wanted = text.toLowerCase();
  const shown = presets.data.data.filter((each) => `${each.name} ${each.title} ${each.family}`.toLowerCase().includes(wanted));
  if (shown.length === 0) return <Nothing text={texts("models.noneFound")} />;
  return (
    <Choices
      label={texts("deploy.model")}
      value={value}
      onChange={onChange}
      options={shown.map((each) => ({
        value: each.name,
        name: (
          <>
            {each.title} <Tag>{each.size}</Tag>
            <Tag>{texts("model.contextOf", { size: each.context_label })}</Tag>
          </>
        ),
        about: (
          <>
            {each.about}
            <div style={{ marginTop: 6 }}>
              <PresetFacts of={each} />
            </div>
          </>
        ),
        refused: refusal(each.capabilities.filter((can) => can.stage === stage)),
      }))}
    />
  );
}

function Mine({ value, onChange, text }: Props) {
  const texts = useTexts();
  const { projectId } = useSession();
  const models = useModels({ project_id: projectId, ...(text ? { text } : {}) });
  if (models.error && models.items.length === 0) return <ErrorBox error={models.error} again={models.again} />;
  if (models.isLoading) return <Skeleton active />;
  if (models.items.length === 0) return <Nothing text={texts(text ? "models.noneFound" : "models.none")} />;
  return (
    <>
      <Choices
        label={texts("deploy.model")}
        value={value}
        onChange={onChange}
        options={models.items.map((each) => ({
          value: each.name,
          name: (
            <>
              {each.name} <Tag>{each.kind}</Tag>
            </>
          ),
          about: `${each.base} · ${bytes(each.bytes)}`,
        }))}
      />
      <More list={models} />
    </>
  );
}

/** Why a model cannot be trained at all in a stage. */
export function refusal(capabilities: Schemas["CapabilityRead"][]): string | undefined {
  return capabilities.some((can) => can.available) ? undefined : capabilities[0]?.reason;
}
