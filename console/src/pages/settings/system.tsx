/** How the installation is: health, workers, disk, and what the doctor says. */
import { useQuery } from "@tanstack/react-query";
import { Alert, Descriptions, Skeleton, Table, Tag } from "antd";
import type { ReactNode } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { useStorage, useWorkers, type Worker } from "../../api/system";
import { useSession } from "../../app/session";
import { bytes, count, dateTime } from "../../logic/format";
import { DeviceLine, DiskBar } from "../../parts/device";
import { ErrorBox } from "../../parts/error";
import { Nothing, When } from "../../parts/page";
import { translateWord, useLanguage, useTexts } from "../../texts/language";

type Check = Schemas["DoctorCheck"];
const COLOURS = { ok: "success", warning: "warning", error: "error" } as const;

export function System() {
  const texts = useTexts();
  const { me } = useSession();
  return (
    <div className="stack" style={{ gap: 28 }}>
      <Part title={texts("system.health")}>
        <Health />
      </Part>
      <Part title={texts("system.workers")}>
        <Workers />
      </Part>
      <Part title={texts("system.storage")}>
        <Storage />
      </Part>
      <Part title={texts("system.doctor")} about={texts("system.doctor.about")}>
        {me.user.is_admin ? <Doctor /> : <p className="quiet">{texts("system.adminsOnly")}</p>}
      </Part>
    </div>
  );
}

function Part({ title, about, children }: { title: string; about?: string; children: ReactNode }) {
  return (
    <section>
      <h2 className="small-title">{title}</h2>
      {about && <p className="quiet">{about}</p>}
      {children}
    </section>
  );
}

function Health() {
  const texts = useTexts();
  const { language } = useLanguage();
  const health = useQuery({
    queryKey: [...keys.health, language],
    queryFn: () => ask(api.GET("/api/v1/health")),
    refetchInterval: 15_000,
  });
  if (health.error && !health.data) return <ErrorBox error={health.error} again={() => void health.refetch()} />;
  if (!health.data) return <Skeleton active />;
  const { read_only_since: since, version, database, time, warnings = [] } = health.data;
  return (
    <div className="stack">
      <Descriptions
        column={{ xs: 1, md: 2, xl: 4 }}
        items={[
          {
            key: "state",
            label: texts("system.state"),
            children: since ? (
              <Tag color="error">{texts("system.readOnly", { time: dateTime(since) })}</Tag>
            ) : (
              <Tag color="success">{texts("system.ok")}</Tag>
            ),
          },
          { key: "version", label: texts("system.version"), children: version },
          { key: "database", label: texts("system.database"), children: database },
          { key: "time", label: texts("system.time"), children: dateTime(time) },
        ]}
      />
      {warnings.map((each) => (
        <Alert key={each.code} type="warning" showIcon title={each.message} description={each.hint} />
      ))}
    </div>
  );
}

function Workers() {
  const texts = useTexts();
  const workers = useWorkers();
  if (workers.error && !workers.data) return <ErrorBox error={workers.error} again={() => void workers.refetch()} />;
  return (
    <Table<Worker>
      rowKey="id"
      size="middle"
      pagination={false}
      loading={workers.isLoading}
      dataSource={workers.data?.data ?? []}
      scroll={{ x: 720 }}
      locale={{ emptyText: <Nothing text={texts("system.noWorkers")} /> }}
      columns={[
        {
          title: texts("job.name"),
          dataIndex: "name",
          width: 200,
          render: (name: string, worker) => (
            <>
              <strong className="any">{name}</strong>
              <div className="quiet any">{worker.host}</div>
            </>
          ),
        },
        {
          title: texts("notices.state"),
          key: "state",
          width: 120,
          render: (_, worker) => <State worker={worker} />,
        },
        {
          title: texts("job.devices"),
          dataIndex: "devices",
          render: (devices: Worker["devices"]) => (
            <div className="stack" style={{ gap: 8 }}>
              {devices.map((each) => (
                <DeviceLine key={each.index} device={each} />
              ))}
            </div>
          ),
        },
        { title: texts("system.version"), dataIndex: "version", width: 100 },
        { title: texts("system.seen"), dataIndex: "seen_at", width: 130, render: (time: string) => <When time={time} /> },
      ]}
    />
  );
}

function State({ worker }: { worker: Worker }) {
  const texts = useTexts();
  if (!worker.is_running)
    return <Tag color={worker.accepts_jobs ? "error" : "default"}>{texts("system.worker.lost")}</Tag>;
  if (!worker.accepts_jobs) return <Tag color="warning">{texts("system.worker.draining")}</Tag>;
  return <Tag color="success">{texts("system.worker.running")}</Tag>;
}

function Storage() {
  const texts = useTexts();
  const storage = useStorage();
  if (storage.error && !storage.data) return <ErrorBox error={storage.error} again={() => void storage.refetch()} />;
  if (!storage.data) return <Skeleton active paragraph={{ rows: 2 }} />;
  return (
    <div className="stack" style={{ maxWidth: 720 }}>
      <DiskBar storage={storage.data} />
      {storage.data.parts.length > 0 && (
        <Descriptions
          column={{ xs: 2, md: 4 }}
          layout="vertical"
          colon={false}
          items={storage.data.parts.map((each) => ({
            key: each.name,
            label: `${translateWord("stored", each.name)} (${count(each.count)})`,
            children: <span className="numbers">{bytes(each.bytes)}</span>,
          }))}
        />
      )}
      {storage.data.parts.length === 0 && <p className="quiet">{texts("system.adminsOnly")}</p>}
    </div>
  );
}

function Doctor() {
  useTexts();
  const doctor = useQuery({ queryKey: keys.doctor, queryFn: () => ask(api.GET("/api/v1/doctor")) });
  if (doctor.error && !doctor.data) return <ErrorBox error={doctor.error} again={() => void doctor.refetch()} />;
  if (!doctor.data) return <Skeleton active />;
  return (
    <Table<Check>
      rowKey={(check) => `${check.name} ${check.detail}`}
      size="small"
      showHeader={false}
      pagination={false}
      dataSource={doctor.data.checks}
      columns={[
        {
          dataIndex: "status",
          width: 90,
          render: (status: Check["status"]) => <Tag color={COLOURS[status]}>{translateWord("check", status)}</Tag>,
        },
        { dataIndex: "name", width: 110, className: "mono" },
        {
          dataIndex: "detail",
          render: (detail: string, check) => (
            <>
              <span className="any">{detail}</span>
              {check.mend && <div className="quiet any">{check.mend}</div>}
            </>
          ),
        },
      ]}
    />
  );
}
