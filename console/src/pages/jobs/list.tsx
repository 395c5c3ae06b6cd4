/** All jobs of the project: where they are, and commands for several at once. */
import { RocketOutlined } from "@ant-design/icons";
import { Button, Card, Grid, Input, Select, Table, type TableColumnsType } from "antd";
import { useDeferredValue, useMemo, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { ACTIVE, FINAL, MOST_COMPARED, useJobs, type Job, type Status } from "../../api/jobs";
import { useSession } from "../../app/session";
import { short } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { More, Nothing, StatusTag, Title, When } from "../../parts/page";
import { JobProgress } from "../../parts/progress";
import { translateWord, useTexts, type Translate } from "../../texts/language";
import { Commands } from "./commands";
import { WaitingJobs } from "./queue";
import { MoreCommands, RowCommands } from "./row";

export default function Jobs() {
  const texts = useTexts();
  const { projectId, mayWrite } = useSession();
  const [search, setSearch] = useSearchParams();
  const [chosen, setChosen] = useState<string[]>([]);
  const status = search.getAll("status") as Status[];
  const written = search.get("text") ?? "";
  const text = useDeferredValue(written);
  const jobs = useJobs({
    project_id: projectId,
    ...(status.length ? { status } : {}),
    ...(text ? { text } : {}),
  });
  const wide = Grid.useBreakpoint().md ?? true;
  const columns = useMemo(() => columnsOf(texts), [texts]);
  const narrow = useMemo(() => narrowColumnsOf(texts), [texts]);
  const change = (name: string, values: string[]) => {
    const next = new URLSearchParams(search);
    next.delete(name);
    for (const value of values) if (value) next.append(name, value);
    setSearch(next, { replace: true });
  };
  const picked = jobs.items.filter((job) => chosen.includes(job.id));

  return (
    <>
      <Title
        title={texts("nav.jobs")}
        about={texts("jobs.about")}
        actions={
          mayWrite && (
            <Link to="/train">
              <Button type="primary" icon={<RocketOutlined />}>
                {texts("nav.train")}
              </Button>
            </Link>
          )
        }
      />
      <div className="bar">
        <Input.Search
          allowClear
          aria-label={texts("jobs.search")}
          placeholder={texts("jobs.search")}
          style={{ width: 260 }}
          value={written}
          onChange={(event) => change("text", [event.target.value])}
        />
        <Select
          mode="multiple"
          allowClear
          maxTagCount="responsive"
          aria-label={texts("jobs.status")}
          placeholder={texts("jobs.status")}
          style={{ minWidth: 200, maxWidth: 360 }}
          value={status}
          onChange={(values: Status[]) => change("status", values)}
          options={[...ACTIVE, ...FINAL].map((value) => ({ value, label: translateWord("status", value) }))}
        />
        {picked.length > 0 && (
          <>
            <span className="grow" />
            <span className="quiet">{texts("jobs.count", { count: picked.length })}</span>
            <CompareButton ids={picked.map((job) => job.id)} />
            <Commands jobs={picked} size="small" onDone={() => setChosen([])} />
          </>
        )}
      </div>
      <WaitingJobs />
      {jobs.error && <ErrorBox error={jobs.error} again={jobs.again} />}
      <Card styles={{ body: { padding: 0 } }}>
        <Table<Job>
          rowKey="id"
          columns={wide ? columns : narrow}
          dataSource={jobs.items}
          loading={jobs.isLoading}
          pagination={false}
          {...(wide ? { scroll: { x: 980 } } : {})}
          {...(mayWrite
            ? { rowSelection: { selectedRowKeys: chosen, onChange: (ids) => setChosen(ids as string[]) } }
            : {})}
          locale={{
            emptyText: (
              <Nothing text={texts(text || status.length ? "jobs.noneFound" : "jobs.none")}>
                {mayWrite && !text && !status.length && (
                  <Link to="/train">
                    <Button type="primary">{texts("nav.train")}</Button>
                  </Link>
                )}
              </Nothing>
            ),
          }}
        />
        <More list={jobs} />
      </Card>
    </>
  );
}

function CompareButton({ ids }: { ids: string[] }) {
  const texts = useTexts();
  if (ids.length < 2) return null;
  if (ids.length > MOST_COMPARED) return <span className="quiet">{texts("compare.most", { most: MOST_COMPARED })}</span>;
  return (
    <Link to={`/jobs/compare?${ids.map((id) => `job=${id}`).join("&")}`}>
      <Button size="small" type="primary" ghost>
        {texts("compare.button")}
      </Button>
    </Link>
  );
}

/** On a telephone all of a job stands below its name; its page tells the rest. */
function narrowColumnsOf(texts: Translate): TableColumnsType<Job> {
  return [
    {
      title: texts("job.name"),
      key: "name",
      render: (_, job) => (
        <div className="stack tight">
          <JobName job={job} />
          <div className="row">
            <StatusTag status={job.status} />
            <span className="quiet">
              <When time={job.created_at} />
            </span>
          </div>
          <JobProgress job={job} />
        </div>
      ),
    },
    {
      title: "",
      key: "operations",
      width: 56,
      render: (_, job) => <MoreCommands job={job} />,
    },
  ];
}

function JobName({ job }: { job: Job }) {
  return (
    <>
      <Link to={`/jobs/${job.id}`} className="any">
        {job.name}
      </Link>
      <div className="quiet any" style={{ fontSize: 12 }}>
        {job.base}
      </div>
    </>
  );
}

function columnsOf(texts: Translate): TableColumnsType<Job> {
  return [
    {
      title: texts("job.name"),
      key: "name",
      width: 220,
      render: (_, job) => <JobName job={job} />,
    },
    {
      title: texts("job.status"),
      dataIndex: "status",
      width: 120,
      render: (status: string) => <StatusTag status={status} />,
    },
    {
      title: texts("job.progress"),
      key: "progress",
      width: 190,
      render: (_, job) => <JobProgress job={job} />,
    },
    {
      title: texts("job.loss"),
      dataIndex: "loss",
      width: 100,
      align: "end",
      className: "numbers",
      render: (loss: number | null) => short(loss),
    },
    {
      title: texts("job.created"),
      dataIndex: "created_at",
      width: 140,
      render: (time: string) => <When time={time} />,
    },
    {
      title: texts("jobs.operations"),
      key: "operations",
      width: 230,
      render: (_, job) => <RowCommands job={job} />,
    },
  ];
}
