/** A model from a hub, from GitHub, or from a folder that an administrator put on the server. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Form, Input, Modal, Segmented, Select } from "antd";
import { useState } from "react";
import { api, ask } from "../../api/client";
import { keys } from "../../api/keys";
import { useSession } from "../../app/session";
import { ErrorBox } from "../../parts/error";
import { TaskProgress } from "../../parts/task";
import { useTexts } from "../../texts/language";

type Source = "hub" | "modelscope" | "github" | "folder";
const PLACES = {
  hub: { label: "models.hubId", help: "models.hubId.help", example: "Qwen/Qwen3-0.6B" },
  modelscope: { label: "models.hubId", help: "models.hubId.help", example: "Qwen/Qwen3-0.6B" },
  github: { label: "models.repository", help: "models.repository.help", example: "someone/tiny-model" },
  folder: { label: "models.folder", help: "models.folder.help", example: "" },
} as const;

export function ImportDialog({ onClose }: { onClose: () => void }) {
  const texts = useTexts();
  const client = useQueryClient();
  const { projectId } = useSession();
  const [source, setSource] = useState<Source>("hub");
  const [name, setName] = useState("");
  const [revision, setRevision] = useState("");
  const [isRunning, setRunning] = useState(false);
  const place = PLACES[source];
  const folders = useQuery({
    queryKey: ["folders"],
    queryFn: () => ask(api.GET("/api/v1/models/folders")),
    enabled: source === "folder",
  });
  const begin = useMutation({
    mutationFn: () =>
      ask(
        api.POST("/api/v1/models/import", {
          body: { source, name: name.trim(), revision: revision.trim() || "main", project_id: projectId },
        }),
      ),
    onError: () => setRunning(false),
  });
  // After a failure the same dialog tries again, with another name or the same.
  const done = (state: string) => {
    setRunning(false);
    void client.invalidateQueries({ queryKey: keys.modelLists });
    if (state === "succeeded") onClose();
  };
  return (
    <Modal
      open
      title={texts("models.import")}
      okText={texts("models.import.start")}
      cancelText={texts("action.back")}
      okButtonProps={{ disabled: !name.trim() || isRunning }}
      confirmLoading={begin.isPending}
      onOk={() => {
        setRunning(true);
        begin.mutate();
      }}
      onCancel={onClose}
    >
      <Form layout="vertical" component="div">
        <Segmented<Source>
          block
          style={{ marginBottom: 16 }}
          value={source}
          onChange={(next) => {
            setSource(next);
            setName("");
            setRevision("");
            setRunning(false);
            begin.reset();
          }}
          options={[
            { value: "hub", label: "Hugging Face" },
            { value: "modelscope", label: "ModelScope" },
            { value: "github", label: "GitHub" },
            { value: "folder", label: texts("models.folder") },
          ]}
        />
        <Form.Item
          label={texts(place.label)}
          htmlFor="model-name"
          extra={texts(place.help)}
        >
          {source === "folder" ? (
            <Select
              id="model-name"
              value={name || null}
              onChange={(value: string | null) => setName(value ?? "")}
              options={folders.data?.data.map((value) => ({ value, label: value })) ?? []}
              notFoundContent={texts("models.noFolders")}
            />
          ) : (
            <Input id="model-name" placeholder={place.example} value={name} onChange={(event) => setName(event.target.value)} />
          )}
        </Form.Item>
        {source !== "folder" && (
          <Form.Item label={texts("models.revision")} htmlFor="model-revision">
            <Input id="model-revision" placeholder="main" value={revision} onChange={(event) => setRevision(event.target.value)} />
          </Form.Item>
        )}
      </Form>
      {begin.data && <TaskProgress key={begin.data.id} id={begin.data.id} onDone={(task) => done(task.state)} />}
      <ErrorBox error={begin.error ?? folders.error} />
    </Modal>
  );
}
