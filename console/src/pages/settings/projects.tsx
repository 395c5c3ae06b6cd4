/** Projects, and who is in them. */
import { PlusOutlined } from "@ant-design/icons";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Button, Drawer, Form, Input, InputNumber, Select, Space, Table, Tag } from "antd";
import { useState } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { FormDialog, useRequired } from "../../parts/dialog";
import { ErrorBox } from "../../parts/error";
import { Nothing, When } from "../../parts/page";
import { useSure } from "../../parts/sure";
import { translateWord, useTexts } from "../../texts/language";
import { Head } from "./part";
import { useProjects } from "./tokens";
import { useQuiet } from "../../logic/quiet";

type Project = Schemas["ProjectRead"];
type Member = Schemas["MemberRead"];
const ROLES = ["viewer", "member", "admin"] as const;
type Role = (typeof ROLES)[number];

export function Projects() {
  const texts = useTexts();
  const { me } = useSession();
  const sure = useSure();
  const projects = useProjects();
  const [opened, setOpened] = useState<Project | "new" | null>(null);
  const [members, setMembers] = useState<Project | null>(null);
  const manages = (project: Project) => me.user.is_admin || me.roles[project.id] === "admin";
  const archive = (project: Project) =>
    sure({
      title: project.archived_at ? texts("projects.unarchive") : texts("projects.archive.sure", { name: project.name }),
      ...(project.archived_at ? { content: project.name } : {}),
      danger: !project.archived_at,
      okText: texts(project.archived_at ? "projects.unarchive" : "projects.archive"),
      act: () =>
        ask(
          api.PATCH("/api/v1/projects/{project_id}", {
            params: { path: { project_id: project.id } },
            body: { archived: !project.archived_at },
          }),
        ),
      renews: [keys.projects, keys.me],
    });
  return (
    <>
      <Head about={texts("projects.about")}>
        {me.user.is_admin && (
          <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpened("new")}>
            {texts("projects.create")}
          </Button>
        )}
      </Head>
      <ErrorBox error={projects.error} again={() => void projects.refetch()} />
      <Table<Project>
        rowKey="id"
        size="middle"
        pagination={false}
        loading={projects.isLoading}
        dataSource={projects.data?.data ?? []}
        scroll={{ x: 760 }}
        locale={{ emptyText: <Nothing text={texts("projects.none")} /> }}
        columns={[
          {
            title: texts("job.name"),
            dataIndex: "name",
            render: (name: string, project) => (
              <>
                <span className="any">{name}</span> {project.archived_at && <Tag>{texts("projects.archived")}</Tag>}
                {project.description && <div className="quiet any">{project.description}</div>}
              </>
            ),
          },
          {
            title: texts("account.role"),
            key: "role",
            width: 100,
            render: (_, project) =>
              translateWord("role", me.user.is_admin ? "admin" : (me.roles[project.id] ?? "viewer")),
          },
          { title: texts("projects.weight"), dataIndex: "weight", width: 80, className: "numbers" },
          { title: texts("job.created"), dataIndex: "created_at", width: 120, render: (time: string) => <When time={time} /> },
          {
            key: "do",
            width: 240,
            render: (_, project) => (
              <Space>
                <Button size="small" onClick={() => setMembers(project)}>
                  {texts("projects.members")}
                </Button>
                {manages(project) && (
                  <>
                    <Button size="small" onClick={() => setOpened(project)}>
                      {texts("action.edit")}
                    </Button>
                    <Button size="small" danger={!project.archived_at} onClick={() => archive(project)}>
                      {texts(project.archived_at ? "projects.unarchive" : "projects.archive")}
                    </Button>
                  </>
                )}
              </Space>
            ),
          },
        ]}
      />
      {opened && <Edit project={opened === "new" ? null : opened} onClose={() => setOpened(null)} />}
      {members && <Members project={members} manages={manages(members)} onClose={() => setMembers(null)} />}
    </>
  );
}

interface Written {
  name: string;
  description?: string;
  weight?: number;
}

function Edit({ project, onClose }: { project: Project | null; onClose: () => void }) {
  const texts = useTexts();
  const { me } = useSession();
  const required = useRequired();
  const send = (written: Written) =>
    project === null
      ? ask(api.POST("/api/v1/projects", { body: { name: written.name, description: written.description ?? "" } }))
      : ask(
          api.PATCH("/api/v1/projects/{project_id}", { params: { path: { project_id: project.id } }, body: written }),
        );
  return (
    <FormDialog<Written>
      title={project?.name ?? texts("projects.create")}
      okText={texts(project ? "action.save" : "action.create")}
      initial={project ? { name: project.name, description: project.description, weight: project.weight } : {}}
      send={send}
      renews={[keys.projects, keys.me]}
      onClose={onClose}
    >
      <Form.Item name="name" label={texts("job.name")} rules={required}>
        <Input autoFocus maxLength={100} />
      </Form.Item>
      <Form.Item name="description" label={texts("projects.description")}>
        <Input.TextArea rows={2} maxLength={10_000} />
      </Form.Item>
      {project && me.user.is_admin && (
        <Form.Item name="weight" label={texts("projects.weight")} extra={texts("projects.weight.help")}>
          <InputNumber min={0.01} max={1000} step={0.5} />
        </Form.Item>
      )}
    </FormDialog>
  );
}

