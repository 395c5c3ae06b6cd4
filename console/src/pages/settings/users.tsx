/** Users: who may sign in, whether they administrate, and their limits. */
import { PlusOutlined } from "@ant-design/icons";
import { Button, Form, Input, InputNumber, Select, Space, Switch, Table, Tag } from "antd";
import { useState } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { useList } from "../../api/lists";
import { useSession } from "../../app/session";
import { FormDialog, useRequired } from "../../parts/dialog";
import { ErrorBox } from "../../parts/error";
import { More, Nothing, When } from "../../parts/page";
import { useSure } from "../../parts/sure";
import { changesOf, limitsOf, type Limits } from "../../logic/limits";
import { useLanguage, useTexts } from "../../texts/language";
import { Head } from "./part";
import { useProjects } from "./tokens";

type User = Schemas["UserRead"];

export function useUsers(enabled = true) {
  return useList<User>(
    keys.users,
    (after) => ask(api.GET("/api/v1/users", { params: { query: { limit: 100, after } } })),
    { enabled },
  );
}

export function Users() {
  const texts = useTexts();
  const { me } = useSession();
  const sure = useSure();
  const users = useUsers();
  const [opened, setOpened] = useState<User | "new" | null>(null);
  const turn = (user: User, disabled: boolean) =>
    ask(api.PATCH("/api/v1/users/{user_id}", { params: { path: { user_id: user.id } }, body: { disabled } }));
  const ends = (user: User) =>
    sure({
      title: texts(user.disabled_at ? "users.enable" : "users.disable.sure", { name: user.name }),
      ...(user.disabled_at ? { content: user.name } : {}),
      danger: !user.disabled_at,
      okText: texts(user.disabled_at ? "users.enable" : "users.disable"),
      act: () => turn(user, !user.disabled_at),
      renews: [keys.users],
    });
  return (
    <>
      <Head about={texts("users.about")}>
        <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpened("new")}>
          {texts("users.create")}
        </Button>
      </Head>
      {users.error && <ErrorBox error={users.error} again={users.again} />}
      <Table<User>
        rowKey="id"
        size="middle"
        pagination={false}
        loading={users.isLoading}
        dataSource={users.items}
        scroll={{ x: 760 }}
        locale={{ emptyText: <Nothing text={texts("audit.none")} /> }}
        columns={[
          {
            title: texts("account.name"),
            dataIndex: "name",
            width: 260,
            render: (name: string, user) => (
              <>
                <span className="any">{name}</span> {user.is_admin && <Tag color="processing">{texts("users.admin")}</Tag>}
                {user.email && <div className="quiet any">{user.email}</div>}
              </>
            ),
          },
          {
            title: texts("notices.state"),
            key: "state",
            render: (_, user) => (
              <Tag color={user.disabled_at ? "default" : "success"}>
                {texts(user.disabled_at ? "users.disabled" : "users.active")}
              </Tag>
            ),
          },
          { title: texts("users.lastLogin"), dataIndex: "last_login_at", render: (time: string | null) => <When time={time} /> },
          { title: texts("job.created"), dataIndex: "created_at", render: (time: string) => <When time={time} /> },
          {
            key: "do",
            width: 190,
            render: (_, user) => (
              <Space>
                <Button size="small" onClick={() => setOpened(user)}>
                  {texts("action.edit")}
                </Button>
                {user.id !== me.user.id && (
                  <Button size="small" danger={!user.disabled_at} onClick={() => ends(user)}>
                    {texts(user.disabled_at ? "users.enable" : "users.disable")}
                  </Button>
                )}
              </Space>
            ),
          },
        ]}
      />
      <More list={users} />
      {opened === "new" && <Create onClose={() => setOpened(null)} />}
      {opened !== null && opened !== "new" && <Change user={opened} onClose={() => setOpened(null)} />}
    </>
  );
}

