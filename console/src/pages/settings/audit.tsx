/** Who did what: for administrators everything, for admins of a project what happened in it. */
import { useQuery } from "@tanstack/react-query";
import { Input, Select, Table } from "antd";
import { useDeferredValue, useState } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { useList } from "../../api/lists";
import { useSession } from "../../app/session";
import { dateTime } from "../../logic/format";
import { beginOf, endOf } from "../../logic/days";
import { ErrorBox } from "../../parts/error";
import { More, Nothing } from "../../parts/page";
import { useTexts } from "../../texts/language";
import { Head } from "./part";
import { useProjects } from "./tokens";
import { useUsers } from "./users";

type Entry = Schemas["AuditRead"];

interface Filter {
  project?: string;
  user?: string;
  action: string;
  target: string;
  from: string;
  until: string;
}

export function Audit() {
  const texts = useTexts();
  const { me, projectId } = useSession();
  const isAdmin = me.user.is_admin;
  const [filter, setFilter] = useState<Filter>({ action: "", target: "", from: "", until: "" });
  const asked = useDeferredValue(filter);
  const query = {
    limit: 100,
    project_id: asked.project ?? (isAdmin ? undefined : projectId),
    user_id: asked.user,
    action: asked.action.trim() || undefined,
    target: asked.target.trim() || undefined,
    since: beginOf(asked.from),
    until: endOf(asked.until),
  };
  const list = useList<Entry>([...keys.audit, query], (after) =>
    ask(api.GET("/api/v1/audit", { params: { query: { ...query, after } } })),
  );
  const names = useNames();
  return (
    <>
      <Head about={texts("audit.about")} />
      <Filters filter={filter} change={(part) => setFilter({ ...filter, ...part })} />
      {list.error && <ErrorBox error={list.error} again={list.again} />}
      <Table<Entry>
        rowKey="id"
        size="small"
        pagination={false}
        loading={list.isLoading}
        dataSource={list.items}
        scroll={{ x: 860 }}
        locale={{ emptyText: <Nothing text={texts("audit.none")} /> }}
        expandable={{
          expandedRowRender: (entry) => <pre className="yaml mono">{JSON.stringify(entry.details, null, 2)}</pre>,
          rowExpandable: (entry) => Object.keys(entry.details).length > 0,
        }}
        columns={[
          { title: texts("audit.time"), dataIndex: "time", width: 190, className: "numbers", render: (time: string) => dateTime(time) },
          {
            title: texts("audit.who"),
            dataIndex: "user_id",
            className: "any",
            render: (id: string | null) => (id === null ? texts("audit.system") : (names.get(id) ?? id)),
          },
          { title: texts("audit.action"), dataIndex: "action", className: "mono any" },
          { title: texts("audit.target"), dataIndex: "target", className: "mono any" },
          { title: texts("audit.address"), dataIndex: "address", width: 130, className: "mono any" },
        ]}
      />
      <More list={list} />
    </>
  );
}

/** What users are called, where one may know. */
function useNames(): Map<string, string> {
  const { me, projectId } = useSession();
  const users = useUsers(me.user.is_admin);
  const members = useQuery({
    queryKey: keys.members(projectId),
    queryFn: () =>
      ask(api.GET("/api/v1/projects/{project_id}/members", { params: { path: { project_id: projectId } } })),
    enabled: !me.user.is_admin,
  });
  return new Map([
    [me.user.id, me.user.name],
    ...users.items.map((each) => [each.id, each.name] as const),
    ...(members.data?.data ?? []).map((each) => [each.user_id, each.name] as const),
  ]);
}

function Filters({ filter, change }: { filter: Filter; change: (part: Partial<Filter>) => void }) {
  const texts = useTexts();
  const { me } = useSession();
  const projects = useProjects();
  const names = useNames();
  const managed = projects.data?.data.filter((each) => me.user.is_admin || me.roles[each.id] === "admin") ?? [];
  const day = (name: "from" | "until") => (
    <Input
      type="date"
      style={{ width: 190 }}
      aria-label={texts(`audit.${name}`)}
      prefix={<span className="quiet">{texts(`audit.${name}`)}</span>}
      value={filter[name]}
      onChange={(event) => change({ [name]: event.target.value })}
    />
  );
  return (
    <div className="bar">
      <Select
        allowClear
        showSearch={{ optionFilterProp: "label" }}
        style={{ width: 180 }}
        aria-label={texts("audit.scope")}
        placeholder={texts(me.user.is_admin ? "audit.everywhere" : "nav.project")}
        value={filter.project}
        onChange={(project: string | undefined) => change({ project })}
        options={managed.map((each) => ({ value: each.id, label: each.name }))}
      />
      <Select
        allowClear
        showSearch={{ optionFilterProp: "label" }}
        style={{ width: 160 }}
        aria-label={texts("audit.who")}
        placeholder={texts("audit.anybody")}
        value={filter.user}
        onChange={(user: string | undefined) => change({ user })}
        options={[...names].map(([value, label]) => ({ value, label }))}
      />
      <Input
        allowClear
        style={{ width: 160 }}
        aria-label={texts("audit.action")}
        placeholder={texts("audit.action.help")}
        value={filter.action}
        onChange={(event) => change({ action: event.target.value })}
      />
      <Input
        allowClear
        style={{ width: 180 }}
        aria-label={texts("audit.target")}
        placeholder={texts("audit.target")}
        value={filter.target}
        onChange={(event) => change({ target: event.target.value })}
      />
      {day("from")}
      {day("until")}
    </div>
  );
}
