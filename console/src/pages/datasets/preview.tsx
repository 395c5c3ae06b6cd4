/** One row as tokens: what is learned is coloured, what is cut off is struck out. */
import { useQuery } from "@tanstack/react-query";
import { Alert, Button, Drawer, InputNumber, Select, Skeleton, Space } from "antd";
import { useState } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { usePresets } from "../../api/models";
import { useSession } from "../../app/session";
import { count } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { translateWord, useTexts } from "../../texts/language";
import type { PartProps } from "./dataset";
import { RemoveRows, RowEditor } from "./edit";

type Tokens = Schemas["PreviewTokens"];

export function Preview({ dataset, version, row, onClose }: PartProps & { row: number; onClose: () => void }) {
  const texts = useTexts();
  const [model, setModel] = useState("starter");
  const [length, setLength] = useState<number | null>(1024);
  const [isEditing, setEditing] = useState(false);
  const { mayWrite } = useSession();
  const presets = usePresets();
  const query = { model, ...(length ? { max_length: length } : {}) };
  const preview = useQuery({
    queryKey: keys.datasetPart(dataset.id, "preview", version, row, query),
    queryFn: () =>
      ask(
        api.GET("/api/v1/datasets/{dataset_id}/versions/{number}/rows/{row}/preview", {
          params: { path: { dataset_id: dataset.id, number: version, row }, query },
        }),
      ),
  });
  const record = preview.data?.record;
  const isOld = version !== dataset.num_versions;
  const mayEdit = mayWrite && !isOld && Boolean(record);
  if (isEditing && record)
    return (
      <Drawer open size="min(720px, 100vw)" title={texts("preview.title", { row: count(row) })} onClose={() => setEditing(false)}>
        <RowEditor dataset={dataset} version={version} row={row} record={record} onClose={() => setEditing(false)} />
      </Drawer>
    );
  return (
    <Drawer open size="min(720px, 100vw)" title={texts("preview.title", { row: count(row) })} onClose={onClose}>
      <div className="stack">
        <div className="row">
          <Select
            showSearch
            style={{ minWidth: 200 }}
            aria-label={texts("job.base")}
            value={model}
            onChange={setModel}
            options={presets.data?.data.map((each) => ({ value: each.name, label: each.title })) ?? []}
          />
          <InputNumber
            min={8}
            style={{ width: 150 }}
            prefix={<span className="quiet">max</span>}
            aria-label={texts("preview.length")}
            value={length}
            onChange={setLength}
          />
        </div>
        <div className="quiet tokens">
          <span className="learn">{texts("preview.learned")}</span> <span>{texts("preview.read")}</span>{" "}
          <span className="cut">{texts("preview.cut")}</span>
        </div>
        <ErrorBox error={preview.error} />
        {preview.isLoading && <Skeleton active />}
        {preview.data?.refused && <Alert type="error" showIcon title={preview.data.refused} />}
        {preview.data?.rows.map((tokens, index) => <Row key={index} tokens={tokens} />)}
        {preview.data && mayEdit && (
          <Space wrap>
            <Button onClick={() => setEditing(true)}>{texts("edit.row")}</Button>
            <RemoveRows dataset={dataset} version={version} rows={[row]} onDone={onClose} />
          </Space>
        )}
        {isOld && <Alert type="info" showIcon title={texts("edit.old")} />}
        {preview.data && (
          <details>
            <summary>{texts("preview.record")}</summary>
            <pre className="yaml mono" style={{ whiteSpace: "pre-wrap" }}>
              {JSON.stringify(preview.data.record, null, 2)}
            </pre>
          </details>
        )}
      </div>
    </Drawer>
  );
}

function Row({ tokens: { tokens, cut_at: cutAt, window, answer } }: { tokens: Tokens }) {
  const texts = useTexts();
  const learned = tokens.filter((each, index) => each.supervised && (cutAt === null || index < cutAt)).length;
  return (
    <>
      {answer && <h3 className="part-title small">{translateWord("preview", answer)}</h3>}
      <div className="quiet numbers">
        {texts("preview.counts", { tokens: count(tokens.length), learned: count(learned) })}
        {cutAt !== null && ` · ${texts("preview.cutAt", { at: count(cutAt) })}`}
        {typeof window === "number" && ` · ${texts("preview.window", { count: count(window) })}`}
      </div>
      {learned === 0 && <Alert type="warning" showIcon title={texts("preview.nothingLearned")} />}
      <div className="tokens mono">
        {tokens.map((each, index) => (
          <span
            key={index}
            title={`${each.id}`}
            className={[each.supervised && "learn", each.special && "special", cutAt !== null && index >= cutAt && "cut"]
              .filter(Boolean)
              .join(" ")}
          >
            {each.text}
          </span>
        ))}
      </div>
    </>
  );
}
