/** Rows that say something else: each change is the next version, the one before stays. */
import { DeleteOutlined } from "@ant-design/icons";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Alert, App, Button, Form, Input, Space } from "antd";
import { useState } from "react";
import { useSearchParams } from "react-router";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { draftOf, LISTS, recordOf, type ListName } from "../../logic/record";
import { count } from "../../logic/format";
import { FormDialog, useRequired } from "../../parts/dialog";
import { ErrorBox } from "../../parts/error";
import { TaskProgress } from "../../parts/task";
import { translateWord, useTexts } from "../../texts/language";
import type { PartProps } from "./dataset";

type Operation = Schemas["Edit"]["operation"];

/** Send one operation; `task` is the id of what goes on where a dataset is large. */
export function useEdit({ dataset, version }: PartProps, onDone?: () => void) {
  const texts = useTexts();
  const client = useQueryClient();
  const { message } = App.useApp();
  const [search, setSearch] = useSearchParams();
  const [task, setTask] = useState<string | null>(null);
  const show = (number: number | null) => {
    void client.invalidateQueries({ queryKey: keys.dataset(dataset.id) });
    void client.invalidateQueries({ queryKey: keys.datasetLists });
    if (number === null) void message.info(texts("edit.same"));
    else {
      void message.success(texts("edit.saved", { number }));
      const next = new URLSearchParams(search);
      next.set("version", String(number));
      setSearch(next, { replace: true });
    }
    onDone?.();
  };
  const edit = useMutation({
    mutationFn: (operation: Operation) =>
      ask(
        api.POST("/api/v1/datasets/{dataset_id}/edit", {
          params: { path: { dataset_id: dataset.id } },
          body: { operation, base: version },
        }),
      ),
    onSuccess: (edited) => (edited.task ? setTask(edited.task.id) : show(edited.version?.number ?? null)),
  });
  const progress = task && (
    <TaskProgress id={task} onDone={(done) => done.state === "succeeded" && show(numberOf(done.result) ?? dataset.num_versions + 1)} />
  );
  return { edit, progress };
}

function numberOf(result: unknown): number | null {
  const found = (result as { version?: unknown } | null)?.version;
  return typeof found === "number" ? found : null;
}

/** Lines that a text takes in a field, about. A field that grows by itself would write style
 * attributes, which the policy of the page refuses. */
function rowsFor(text: string): number {
  const lines = text.split("\n").reduce((sum, line) => sum + 1 + Math.floor(line.length / 80), 0);
  return Math.min(16, Math.max(2, lines));
}

interface RowProps extends PartProps {
  row: number;
  record: Record<string, unknown>;
  onClose: () => void;
}

/** One row as texts to change, in place of its tokens. */
export function RowEditor({ row, record, onClose, ...part }: RowProps) {
  const texts = useTexts();
  const { edit, progress } = useEdit(part, onClose);
  const [draft, setDraft] = useState(() => draftOf(record));
  const [json, setJson] = useState(() => JSON.stringify(record, null, 2));
  const [problem, setProblem] = useState("");
  const write = (list: ListName, index: number, content: string) =>
    setDraft(
      (old) =>
        old && {
          ...old,
          turns: { ...old.turns, [list]: (old.turns[list] ?? []).map((turn, at) => (at === index ? { ...turn, content } : turn)) },
        },
    );
  const save = () => {
    try {
      const next = draft ? recordOf(record, draft) : (JSON.parse(json) as Record<string, unknown>);
      setProblem("");
      edit.mutate({ operation: "change", changes: [{ row, fields: { record: next } }], new_columns: false });
    } catch (error) {
      setProblem(texts("edit.badJson", { message: (error as Error).message }));
    }
  };
  return (
    <Form layout="vertical" component="div">
      {draft &&
        LISTS.flatMap((list) =>
          (draft.turns[list] ?? []).map((turn, index) => (
            <Form.Item
              key={`${list}-${index}`}
              label={list === "messages" ? translateWord("role", turn.role) : `${translateWord("preview", list)} · ${translateWord("role", turn.role)}`}
              htmlFor={`${list}-${index}`}
            >
              <Input.TextArea
                id={`${list}-${index}`}
                rows={rowsFor(turn.content)}
                value={turn.content}
                onChange={(event) => write(list, index, event.target.value)}
              />
            </Form.Item>
          )),
        )}
      {draft &&
        Object.entries(draft.texts).map(([name, text]) => (
          <Form.Item key={name} label={<span className="mono">{name}</span>} htmlFor={`text-${name}`}>
            <Input.TextArea
              id={`text-${name}`}
              rows={rowsFor(text)}
              value={text}
              onChange={(event) => setDraft({ ...draft, texts: { ...draft.texts, [name]: event.target.value } })}
            />
          </Form.Item>
        ))}
      {!draft && (
        <Form.Item label={texts("edit.json")} htmlFor="record">
          <Input.TextArea id="record" className="mono" rows={rowsFor(json)} value={json} onChange={(event) => setJson(event.target.value)} />
        </Form.Item>
      )}
      {problem && <Alert type="error" showIcon title={problem} />}
      <ErrorBox error={edit.error} />
      {progress}
      <Space wrap style={{ marginTop: 12 }}>
        <Button type="primary" loading={edit.isPending} onClick={save}>
          {texts("edit.save")}
        </Button>
        <Button onClick={onClose}>{texts("action.back")}</Button>
      </Space>
    </Form>
  );
}

