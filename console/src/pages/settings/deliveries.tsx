/** What was sent for a subscription, with every try. */
import { Drawer, Table, Tag } from "antd";
import { api, ask, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { useList } from "../../api/lists";
import { dateTime } from "../../logic/format";
import { ErrorBox } from "../../parts/error";
import { More, Nothing, When } from "../../parts/page";
import { translateWord, useTexts } from "../../texts/language";

type Sent = Schemas["SentNoticeRead"];
const COLOURS = { pending: "processing", sent: "success", failed: "error" } as const;

interface Props {
  subscription: Schemas["SubscriptionRead"];
  onClose: () => void;
}

export function Deliveries({ subscription, onClose }: Props) {
  const texts = useTexts();
  const list = useList<Sent>(keys.notices(subscription.id), (after) =>
    ask(api.GET("/api/v1/notices", { params: { query: { subscription_id: subscription.id, limit: 50, after } } })),
  );
  return (
    <Drawer open size="min(760px, 100vw)" title={`${texts("notices.log")} · ${subscription.address}`} onClose={onClose}>
      {list.error && <ErrorBox error={list.error} again={list.again} />}
      <Table<Sent>
        rowKey="id"
        size="middle"
        pagination={false}
        loading={list.isLoading}
        dataSource={list.items}
        scroll={{ x: 520 }}
        locale={{ emptyText: <Nothing text={texts("notices.log.none")} /> }}
        expandable={{ expandedRowRender: (each) => <Tries sent={each} />, rowExpandable: (each) => each.tries.length > 0 }}
        columns={[
          { title: texts("notices.events"), dataIndex: "event", render: (name: string) => translateWord("told", name) },
          {
            title: texts("notices.state"),
            dataIndex: "state",
            render: (state: Sent["state"]) => <Tag color={COLOURS[state]}>{translateWord("notice", state)}</Tag>,
          },
          { title: texts("notices.tries"), key: "tries", className: "numbers", render: (_, each) => each.tries.length },
          { title: texts("job.created"), dataIndex: "created_at", render: (time: string) => <When time={time} /> },
        ]}
      />
      <More list={list} />
    </Drawer>
  );
}

function Tries({ sent }: { sent: Sent }) {
  const texts = useTexts();
  return (
    <ul style={{ margin: 0 }}>
      {sent.tries.map((each) => (
        <li key={each.number} className="any">
          {texts("notices.tryOf", { number: each.number, time: dateTime(each.time), outcome: each.outcome })}
          {each.status_code !== null && ` (${each.status_code})`}
          {each.error && <div className="quiet">{each.error}</div>}
        </li>
      ))}
    </ul>
  );
}
