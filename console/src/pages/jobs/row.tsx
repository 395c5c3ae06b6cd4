/** The last column of the list: the model of a job, the job, and what it can be made to do. */
import { MoreOutlined } from "@ant-design/icons";
import { App, Button, Dropdown, Space } from "antd";
import { Link, useNavigate } from "react-router";
import { api, ask, refusalOf } from "../../api/client";
import type { Job } from "../../api/jobs";
import { useSession } from "../../app/session";
import { useTexts } from "../../texts/language";
import { isHarsh, useCommands, wordOf } from "./commands";

export function RowCommands({ job }: { job: Job }) {
  const texts = useTexts();
  return (
    <Space size={4}>
      <Link to={`/jobs/${job.id}`}>
        <Button size="small">{texts("jobs.details")}</Button>
      </Link>
      {job.status === "succeeded" && <ViewModel job={job} />}
      <MoreCommands job={job} />
    </Space>
  );
}

/** Lists do not name the model of a job: the job itself does. */
function ViewModel({ job }: { job: Job }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const { message } = App.useApp();
  const view = async () => {
    try {
      const found = await ask(api.GET("/api/v1/jobs/{job_id}", { params: { path: { job_id: job.id } } }));
      if (found.model_id) await navigate(`/models/${found.model_id}`);
      else void message.info(texts("jobs.modelGone"));
    } catch (error) {
      void message.error(refusalOf(error));
    }
  };
  return (
    <Button size="small" onClick={() => void view()}>
      {texts("job.viewModel")}
    </Button>
  );
}

/** What a job can be made to do, in a menu; someone who may only look gets none. */
export function MoreCommands({ job }: { job: Job }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const { mayWrite } = useSession();
  const { possible, begin, pending } = useCommands([job]);
  if (!mayWrite) return null;
  const items = [
    { key: "clone", label: texts("action.clone"), onClick: () => void navigate(`/train?like=${job.id}`) },
    ...possible.map((action) => ({
      key: action,
      label: wordOf(action),
      danger: isHarsh(action),
      onClick: () => begin(action),
    })),
  ];
  return (
    <Dropdown menu={{ items }} trigger={["click"]}>
      <Button
        size="small"
        type="text"
        icon={<MoreOutlined />}
        loading={pending !== null}
        aria-label={texts("jobs.more", { name: job.name })}
      />
    </Dropdown>
  );
}
