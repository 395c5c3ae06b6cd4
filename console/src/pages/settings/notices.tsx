/** Subscriptions: where somebody is told what, a test of each, and the log of what was sent. */
import { MoreOutlined, PlusOutlined } from "@ant-design/icons";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { App, Button, Dropdown, Form, Input, Select, Space, Table, Tag } from "antd";
import { useState } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { useList } from "../../api/lists";
import { useSession } from "../../app/session";
import { dateTime } from "../../logic/format";
import { FormDialog, useRequired } from "../../parts/dialog";
import { ErrorBox } from "../../parts/error";
import { Once } from "../../parts/once";
import { More, Nothing } from "../../parts/page";
import { useSure } from "../../parts/sure";
import { translateWord, useLanguage, useTexts } from "../../texts/language";
import { Deliveries } from "./deliveries";
import { Head } from "./part";

type Subscription = Schemas["SubscriptionRead"];
const CHANNELS = ["mail", "sms", "wecom", "dingtalk", "feishu", "slack", "webhook"] as const;
const EVENTS = [
  "job.queued",
  "job.started",
  "job.requeued",
  "job.paused",
  "job.succeeded",
  "job.failed",
  "job.cancelled",
  "deployment.started",
  "deployment.failed",
];

export function Notices() {
  const texts = useTexts();
  const { projectId, mayWrite } = useSession();
  const [isOpen, setOpen] = useState(false);
  const [changed, setChanged] = useState<Subscription | null>(null);
  const [log, setLog] = useState<Subscription | null>(null);
  const [secret, setSecret] = useState<string | null>(null);
  const list = useList<Subscription>([...keys.subscriptions, projectId], (after) =>
    ask(api.GET("/api/v1/subscriptions", { params: { query: { project_id: projectId, limit: 100, after } } })),
  );
  return (
    <>
      <Head about={texts("notices.about")}>
        {mayWrite && (
          <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
            {texts("notices.create")}
          </Button>
        )}
      </Head>
      {list.error && <ErrorBox error={list.error} again={list.again} />}
      <Table<Subscription>
        rowKey="id"
        size="middle"
        pagination={false}
        loading={list.isLoading}
        dataSource={list.items}
        scroll={{ x: 820 }}
        locale={{ emptyText: <Nothing text={texts("notices.none")} /> }}
        columns={[
          { title: texts("notices.channel"), dataIndex: "channel", width: 110, render: (name: string) => translateWord("channel", name) },
          {
            title: texts("notices.address"),
            dataIndex: "address",
            render: (address: string, each) => (
              <>
                <span className="mono any">{address}</span>
                {each.job_id && <div className="quiet any">{texts("notices.job", { id: each.job_id })}</div>}
              </>
            ),
          },
          {
            title: texts("notices.events"),
            dataIndex: "events",
            render: (events: string[]) => (
              <div className="row" style={{ gap: 4 }}>
                {events.map((name) => (
                  <Tag key={name}>{translateWord("told", name)}</Tag>
                ))}
              </div>
            ),
          },
          { title: texts("notices.state"), key: "state", width: 120, render: (_, each) => <State subscription={each} /> },
          {
            key: "do",
            width: 270,
            render: (_, each) => (
              <Actions
                subscription={each}
                showLog={() => setLog(each)}
                change={() => setChanged(each)}
                onSecret={setSecret}
                mayWrite={mayWrite}
              />
            ),
          },
        ]}
      />
      <More list={list} />
      {isOpen && <Create onClose={() => setOpen(false)} onSecret={setSecret} />}
      {changed && <Change subscription={changed} onClose={() => setChanged(null)} />}
      {log && <Deliveries subscription={log} onClose={() => setLog(null)} />}
      {secret && (
        <Once title={translateWord("channel", "webhook")} about={texts("notices.secret.once")} secret={secret} onClose={() => setSecret(null)} />
      )}
    </>
  );
}

function State({ subscription: { disabled_at, disabled_reason, failing_since } }: { subscription: Subscription }) {
  const texts = useTexts();
  if (disabled_at)
    return (
      <>
        <Tag>{texts("notices.off")}</Tag>
        {disabled_reason && <div className="quiet any">{disabled_reason}</div>}
      </>
    );
  if (failing_since)
    return (
      <Tag color="error" style={{ whiteSpace: "normal" }}>
        {texts("notices.failing", { time: dateTime(failing_since) })}
      </Tag>
    );
  return <Tag color="success">{texts("notices.on")}</Tag>;
}

interface ActionsProps {
  subscription: Subscription;
  mayWrite: boolean;
  showLog: () => void;
  change: () => void;
  onSecret: (secret: string) => void;
}