interface Written extends Limits {
  name: string;
  email?: string;
  password?: string;
  is_admin: boolean;
  project_ids?: string[];
}

function Create({ onClose }: { onClose: () => void }) {
  const texts = useTexts();
  const { language } = useLanguage();
  const required = useRequired();
  const projects = useProjects();
  const make = ({ name, email, password, is_admin, project_ids, ...limits }: Written) =>
    ask(
      api.POST("/api/v1/users", {
        body: {
          name,
          language,
          is_admin,
          project_ids: project_ids ?? [],
          email: email || null,
          password: password || null,
          ...limitsOf(limits),
        },
      }),
    );
  return (
    <FormDialog<Written>
      title={texts("users.create")}
      okText={texts("action.create")}
      initial={{ is_admin: false }}
      send={make}
      renews={[keys.users]}
      onClose={onClose}
    >
      <Form.Item name="name" label={texts("account.name")} extra={texts("users.name.help")} rules={required}>
        <Input autoFocus maxLength={100} autoComplete="off" />
      </Form.Item>
      <Shared />
      <Form.Item name="project_ids" label={texts("users.projects")}>
        <Select
          mode="multiple"
          showSearch={{ optionFilterProp: "label" }}
          options={projects.data?.data.map((each) => ({ value: each.id, label: each.name })) ?? []}
        />
      </Form.Item>
      <LimitFields />
    </FormDialog>
  );
}

function Change({ user, onClose }: { user: User; onClose: () => void }) {
  const { me } = useSession();
  const texts = useTexts();
  const change = (written: Omit<Written, "name">) =>
    ask(
      api.PATCH("/api/v1/users/{user_id}", {
        params: { path: { user_id: user.id } },
        body: changesOf(user, written),
      }),
    );
  return (
    <FormDialog<Omit<Written, "name">>
      title={user.name}
      okText={texts("action.save")}
      initial={{
        is_admin: user.is_admin,
        ...(user.email ? { email: user.email } : {}),
        running_jobs: user.quota_running_jobs,
        device_hours: user.quota_device_hours,
        storage_gb: user.quota_storage_bytes === null ? null : user.quota_storage_bytes / 1e9,
        credit: user.credit_cents === null ? null : user.credit_cents / 100,
      }}
      send={change}
      renews={[keys.users, ...(user.id === me.user.id ? [keys.me] : [])]}
      onClose={onClose}
    >
      <Shared />
      <LimitFields />
    </FormDialog>
  );
}

function Shared() {
  const texts = useTexts();
  return (
    <>
      <Form.Item name="email" label={texts("account.email")}>
        <Input type="email" autoComplete="off" />
      </Form.Item>
      <Form.Item name="password" label={texts("account.password.new")} extra={texts("users.password.help")}>
        <Input.Password autoComplete="new-password" />
      </Form.Item>
      <Form.Item name="is_admin" label={texts("users.admin")} valuePropName="checked">
        <Switch aria-label={texts("users.admin")} />
      </Form.Item>
    </>
  );
}

function LimitFields() {
  const texts = useTexts();
  return (
    <fieldset className="fields">
      <legend className="quiet">{texts("users.limits")}</legend>
      <div className="columns" style={{ rowGap: 0, gridTemplateColumns: "1fr 1fr" }}>
        <Form.Item name="running_jobs" label={texts("users.running_jobs")}>
          <InputNumber min={0} precision={0} style={{ width: "100%" }} />
        </Form.Item>
        <Form.Item name="device_hours" label={texts("users.device_hours")}>
          <InputNumber min={0} style={{ width: "100%" }} />
        </Form.Item>
        <Form.Item name="storage_gb" label={texts("users.storage_gb")}>
          <InputNumber min={0} style={{ width: "100%" }} />
        </Form.Item>
        <Form.Item name="credit" label={texts("users.credit")}>
          <InputNumber precision={2} style={{ width: "100%" }} />
        </Form.Item>
      </div>
    </fieldset>
  );
}
