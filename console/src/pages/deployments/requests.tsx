/** What a deployment was asked and answered, newest first. */
import { Table, Tag } from "antd";
import { useAsked, type Asked, type Deployment } from "../../api/deployments";
import { count, dateTime, short } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { More, Nothing } from "../../parts/page";
import { translateWord, useTexts } from "../../texts/language";

export function Requests({ deployment }: { deployment: Deployment }) {
  const texts = useTexts();
  const list = useAsked(deployment.id);
  return (
    <>
      <ErrorBox error={list.error} again={list.again} />
      <Table<Asked>
        rowKey="id"
        size="middle"
        loading={list.isLoading}
        dataSource={list.items}
        pagination={false}
        scroll={{ x: 820 }}
        locale={{ emptyText: <Nothing text={texts("asked.none")} /> }}
        expandable={{
          expandedRowRender: (each) => <Texts asked={each} />,
          rowExpandable: (each) => Boolean(each.question ?? each.answer),
        }}
        columns={[
          { title: texts("asked.time"), dataIndex: "time", width: 180, render: (time: string) => dateTime(time) },
          { title: texts("asked.question"), key: "question", ellipsis: true, render: (_, each) => lastQuestion(each) || <span className="quiet">{texts("asked.notKept")}</span> },
          { title: texts("asked.tokens"), key: "tokens", width: 110, align: "end", className: "numbers", render: (_, each) => `${count(each.prompt_tokens)} + ${count(each.completion_tokens)}` },
          { title: texts("asked.first"), dataIndex: "first_token_seconds", width: 100, align: "end", className: "numbers", render: (value: number | null) => seconds(value) },
          { title: texts("asked.seconds"), dataIndex: "seconds", width: 90, align: "end", className: "numbers", render: (value: number) => seconds(value) },
          { title: texts("asked.end"), key: "end", width: 120, render: (_, each) => <End asked={each} /> },
        ]}
      />
      <More list={list} />
    </>
  );
}

function seconds(value: number | null): string {
  return value === null ? "–" : `${short(value, 2)} s`;
}

function End({ asked }: { asked: Asked }) {
  if (asked.status_code >= 400) return <Tag color="error">{asked.status_code}</Tag>;
  return <Tag>{translateWord("finish", asked.finish_reason)}</Tag>;
}

interface Turn {
  role?: string;
  content?: unknown;
}

function textOf(turn: unknown): string {
  const content = typeof turn === "string" ? turn : (turn as Turn | null)?.content;
  return typeof content === "string" ? content : JSON.stringify(content ?? "");
}

function lastQuestion({ question }: Asked): string {
  return question?.length ? textOf(question.at(-1)) : "";
}

function Texts({ asked }: { asked: Asked }) {
  const texts = useTexts();
  return (
    <div className="stack" style={{ gap: 8 }}>
      {(asked.question ?? []).map((turn, at) => (
        <div key={at} className="turn question">
          <div className="quiet">{translateWord("role", (turn as Turn)?.role ?? "user")}</div>
          <div className="said">{textOf(turn)}</div>
        </div>
      ))}
      <div className="turn answer">
        <div className="quiet">{texts("role.assistant")}</div>
        <div className="said">{asked.answer}</div>
      </div>
    </div>
  );
}
