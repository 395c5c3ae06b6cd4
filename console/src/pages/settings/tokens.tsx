/** One's own tokens: made with what they may do and until when, shown once, revoked. */
import { PlusOutlined } from "@ant-design/icons";
import { useQuery } from "@tanstack/react-query";
import { Button, Checkbox, Form, Input, Select, Table, Tag } from "antd";
import { useState } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { useList } from "../../api/lists";
import { useSession } from "../../app/session";
import { isOver } from "../../logic/days";
import { dateTime } from "../../logic/format";
import { FormDialog, useRequired } from "../../parts/dialog";
import { ErrorBox } from "../../parts/error";
import { Once } from "../../parts/once";
import { More, Nothing, When } from "../../parts/page";
import { useSure } from "../../parts/sure";
import { translateWord, useTexts } from "../../texts/language";
import { Head } from "./part";

type Token = Schemas["TokenRead"];
type Scope = "read" | "write" | "admin";

export function useProjects() {
  return useQuery({
    queryKey: keys.projects,
    queryFn: () => ask(api.GET("/api/v1/projects", { params: { query: { limit: 1000 } } })),
  });
}

export function Tokens() {
  const texts = useTexts();
  const sure = useSure();
  const projects = useProjects();
  const [isOpen, setOpen] = useState(false);
  const [secret, setSecret] = useState<string | null>(null);
  const tokens = useList<Token>(keys.tokens, (after) =>
    ask(api.GET("/api/v1/tokens", { params: { query: { limit: 100, after } } })),
  );
  const revoke = (token: Token) =>
    sure({
      title: texts("tokens.revoke.sure", { name: token.name }),
      okText: texts("tokens.revoke"),
      act: () => ask(api.DELETE("/api/v1/tokens/{token_id}", { params: { path: { token_id: token.id } } })),
      renews: [keys.tokens],
    });
  const nameOf = (id: string | null) =>
    id === null ? texts("tokens.allProjects") : (projects.data?.data.find((each) => each.id === id)?.name ?? id);
  return (
    <>
      <Head about={texts("tokens.about")}>
        <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
          {texts("tokens.create")}
        </Button>
      </Head>
      {tokens.error && <ErrorBox error={tokens.error} again={tokens.again} />}
      <Table<Token>
        rowKey="id"
        size="middle"
        pagination={false}
        loading={tokens.isLoading}
        dataSource={tokens.items}
        scroll={{ x: 860 }}
        locale={{ emptyText: <Nothing text={texts("tokens.none")} /> }}
        columns={[
          { title: texts("tokens.name"), dataIndex: "name", className: "any", width: 180 },
          { title: texts("tokens.prefix"), dataIndex: "prefix", className: "mono", width: 140 },
          {
            title: texts("tokens.scopes"),
            dataIndex: "scopes",
            render: (scopes: string[]) => scopes.map((each) => <Tag key={each}>{translateWord("scope", each)}</Tag>),
          },
          { title: texts("tokens.project"), dataIndex: "project_id", className: "any", render: nameOf },
          { title: texts("tokens.expires"), dataIndex: "expires_at", render: (time: string | null) => <Expires time={time} /> },
          { title: texts("tokens.lastUsed"), dataIndex: "last_used_at", render: (time: string | null) => <When time={time} /> },
          {
            key: "do",
            width: 100,
            render: (_, token) => (
              <Button size="small" danger onClick={() => revoke(token)}>
                {texts("tokens.revoke")}
              </Button>
            ),
          },
        ]}
      />
      <More list={tokens} />
      {isOpen && <Create onClose={() => setOpen(false)} onMade={setSecret} />}
      {secret && (
        <Once title={texts("tokens.create")} about={texts("tokens.secret")} secret={secret} onClose={() => setSecret(null)} />
      )}
    </>
  );
}

function Expires({ time }: { time: string | null }) {
  const texts = useTexts();
  if (time === null) return <>{texts("tokens.never")}</>;
  if (isOver(time)) return <Tag color="error">{texts("tokens.expired")}</Tag>;
  return <>{dateTime(time)}</>;
}

interface Written {
  name: string;
  scopes: Scope[];
  project_id?: string;
  lifetime_days: number;
}

const NEVER = 0;

function Create({ onClose, onMade }: { onClose: () => void; onMade: (secret: string) => void }) {
  const texts = useTexts();
  const required = useRequired();
  const projects = useProjects();
  const { me } = useSession();
  const scopes = (["read", "write", "admin"] as const).filter((each) => me.scopes.includes(each));
  const days = [7, 30, 90, 365];
  return (
    <FormDialog<Written, Schemas["TokenCreated"]>
      title={texts("tokens.create")}
      okText={texts("action.create")}
      initial={{ scopes: scopes.filter((each) => each !== "admin"), lifetime_days: 90 }}
      send={({ lifetime_days, ...rest }) =>
        ask(api.POST("/api/v1/tokens", { body: { ...rest, lifetime_days: lifetime_days === NEVER ? null : lifetime_days } }))
      }
      renews={[keys.tokens]}
      onDone={(made) => onMade(made.secret)}
      onClose={onClose}
    >
      <Form.Item name="name" label={texts("tokens.name")} rules={required}>
        <Input autoFocus maxLength={100} />
      </Form.Item>
      <Form.Item name="scopes" label={texts("tokens.scopes")} rules={required}>
        <Checkbox.Group options={scopes.map((value) => ({ value, label: translateWord("scope", value) }))} />
      </Form.Item>
      <Form.Item name="project_id" label={texts("tokens.project")}>
        <Select
          allowClear
          showSearch={{ optionFilterProp: "label" }}
          placeholder={texts("tokens.allProjects")}
          options={projects.data?.data.map((each) => ({ value: each.id, label: each.name })) ?? []}
        />
      </Form.Item>
      <Form.Item name="lifetime_days" label={texts("tokens.lifetime")}>
        <Select
          options={[
            ...days.map((value) => ({ value, label: texts("tokens.days", { count: value }) })),
            { value: NEVER, label: texts("tokens.never") },
          ]}
        />
      </Form.Item>
    </FormDialog>
  );
}