function Actions({ subscription, mayWrite, showLog, change, onSecret }: ActionsProps) {
  const texts = useTexts();
  const sure = useSure();
  const client = useQueryClient();
  const { modal, message } = App.useApp();
  const path = { subscription_id: subscription.id };
  const renew = () => client.invalidateQueries({ queryKey: keys.subscriptions });
  const tell = (error: Error, title: string) => modal.error({ title, content: <ErrorBox error={error} />, okText: texts("action.close") });
  const test = useMutation({
    mutationFn: () => ask(api.POST("/api/v1/subscriptions/{subscription_id}/test", { params: { path } })),
    onSuccess: (sent) => {
      const last = sent.tries.at(-1);
      if (sent.state === "sent") void message.success(texts("notices.test.sent"));
      else modal.error({ title: texts("notices.test.failed"), content: <span className="any">{last?.error || last?.outcome}</span>, okText: texts("action.close") });
      void client.invalidateQueries({ queryKey: keys.notices(subscription.id) });
      void renew();
    },
    onError: (error) => tell(error, texts("notices.test.failed")),
  });
  const turn = useMutation({
    mutationFn: () =>
      ask(
        api.PATCH("/api/v1/subscriptions/{subscription_id}", {
          params: { path },
          body: { enabled: Boolean(subscription.disabled_at) },
        }),
      ),
    onSuccess: renew,
    onError: (error) => tell(error, texts("notices.state")),
  });
  const rotate = useMutation({
    mutationFn: () => ask(api.POST("/api/v1/subscriptions/{subscription_id}/secret", { params: { path } })),
    onSuccess: (made) => made.secret && onSecret(made.secret),
    onError: (error) => tell(error, texts("notices.rotate")),
  });
  const remove = () =>
    sure({
      title: texts("notices.delete.sure"),
      content: <span className="any">{subscription.address}</span>,
      okText: texts("action.delete"),
      act: () => ask(api.DELETE("/api/v1/subscriptions/{subscription_id}", { params: { path } })),
      renews: [keys.subscriptions],
    });
  const items = [
    { key: "edit", label: texts("action.edit"), onClick: change },
    { key: "turn", label: texts(subscription.disabled_at ? "notices.turnOn" : "notices.turnOff"), onClick: () => turn.mutate() },
    ...(subscription.channel === "webhook" ? [{ key: "rotate", label: texts("notices.rotate"), onClick: () => rotate.mutate() }] : []),
    { key: "delete", danger: true, label: texts("action.delete"), onClick: remove },
  ];
  return (
    <Space>
      {mayWrite && (
        <Button size="small" loading={test.isPending} onClick={() => test.mutate()}>
          {texts("notices.test")}
        </Button>
      )}
      <Button size="small" onClick={showLog}>
        {texts("notices.log")}
      </Button>
      {mayWrite && (
        <Dropdown menu={{ items }} trigger={["click"]}>
          <Button size="small" icon={<MoreOutlined />} aria-label={`${texts("action.edit")} ${subscription.address}`} />
        </Dropdown>
      )}
    </Space>
  );
}

interface Written {
  channel: (typeof CHANNELS)[number];
  address: string;
  events: string[];
  language: string;
  secret?: string;
}

function Create({ onClose, onSecret }: { onClose: () => void; onSecret: (secret: string) => void }) {
  const texts = useTexts();
  const { language } = useLanguage();
  const { projectId } = useSession();
  const required = useRequired();
  return (
    <FormDialog<Written, Schemas["SubscriptionSecret"]>
      title={texts("notices.create")}
      okText={texts("action.create")}
      initial={{ channel: "mail", events: ["job.succeeded", "job.failed"], language }}
      send={({ secret, ...rest }) =>
        ask(api.POST("/api/v1/subscriptions", { body: { ...rest, project_id: projectId, ...(secret ? { secret } : {}) } }))
      }
      renews={[keys.subscriptions]}
      onDone={(made) => made.channel === "webhook" && made.secret && onSecret(made.secret)}
      onClose={onClose}
    >
      <Form.Item name="channel" label={texts("notices.channel")}>
        <Select options={CHANNELS.map((value) => ({ value, label: translateWord("channel", value) }))} />
      </Form.Item>
      <Form.Item noStyle dependencies={["channel"]}>
        {({ getFieldValue }) => {
          const channel = getFieldValue("channel") as Written["channel"];
          return (
            <>
              <Form.Item name="address" label={texts("notices.address")} rules={required}>
                <Input placeholder={texts(`address.${channel}`)} autoComplete="off" />
              </Form.Item>
              {(channel === "dingtalk" || channel === "feishu") && (
                <Form.Item name="secret" label={texts("notices.secret")} extra={texts("notices.secret.help")}>
                  <Input.Password autoComplete="off" />
                </Form.Item>
              )}
            </>
          );
        }}
      </Form.Item>
      <Shared />
    </FormDialog>
  );
}

function Change({ subscription, onClose }: { subscription: Subscription; onClose: () => void }) {
  const texts = useTexts();
  return (
    <FormDialog<Partial<Written>>
      title={subscription.address}
      okText={texts("action.save")}
      initial={{ events: subscription.events, language: subscription.language }}
      send={({ address, ...rest }) =>
        ask(
          api.PATCH("/api/v1/subscriptions/{subscription_id}", {
            params: { path: { subscription_id: subscription.id } },
            body: { ...rest, ...(address ? { address } : {}) },
          }),
        )
      }
      renews={[keys.subscriptions]}
      onClose={onClose}
    >
      <Form.Item name="address" label={texts("notices.address")}>
        <Input placeholder={subscription.address} autoComplete="off" />
      </Form.Item>
      <Shared />
    </FormDialog>
  );
}

function Shared() {
  const texts = useTexts();
  const required = useRequired();
  return (
    <>
      <Form.Item name="events" label={texts("notices.events")} rules={required}>
        <Select mode="multiple" options={EVENTS.map((value) => ({ value, label: translateWord("told", value) }))} />
      </Form.Item>
      <Form.Item name="language" label={texts("notices.language")}>
        <Select
          options={[
            { value: "en", label: "English" },
            { value: "zh", label: "中文" },
          ]}
        />
      </Form.Item>
    </>
  );
}
