/** Files on their way to the server: cut anywhere, they go on where the server has them. */
import { useCallback, useEffect, useRef, useState } from "react";
import { Upload } from "tus-js-client";
import { ApiError, errorOf, notReachable } from "../../api/client";
import { currentLanguage } from "../../texts/language";

export interface Sending {
  key: string;
  name: string;
  size: number;
  sent: number;
  resumedAt: number;
  state: "sending" | "sent" | "failed";
  fileId: string | null;
  error: ApiError | null;
}

const CHUNK = 8 * 1024 * 1024;

export function useUploads(projectId: string) {
  const [files, setFiles] = useState<Sending[]>([]);
  const running = useRef(new Map<string, Upload>());

  const change = useCallback((key: string, news: Partial<Sending>) => {
    setFiles((old) => old.map((each) => (each.key === key ? { ...each, ...news } : each)));
  }, []);

  const add = useCallback(
    (file: File) => {
      const key = `${file.name}:${file.size}:${file.lastModified}`;
      if (running.current.has(key)) return;
      const first: Sending = {
        key, name: file.name, size: file.size, sent: 0, resumedAt: 0, state: "sending", fileId: null, error: null,
      };
      setFiles((old) => [...old.filter((each) => each.key !== key), first]);
      const upload = makeUpload(file, projectId, (news) => change(key, news));
      running.current.set(key, upload);
      // What this browser began to send before, and did not finish, goes on.
      void upload.findPreviousUploads().then((before) => {
        if (before[0]) upload.resumeFromPreviousUpload(before[0]);
        upload.start();
      });
    },
    [projectId, change],
  );

  const again = useCallback(
    (key: string) => {
      change(key, { state: "sending", error: null });
      running.current.get(key)?.start();
    },
    [change],
  );

  const remove = useCallback((key: string) => {
    void running.current.get(key)?.abort();
    running.current.delete(key);
    setFiles((old) => old.filter((each) => each.key !== key));
  }, []);

  useEffect(() => {
    const all = running.current;
    return () => {
      for (const upload of all.values()) void upload.abort();
    };
  }, []);
  return { files, add, again, remove };
}

function makeUpload(file: File, projectId: string, tell: (news: Partial<Sending>) => void): Upload {
  let isFirst = true;
  return new Upload(file, {
    endpoint: "/api/v1/uploads",
    chunkSize: CHUNK,
    retryDelays: [500, 1000, 3000, 5000, 10_000, 20_000],
    metadata: { filename: file.name, purpose: "fine-tune", project_id: projectId },
    headers: { "Accept-Language": currentLanguage() },
    removeFingerprintOnSuccess: true,
    onProgress: (sent) => {
      if (isFirst && sent > CHUNK) tell({ resumedAt: sent });
      isFirst = false;
      tell({ sent });
    },
    onAfterResponse: (_request, response) => {
      const fileId = response.getHeader("Tunesmith-File-Id");
      if (fileId) tell({ fileId });
    },
    onSuccess: () => tell({ state: "sent", sent: file.size }),
    onError: (error) => tell({ state: "failed", error: told(error) }),
  });
}

/** What the server said, or that nobody answered. */
function told(error: Error): ApiError {
  const { originalResponse: answer } = error as { originalResponse?: { getBody(): string; getStatus(): number } | null };
  if (!answer) return notReachable();
  try {
    return errorOf(JSON.parse(answer.getBody()), new Response(null, { status: answer.getStatus() }));
  } catch {
    return errorOf(undefined, new Response(null, { status: answer.getStatus() }));
  }
}
