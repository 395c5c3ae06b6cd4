/** Small things that all pages are made of. */
import { Button, Empty, Tag, Tooltip } from "antd";
import { useEffect, type ReactNode } from "react";
import type { Loaded } from "../api/lists";
import { ago, dateTime } from "../logic/format";
import { translateWord, useTexts } from "../texts/language";

interface TitleProps {
  title: string;
  about?: ReactNode;
  before?: ReactNode;
  after?: ReactNode;
  actions?: ReactNode;
}

export function Title({ title, about, before, after, actions }: TitleProps) {
  useEffect(() => {
    document.title = `${title} · tunesmith`;
  }, [title]);
  return (
    <header className="title">
      <div className="text">
        {before}
        <div className="row">
          <h1>{title}</h1>
          {after}
        </div>
        {about && <div className="about any">{about}</div>}
      </div>
      {actions && <div className="actions">{actions}</div>}
    </header>
  );
}

const COLOURS: Record<string, string> = {
  running: "processing",
  starting: "processing",
  pausing: "processing",
  validating_files: "processing",
  queued: "default",
  paused: "warning",
  succeeded: "success",
  failed: "error",
  cancelled: "default",
};

export function StatusTag({ status }: { status: string }) {
  useTexts();
  return <Tag color={COLOURS[status] ?? "default"}>{translateWord("status", status)}</Tag>;
}

const DEPLOYED: Record<string, string> = { ready: "success", starting: "processing", failed: "error" };

export function DeploymentTag({ status }: { status: string }) {
  useTexts();
  return <Tag color={DEPLOYED[status] ?? "default"}>{translateWord("deployment", status)}</Tag>;
}

export function When({ time }: { time: string | null | undefined }) {
  if (!time) return <>–</>;
  return (
    <Tooltip title={dateTime(time)}>
      <time dateTime={time}>{ago(time)}</time>
    </Tooltip>
  );
}

export function Nothing({ text, children }: { text: string; children?: ReactNode }) {
  return (
    <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={text}>
      {children}
    </Empty>
  );
}

export function More<T>({ list }: { list: Loaded<T> }) {
  const texts = useTexts();
  if (!list.more) return null;
  return (
    <div className="centre" style={{ minHeight: 0, padding: 16 }}>
      <Button onClick={list.more} loading={list.isLoadingMore}>
        {texts("action.more")}
      </Button>
    </div>
  );
}

const VERDICTS: Record<string, string> = { promote: "success", hold: "warning", reject: "error" };

export function VerdictTag({ verdict }: { verdict: string }) {
  useTexts();
  return <Tag color={VERDICTS[verdict] ?? "default"}>{translateWord("decision", verdict)}</Tag>;
}
