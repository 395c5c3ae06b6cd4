/** How the rows would be parted: what is learned, and what is held out to measure it. */
import { useMutation } from "@tanstack/react-query";
import { Alert, Button, Form, Input, InputNumber, Slider, Statistic, Table } from "antd";
import { useState } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { isOver, useTask } from "../../api/tasks";
import { count } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { HelpLink } from "../../parts/help-link";
import { TaskProgress } from "../../parts/task";
import { useTexts } from "../../texts/language";
import type { PartProps } from "./dataset";

type Found = Schemas["SplitsRead"];
interface Written {
  validation: number;
  test: number;
  most: number;
  seed: number;
  column: string;
}

export function Splits({ dataset, version }: PartProps) {
  const texts = useTexts();
  const [written, setWritten] = useState<Written>({ validation: 10, test: 0, most: 100, seed: 42, column: "" });
  const set = (part: Partial<Written>) => setWritten({ ...written, ...part });
  const look = useMutation({
    mutationFn: () =>
      ask(
        api.POST("/api/v1/datasets/{dataset_id}/versions/{number}/splits", {
          params: { path: { dataset_id: dataset.id, number: version } },
          body: { validation: wishOf(written, written.validation), test: wishOf(written, written.test), seed: written.seed },
        }),
      ),
  });
  const share = (name: "validation" | "test", label: string) => (
    <Form.Item label={`${label}: ${written[name]}%`} style={{ flex: "1 1 200px", margin: 0 }}>
      <Slider
        min={0}
        max={50}
        value={written[name]}
        ariaLabelForHandle={label}
        tooltip={{ formatter: (value) => `${value ?? 0}%` }}
        onChange={(value) => set({ [name]: value })}
      />
    </Form.Item>
  );
  return (
    <div className="stack" style={{ paddingTop: 8 }}>
      <div className="quiet">
        {texts("splits.about")} <HelpLink to="/help/data#data.validation" about={texts("splits.fraction")} />
      </div>
      <Form layout="vertical" component="div">
        <div className="row" style={{ gap: 20, alignItems: "flex-start" }}>
          {share("validation", texts("splits.fraction"))}
          {share("test", texts("splits.test"))}
          <Form.Item label={texts("splits.most")} htmlFor="most" style={{ margin: 0 }}>
            <InputNumber id="most" min={1} precision={0} value={written.most} onChange={(most) => set({ most: most ?? 100 })} />
          </Form.Item>
          <Form.Item label={texts("splits.seed")} htmlFor="seed" style={{ margin: 0 }}>
            <InputNumber id="seed" min={0} precision={0} value={written.seed} onChange={(seed) => set({ seed: seed ?? 42 })} />
          </Form.Item>
          <Form.Item label={texts("splits.by")} htmlFor="column" style={{ margin: 0 }}>
            <Input id="column" placeholder={texts("splits.by.help")} value={written.column} onChange={(event) => set({ column: event.target.value })} />
          </Form.Item>
        </div>
      </Form>
      <div>
        <Button type="primary" loading={look.isPending} onClick={() => look.mutate()}>
          {texts("splits.look")}
        </Button>
      </div>
      <ErrorBox error={look.error} />
      {look.data?.splits && <Shown found={look.data.splits} />}
      {look.data?.task && <Later id={look.data.task.id} />}
    </div>
  );
}

function wishOf({ most, column }: Written, percent: number): Schemas["SplitWish"] | null {
  if (percent === 0) return null;
  return { fraction: percent / 100, max_rows: most, ...(column.trim() ? { stratify_by: column.trim() } : {}) };
}

/** Of a large dataset: once the task is done. */
function Later({ id }: { id: string }) {
  const task = useTask(id);
  if (!isOver(task.data) || task.data?.state !== "succeeded") return <TaskProgress id={id} />;
  return <Shown found={task.data.result as unknown as Found} />;
}

const PARTS = ["training", "validation", "test"] as const;
const LABELS = { training: "splits.training", validation: "splits.fraction", test: "splits.test" } as const;

function Shown({ found }: { found: Found }) {
  const texts = useTexts();
  const returned = found.validation.returned_to_training + found.test.returned_to_training;
  const duplicates = found.validation.duplicates_removed + found.test.duplicates_removed;
  return (
    <>
      <div className="columns" style={{ gridTemplateColumns: "repeat(auto-fit, minmax(120px, 1fr))" }}>
        {PARTS.map((part) => (
          <Statistic key={part} title={texts(LABELS[part])} value={count(found[part].rows)} />
        ))}
      </div>
      {returned > 0 && <Alert type="info" showIcon title={texts("splits.returned", { count: count(returned) })} />}
      {duplicates > 0 && <Alert type="info" showIcon title={texts("splits.duplicates", { count: count(duplicates) })} />}
      {Object.entries(found.values).map(([column, values]) => (
        <Table<Record<string, unknown>>
          key={column}
          size="small"
          pagination={false}
          rowKey={(row) => String(row.value)}
          dataSource={values}
          scroll={{ x: 420 }}
          columns={[
            { title: `${texts("splits.value")}: ${column}`, dataIndex: "value", className: "any", render: String },
            ...PARTS.map((part) => ({
              title: texts(LABELS[part]),
              dataIndex: part,
              align: "end" as const,
              className: "numbers",
              render: (value: unknown) => (typeof value === "number" ? count(value) : "–"),
            })),
          ]}
        />
      ))}
    </>
  );
}
