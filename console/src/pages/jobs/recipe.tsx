/** What the job was told to do: as written, and with everything decided. */
import { CopyOutlined, DownloadOutlined } from "@ant-design/icons";
import { useQuery } from "@tanstack/react-query";
import { Button, Segmented, Skeleton } from "antd";
import { useState } from "react";
import { api, ask } from "../../api/client";
import type { JobDetails } from "../../api/jobs";
import { keys } from "../../api/keys";
import { useCopy } from "../../parts/copy";
import { download } from "../../parts/download";
import { ErrorBox } from "../../parts/error";
import { useTexts } from "../../texts/language";

type Which = "yaml" | "resolved_yaml";

export function RecipeText({ job }: { job: JobDetails }) {
  const texts = useTexts();
  const copy = useCopy();
  const [which, setWhich] = useState<Which>("yaml");
  const recipe = useQuery({
    queryKey: keys.jobPart(job.id, "recipe"),
    queryFn: () => ask(api.GET("/api/v1/jobs/{job_id}/recipe", { params: { path: { job_id: job.id } } })),
  });
  if (recipe.error && !recipe.data) return <ErrorBox error={recipe.error} again={() => void recipe.refetch()} />;
  if (!recipe.data) return <Skeleton active />;
  const text = recipe.data[which] ?? "";
  return (
    <>
      <div className="bar">
        {recipe.data.resolved_yaml && (
          <Segmented<Which>
            value={which}
            onChange={setWhich}
            options={[
              { value: "yaml", label: texts("recipe.submitted") },
              { value: "resolved_yaml", label: texts("recipe.resolved") },
            ]}
          />
        )}
        <span className="grow" />
        <Button icon={<CopyOutlined />} onClick={() => void copy(text)}>
          {texts("action.copy")}
        </Button>
        <Button icon={<DownloadOutlined />} onClick={() => download(new Blob([text]), `${job.name}.yaml`)}>
          {texts("action.download")}
        </Button>
      </div>
      <pre className="yaml mono" tabIndex={0}>
        {text}
      </pre>
    </>
  );
}