interface MembersProps {
  project: Project;
  manages: boolean;
  onClose: () => void;
}

function Members({ project, manages, onClose }: MembersProps) {
  const texts = useTexts();
  const sure = useSure();
  const client = useQueryClient();
  const path = { project_id: project.id };
  const queryKey = keys.members(project.id);
  const members = useQuery({
    queryKey,
    queryFn: () => ask(api.GET("/api/v1/projects/{project_id}/members", { params: { path } })),
  });
  const set = useMutation({
    mutationFn: ({ user, role }: { user: string; role: Role }) =>
      ask(
        api.PUT("/api/v1/projects/{project_id}/members/{user_id}", {
          params: { path: { ...path, user_id: user } },
          body: { role },
        }),
      ),
    onSuccess: () => client.invalidateQueries({ queryKey }),
  });
  const remove = (member: Member) =>
    sure({
      title: texts("projects.remove.sure", { name: member.name }),
      okText: texts("action.remove"),
      act: () =>
        ask(
          api.DELETE("/api/v1/projects/{project_id}/members/{user_id}", {
            params: { path: { ...path, user_id: member.user_id } },
          }),
        ),
      renews: [queryKey],
    });
  return (
    <Drawer open size="min(640px, 100vw)" title={texts("projects.membersOf", { name: project.name })} onClose={onClose}>
      <div className="stack">
        {manages && <Add project={project.id} busy={set.isPending} add={(user, role) => set.mutate({ user, role })} />}
        <ErrorBox error={members.error ?? set.error} />
        <Table<Member>
          rowKey="user_id"
          size="middle"
          pagination={false}
          loading={members.isLoading}
          dataSource={members.data?.data ?? []}
          scroll={{ x: 420 }}
          locale={{ emptyText: <Nothing text={texts("projects.noMembers")} /> }}
          columns={[
            { title: texts("account.name"), dataIndex: "name", className: "any" },
            {
              title: texts("account.role"),
              dataIndex: "role",
              width: 150,
              render: (role: Role, member) =>
                manages ? (
                  <RoleSelect label={`${texts("account.role")} ${member.name}`} role={role} onChange={(next) => set.mutate({ user: member.user_id, role: next })} />
                ) : (
                  translateWord("role", role)
                ),
            },
            {
              key: "do",
              width: 100,
              render: (_, member) =>
                manages && (
                  <Button size="small" danger onClick={() => remove(member)}>
                    {texts("action.remove")}
                  </Button>
                ),
            },
          ]}
        />
      </div>
    </Drawer>
  );
}

function RoleSelect({ label, role, onChange }: { label: string; role: Role; onChange: (role: Role) => void }) {
  useTexts();
  return (
    <Select<Role>
      aria-label={label}
      style={{ width: 130 }}
      value={role}
      onChange={onChange}
      options={ROLES.map((value) => ({ value, label: translateWord("role", value) }))}
    />
  );
}

/** Whoever manages a project finds users by their name. */
function Add({ project, busy, add }: { project: string; busy: boolean; add: (user: string, role: Role) => void }) {
  const texts = useTexts();
  const [text, setText] = useState("");
  const [user, setUser] = useState("");
  const [role, setRole] = useState<Role>("member");
  const quiet = useQuiet(text.trim(), 250);
  const found = useQuery({
    queryKey: [...keys.members(project), "candidates", quiet],
    queryFn: () =>
      ask(
        api.GET("/api/v1/projects/{project_id}/candidates", {
          params: { path: { project_id: project }, query: { text: quiet } },
        }),
      ),
    enabled: quiet !== "",
    placeholderData: (old) => old,
  });
  const done = () => {
    add(user, role);
    setUser("");
    setText("");
  };
  return (
    <div>
      <div className="row">
        <Select
          showSearch={{ filterOption: false, onSearch: setText }}
          style={{ flex: "1 1 200px" }}
          aria-label={texts("projects.member")}
          placeholder={texts("projects.member")}
          loading={found.isFetching}
          value={user || null}
          onChange={(value: string | null) => setUser(value ?? "")}
          notFoundContent={texts(quiet && found.isSuccess ? "projects.member.none" : "projects.member.type")}
          options={quiet ? (found.data?.data.map((each) => ({ value: each.user_id, label: each.name })) ?? []) : []}
        />
        <RoleSelect label={texts("account.role")} role={role} onChange={setRole} />
        <Button type="primary" disabled={!user} loading={busy} onClick={done}>
          {texts("projects.addMember")}
        </Button>
      </div>
      <ErrorBox error={found.error} />
    </div>
  );
}
