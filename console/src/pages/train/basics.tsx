/** What the job is called, where it runs, and who is told. */
import { DeleteOutlined, PlusOutlined } from "@ant-design/icons";
import { Button, Form, Input, Select, Space } from "antd";
import type { Reminder } from "../../logic/draft";
import { translateWord, useTexts } from "../../texts/language";
import { Compute, DeviceCount } from "./compute";
import type { PageProps } from "./train";

const CHANNELS = ["mail", "webhook", "wecom", "dingtalk", "feishu", "slack", "sms"];

export function BasicsPage(props: PageProps) {
  const texts = useTexts();
  const { draft, change, advice } = props;
  const problem = advice.problems.get("name");
  return (
    <Form layout="vertical" component="div">
      <Form.Item
        label={texts("job.name")}
        htmlFor="name"
        required
        validateStatus={problem ? "error" : ""}
        help={problem}
        extra={texts("train.name.help")}
      >
        <Input id="name" maxLength={100} value={draft.name} onChange={(event) => change({ name: event.target.value })} />
      </Form.Item>
      <Form.Item label={texts("job.description")} htmlFor="description">
        <Input.TextArea
          id="description"
          rows={2}
          maxLength={10_000}
          value={draft.description}
          onChange={(event) => change({ description: event.target.value })}
        />
      </Form.Item>
      <Compute {...props} />
      <Form.Item label={texts("job.devices")} htmlFor="devices" style={{ marginTop: 24 }}>
        <DeviceCount {...props} />
      </Form.Item>
      <Reminders reminders={draft.reminders} onChange={(reminders) => change({ reminders })} />
    </Form>
  );
}

function Reminders({ reminders, onChange }: { reminders: Reminder[]; onChange: (next: Reminder[]) => void }) {
  const texts = useTexts();
  const set = (index: number, next: Partial<Reminder>) =>
    onChange(reminders.map((each, at) => (at === index ? { ...each, ...next } : each)));
  return (
    <Form.Item label={texts("train.reminders")} extra={texts("train.reminders.help")}>
      <div className="stack" style={{ gap: 8 }}>
        {reminders.map((each, index) => (
          <Space.Compact key={index} style={{ width: "100%" }}>
            <Select
              style={{ width: 130 }}
              aria-label={texts("train.channel")}
              value={each.channel}
              onChange={(channel) => set(index, { channel })}
              options={CHANNELS.map((value) => ({ value, label: translateWord("channel", value) }))}
            />
            <Input
              aria-label={texts("train.address")}
              placeholder={texts("train.address")}
              value={each.address}
              onChange={(event) => set(index, { address: event.target.value })}
            />
            <Button
              icon={<DeleteOutlined />}
              aria-label={texts("action.remove")}
              onClick={() => onChange(reminders.filter((_, at) => at !== index))}
            />
          </Space.Compact>
        ))}
        <div>
          <Button icon={<PlusOutlined />} onClick={() => onChange([...reminders, { channel: "mail", address: "" }])}>
            {texts("train.reminders.add")}
          </Button>
        </div>
      </div>
    </Form.Item>
  );
}