interface Written {
  system?: string;
  question: string;
  answer: string;
}

export function AddRow({ onClose, ...part }: PartProps & { onClose: () => void }) {
  const texts = useTexts();
  const required = useRequired();
  const client = useQueryClient();
  const { message } = App.useApp();
  const { dataset, version } = part;
  const send = ({ system, question, answer }: Written) => {
    const turns = [
      ...(system ? [{ role: "system", content: system }] : []),
      { role: "user", content: question },
      { role: "assistant", content: answer },
    ];
    return ask(
      api.POST("/api/v1/datasets/{dataset_id}/edit", {
        params: { path: { dataset_id: dataset.id } },
        body: { operation: { operation: "add", rows: [{ messages: turns }] }, base: version },
      }),
    );
  };
  const done = (edited: Schemas["Edited"]) => {
    if (edited.task) void client.invalidateQueries({ queryKey: keys.task(edited.task.id) });
    void message.success(texts("edit.saved", { number: edited.version?.number ?? dataset.num_versions + 1 }));
  };
  return (
    <FormDialog<Written, Schemas["Edited"]>
      title={texts("edit.add")}
      okText={texts("edit.save")}
      send={send}
      renews={[keys.dataset(dataset.id), keys.datasetLists]}
      onDone={done}
      onClose={onClose}
    >
      <Form.Item name="system" label={texts("role.system")}>
        <Input.TextArea rows={2} />
      </Form.Item>
      <Form.Item name="question" label={texts("rows.question")} rules={required}>
        <Input.TextArea autoFocus rows={3} />
      </Form.Item>
      <Form.Item name="answer" label={texts("rows.answer")} rules={required}>
        <Input.TextArea rows={4} />
      </Form.Item>
    </FormDialog>
  );
}

interface RemoveProps extends PartProps {
  rows: number[];
  onDone: () => void;
}

/** Delete the rows that were chosen, once that is sure. */
export function RemoveRows({ rows, onDone, ...part }: RemoveProps) {
  const texts = useTexts();
  const { modal } = App.useApp();
  const { edit, progress } = useEdit(part, onDone);
  const sure = () =>
    modal.confirm({
      title: rows.length === 1 ? texts("edit.remove.sure", { row: rows[0] ?? 0 }) : texts("edit.removeSome.sure", { count: count(rows.length) }),
      okText: texts("action.delete"),
      cancelText: texts("action.back"),
      okButtonProps: { danger: true },
      onOk: () => edit.mutate({ operation: "remove", rows }),
    });
  return (
    <>
      <Button danger icon={<DeleteOutlined />} loading={edit.isPending} onClick={sure}>
        {rows.length === 1 ? texts("edit.remove") : texts("edit.removeSome", { count: count(rows.length) })}
      </Button>
      <ErrorBox error={edit.error} />
      {progress}
    </>
  );
}
