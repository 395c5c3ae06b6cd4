/** What the engine wrote: the end of it, as it grows. */
import { DownloadOutlined } from "@ant-design/icons";
import { Button, Input, Skeleton } from "antd";
import { useEffect, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { api, ask } from "../../api/client";
import { FINAL, type JobDetails } from "../../api/jobs";
import { plain } from "../../logic/terminal";
import { ErrorBox } from "../../parts/error";
import { Nothing } from "../../parts/page";
import { useTexts } from "../../texts/language";

const PART = 64 * 1024;
const MOST_TEXT = 2 * 1024 * 1024; // a browser stays quick; the whole log is a download
const PAUSE = 1500;

interface Read {
  text: string;
  start: number;
  end: number;
}

/** The log from its last part on, read further while the job runs. */
function useLog(job: JobDetails) {
  const [read, setRead] = useState<Read | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const end = useRef<number | null>(null);
  const isDone = FINAL.includes(job.status);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isGone = false;
    const look = async () => {
      let isWhole = true;
      try {
        const query = end.current === null ? { num_bytes: PART } : { start: end.current, num_bytes: PART };
        const news = await ask(api.GET("/api/v1/jobs/{job_id}/log", { params: { path: { job_id: job.id }, query } }));
        if (isGone) return;
        setError(null);
        isWhole = news.end >= news.size;
        end.current = news.end;
        setRead((old) => (old ? { ...old, text: (old.text + news.text).slice(-MOST_TEXT), end: news.end } : news));
      } catch (failed) {
        if (!isGone) setError(failed as Error);
      }
      if (!isGone && !(isDone && isWhole)) timer = setTimeout(() => void look(), isWhole ? PAUSE : 0);
    };
    void look();
    return () => {
      isGone = true;
      clearTimeout(timer);
    };
  }, [job.id, isDone]);

  const before = async () => {
    if (!read || read.start === 0) return;
    const start = Math.max(0, read.start - PART);
    const query = { start, num_bytes: read.start - start };
    const old = await ask(api.GET("/api/v1/jobs/{job_id}/log", { params: { path: { job_id: job.id }, query } }));
    setRead({ ...read, text: old.text + read.text, start: old.start });
  };
  return { read, error, before };
}

export function Log({ job }: { job: JobDetails }) {
  const texts = useTexts();
  const { read, error, before } = useLog(job);
  const [wanted, setWanted] = useState("");
  const place = useRef<HTMLPreElement>(null);
  const isAtEnd = useRef(true);
  const lines = useMemo(() => found(plain(read?.text ?? ""), wanted), [read, wanted]);
  useLayoutEffect(() => {
    if (place.current && isAtEnd.current) place.current.scrollTop = place.current.scrollHeight;
  }, [lines]);

  if (error && !read) return <ErrorBox error={error} />;
  if (!read) return <Skeleton active />;
  return (
    <>
      <div className="bar">
        <Input.Search
          allowClear
          style={{ width: 280 }}
          aria-label={texts("log.search")}
          placeholder={texts("log.search")}
          onChange={(event) => setWanted(event.target.value)}
        />
        {read.start > 0 && <Button onClick={() => void before()}>{texts("log.before")}</Button>}
        <span className="grow" />
        <Button icon={<DownloadOutlined />} href={`/api/v1/jobs/${job.id}/log/download`} download>
          {texts("action.download")}
        </Button>
      </div>
      {error && <ErrorBox error={error} />}
      {read.text === "" ? (
        <Nothing text={texts("log.none")} />
      ) : (
        <pre
          ref={place}
          className="log mono"
          tabIndex={0}
          aria-label={texts("job.tab.log")}
          onScroll={({ currentTarget: box }) => {
            isAtEnd.current = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
          }}
        >
          {lines}
        </pre>
      )}
    </>
  );
}

/** The lines that have the wanted text, with it marked; all of them without one. */
function found(text: string, wanted: string): ReactNode {
  if (!wanted) return text;
  const small = wanted.toLowerCase();
  return text.split("\n").flatMap((line, index) => {
    const at = line.toLowerCase().indexOf(small);
    if (at < 0) return [];
    return [
      <span key={index}>
        {line.slice(0, at)}
        <mark>{line.slice(at, at + wanted.length)}</mark>
        {line.slice(at + wanted.length)}
        {"\n"}
      </span>,
    ];
  });
}
