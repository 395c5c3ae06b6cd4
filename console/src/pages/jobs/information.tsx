/** What a job is, what it was given, and who worked on it. */
import { Descriptions, Table, Tag, Typography } from "antd";
import { Link } from "react-router";
import type { JobDetails } from "../../api/jobs";
import { besideExpected } from "../../logic/expected";
import { bytes, count, dateTime, duration, price, short } from "../../logic/format";
import { translateWord, useTexts } from "../../texts/language";

export function Information({ job }: { job: JobDetails }) {
  const texts = useTexts();
  const seconds = job.attempts.reduce((sum, each) => sum + each.device_seconds, 0);
  const cents = job.attempts.reduce((sum, each) => sum + each.charged_cents, 0);
  const expected = job.expected;
  const isWhole = job.status === "succeeded"; // only then is an error of the estimate one
  const facts = [
    { key: "id", label: texts("job.id"), children: <Typography.Text copyable className="mono">{job.id}</Typography.Text> },
    {
      key: "base",
      label: texts("job.base"),
      children: job.base_model_id ? <Link to={`/models/${job.base_model_id}`}>{job.base}</Link> : job.base,
    },
    { key: "flavour", label: texts("job.flavour"), children: job.flavour || texts("job.anyFlavour") },
    { key: "devices", label: texts("job.devices"), children: count(job.num_devices) },
    { key: "priority", label: texts("job.priority"), children: job.priority },
    { key: "loss", label: texts("job.loss"), children: short(job.loss) },
    { key: "tokens", label: texts("job.tokens"), children: job.trained_tokens === null ? "–" : count(job.trained_tokens) },
    { key: "seconds", label: texts("job.deviceTime"), children: besideExpected(duration, seconds, expected && expected.seconds * job.num_devices, isWhole) },
    ...(job.peak_memory_bytes !== null || expected?.memory_bytes
      ? [{ key: "memory", label: texts("job.memory"), children: besideExpected(bytes, job.peak_memory_bytes, expected?.memory_bytes, isWhole) }]
      : []),
    { key: "cents", label: texts("job.price"), children: besideExpected(price, cents, expected?.price_cents, isWhole) },
    { key: "created", label: texts("job.created"), children: dateTime(job.created_at) },
    { key: "started", label: texts("job.started"), children: job.started_at ? dateTime(job.started_at) : "–" },
    { key: "finished", label: texts("job.finished"), children: job.finished_at ? dateTime(job.finished_at) : "–" },
    ...(job.reason ? [{ key: "reason", label: texts("job.reason"), children: translateWord("reason", job.reason) }] : []),
    ...(job.parent_id
      ? [{ key: "parent", label: texts("job.parent"), children: <Link to={`/jobs/${job.parent_id}`}>{job.parent_id}</Link> }]
      : []),
    ...(job.labels
      ? [
          {
            key: "labels",
            label: texts("job.labels"),
            children: Object.entries(job.labels).map(([name, value]) => (
              <Tag key={name}>
                {name}: {value}
              </Tag>
            )),
          },
        ]
      : []),
  ];
  return (
    <div className="stack">
      <Descriptions column={{ xs: 1, md: 2, xl: 3 }} items={facts} styles={{ content: { overflowWrap: "anywhere" } }} />
      {job.attempts.length > 1 && <Attempts job={job} />}
    </div>
  );
}

function Attempts({ job }: { job: JobDetails }) {
  const texts = useTexts();
  return (
    <Table
      rowKey="number"
      size="small"
      pagination={false}
      scroll={{ x: 600 }}
      dataSource={job.attempts}
      columns={[
        { title: texts("attempt.number"), dataIndex: "number", width: 80 },
        { title: texts("attempt.began"), dataIndex: "claimed_at", render: (time: string) => dateTime(time) },
        { title: texts("attempt.time"), dataIndex: "device_seconds", render: (value: number) => duration(value) },
        { title: texts("attempt.outcome"), dataIndex: "outcome", render: (word: string) => translateWord("status", word) },
        { title: texts("job.reason"), dataIndex: "reason", render: (word: string) => translateWord("reason", word) },
      ]}
    />
  );
}
