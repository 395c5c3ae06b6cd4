/** Jobs that wait, in their order: dragged to another place, or moved with the keys. */
import { ArrowDownOutlined, ArrowUpOutlined, HolderOutlined } from "@ant-design/icons";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Button, Card, Space } from "antd";
import { useState } from "react";
import { Link } from "react-router";
import { api, ask } from "../../api/client";
import { useJobs, type Job } from "../../api/jobs";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { moved, waiting } from "../../logic/queue";
import { ErrorBox } from "../../parts/error";
import { useTexts } from "../../texts/language";

export function WaitingJobs() {
  const texts = useTexts();
  const client = useQueryClient();
  const { projectId, mayWrite } = useSession();
  const queued = useJobs({ project_id: projectId, status: ["queued"], limit: 200 });
  const [dragged, setDragged] = useState<number | null>(null);
  const [over, setOver] = useState<number | null>(null);
  const [shown, setShown] = useState<Job[] | null>(null);
  const jobs = shown ?? waiting(queued.items);
  const reorder = useMutation({
    mutationFn: ({ list, to }: { list: Job[]; to: number }) =>
      ask(
        api.POST("/api/v1/jobs/{job_id}/reorder", {
          params: { path: { job_id: list[to]?.id ?? "" } },
          body: { before: list[to + 1]?.id ?? null },
        }),
      ),
    onMutate: ({ list }) => setShown(list),
    onSettled: async () => {
      await client.invalidateQueries({ queryKey: keys.jobLists });
      setShown(null);
    },
  });
  const move = (from: number, to: number) => {
    if (from !== to && to >= 0 && to < jobs.length) reorder.mutate({ list: moved(jobs, from, to), to });
  };
  if (!mayWrite || jobs.length < 2) return null;
  return (
    <Card size="small" title={texts("queue.title")} extra={<span className="quiet">{texts("queue.about")}</span>} style={{ marginBottom: 16 }}>
      <ErrorBox error={reorder.error} />
      <ol className="queue" aria-label={texts("queue.title")}>
        {jobs.map((job, at) => (
          <li
            key={job.id}
            draggable
            className={over === at && dragged !== null ? "over" : ""}
            onDragStart={(event) => {
              event.dataTransfer.effectAllowed = "move";
              event.dataTransfer.setData("text/plain", job.id);
              setDragged(at);
            }}
            onDragOver={(event) => {
              event.preventDefault();
              setOver(at);
            }}
            onDragEnd={() => {
              setDragged(null);
              setOver(null);
            }}
            onDrop={(event) => {
              event.preventDefault();
              if (dragged !== null) move(dragged, at);
            }}
          >
            <HolderOutlined aria-hidden />
            <span className="numbers quiet">{at + 1}</span>
            <Link to={`/jobs/${job.id}`} className="any grow" draggable={false}>
              {job.name}
            </Link>
            <Space size={0}>
              <Button
                type="text"
                size="small"
                icon={<ArrowUpOutlined />}
                disabled={at === 0}
                aria-label={texts("queue.up", { name: job.name })}
                onClick={() => move(at, at - 1)}
              />
              <Button
                type="text"
                size="small"
                icon={<ArrowDownOutlined />}
                disabled={at === jobs.length - 1}
                aria-label={texts("queue.down", { name: job.name })}
                onClick={() => move(at, at + 1)}
              />
            </Space>
          </li>
        ))}
      </ol>
    </Card>
  );
}
