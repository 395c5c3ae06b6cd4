/** The same training as YAML: to read, to change, to bring from elsewhere. */
import { useQuery } from "@tanstack/react-query";
import { Alert, App, Button, Input, Space, Table } from "antd";
import { useState } from "react";
import { api, ask, type ApiError, type Schemas } from "../../api/client";
import { draftOf } from "../../logic/draft";
import { ErrorBox } from "../../parts/error";
import { translateWord, useTexts } from "../../texts/language";
import type { PageProps } from "./train";

type Converted = Schemas["Converted"];

export function Yaml({ draft, change, advice }: PageProps) {
  const texts = useTexts();
  const { message } = App.useApp();
  const text = draft.unapplied;
  const setText = (unapplied: string | null) => change({ unapplied });
  const [error, setError] = useState<ApiError | null>(null);
  const [converted, setConverted] = useState<Converted | null>(null);
  const isReady = draft.base !== "" && draft.datasets.length > 0;
  const rendered = useQuery({
    queryKey: ["render", advice.recipe],
    queryFn: () => ask(api.POST("/api/v1/recipes/render", { body: { recipe: advice.recipe } })),
    placeholderData: (old) => old,
    enabled: isReady,
  });
  const written = text ?? rendered.data?.yaml ?? "";

  const take = (recipe: Record<string, unknown>) => {
    change({ ...draftOf(recipe, advice.sheet, draft), unapplied: null });
    void message.success(texts("yaml.taken"));
  };
  const run = async (work: () => Promise<void>) => {
    setError(null);
    try {
      await work();
    } catch (failed) {
      setError(failed as ApiError);
    }
  };
  const apply = () =>
    run(async () => take((await ask(api.POST("/api/v1/recipes/render", { body: { recipe: written } }))).recipe));
  const convert = () =>
    run(async () => {
      const found = await ask(api.POST("/api/v1/recipes/convert/llamafactory", { body: { text: written } }));
      setConverted(found);
      take(found.recipe);
    });

  return (
    <div className="stack">
      <div className="quiet">{texts("yaml.about")}</div>
      {!isReady && <Alert type="info" title={texts("yaml.first")} />}
      <Input.TextArea
        className="mono"
        aria-label="YAML"
        spellCheck={false}
        rows={24} // its own sizing writes a style attribute, which the policy of the page refuses
        value={written}
        onChange={(event) => setText(event.target.value)}
      />
      <ErrorBox error={error ?? (text === null ? rendered.error : null)} />
      <Space wrap>
        <Button type="primary" disabled={text === null} onClick={() => void apply()}>
          {texts("yaml.apply")}
        </Button>
        <Button disabled={text === null} onClick={() => void convert()}>
          {texts("yaml.llamafactory")}
        </Button>
        <Button disabled={text === null} onClick={() => setText(null)}>
          {texts("yaml.discard")}
        </Button>
      </Space>
      {converted && <Keys converted={converted} />}
    </div>
  );
}

/** What became of each key of the other system. */
function Keys({ converted }: { converted: Converted }) {
  const texts = useTexts();
  return (
    <>
      {converted.notices.map((each, index) => (
        <Alert key={index} type="warning" showIcon title={each.message} description={each.hint} />
      ))}
      <Table
        size="small"
        rowKey="key"
        pagination={false}
        dataSource={converted.keys}
        columns={[
          { title: texts("yaml.key"), dataIndex: "key", className: "mono any" },
          { title: texts("yaml.value"), dataIndex: "value", className: "any" },
          { title: texts("yaml.verdict"), dataIndex: "verdict", render: (word: string) => translateWord("verdict", word) },
          { title: texts("yaml.to"), dataIndex: "to", className: "mono any" },
          { title: texts("job.reason"), dataIndex: "reason" },
        ]}
      />
    </>
  );
}
