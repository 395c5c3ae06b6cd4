"""The words of a notice, in the subscriber's language: plain text, whatever a name holds."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

LANGUAGES: Final = ("en", "zh")
_LONGEST: Final = {"name": 100, "error": 500}
_JOINERS: Final = "\u200c\u200d"  # some scripts cannot be written without them

_TITLES: Final = {
    "en": {
        "job.queued": "Job {name} is waiting for a device",
        "job.started": "Job {name} started",
        "job.requeued": "Job {name} was interrupted and waits to go on",
        "job.paused": "Job {name} is paused",
        "job.succeeded": "Job {name} succeeded",
        "job.failed": "Job {name} failed",
        "job.cancelled": "Job {name} was cancelled",
        "deployment.started": "Deployment {name} started",
        "deployment.failed": "Deployment {name} failed",
        "test": "Test of notices: this one arrived",
    },
    "zh": {
        "job.queued": "任务 {name} 正在排队",
        "job.started": "任务 {name} 已开始",
        "job.requeued": "任务 {name} 已中断，等待继续",
        "job.paused": "任务 {name} 已暂停",
        "job.succeeded": "任务 {name} 已成功",
        "job.failed": "任务 {name} 失败",
        "job.cancelled": "任务 {name} 已取消",
        "deployment.started": "部署 {name} 已启动",
        "deployment.failed": "部署 {name} 失败",
        "test": "通知测试：本条通知已送达",
    },
}
_LABELS: Final = {
    "en": {
        "project": "Project",
        "reason": "Reason",
        "error": "Details",
        "model": "Model",
        "step": "Step",
        "time": "Time",
        "id": "Id",
        "colon": ": ",
    },
    "zh": {
        "project": "项目",
        "reason": "原因",
        "error": "详情",
        "model": "模型",
        "step": "步数",
        "time": "时间",
        "id": "编号",
        "colon": "：",
    },
}
# Codes that the platform itself gives; one of the engine is shown as it is, with its message.
_REASONS: Final = {
    "en": {
        "worker_lost": "its worker was lost",
        "worker_stopped": "its worker was stopped",
        "silent": "it made no progress for too long",
        "validation_silent": "the check of its files made no progress",
        "validation_died": "the process that checked its files died",
        "attempts_used_up": "all attempts are used up",
        "cancelled": "a user cancelled it",
        "resumed": "a user resumed it",
        "pause_requested": "a user paused it",
        "stopped": "a user stopped it and kept the result",
        "disk_full": "the disk is full",
        "storage_refused": "the data directory takes no writes",
        "data_directory_read_only": "the data directory is read-only",
        "out_of_memory": "out of memory",
    },
    "zh": {
        "worker_lost": "工作进程失联",
        "worker_stopped": "工作进程已停止",
        "silent": "长时间没有进展",
        "validation_silent": "文件检查没有进展",
        "validation_died": "检查文件的进程意外结束",
        "attempts_used_up": "重试次数已用完",
        "cancelled": "用户取消",
        "resumed": "用户继续",
        "pause_requested": "用户暂停",
        "stopped": "用户停止并保留结果",
        "disk_full": "磁盘已满",
        "storage_refused": "数据目录无法写入",
        "data_directory_read_only": "数据目录只读",
        "out_of_memory": "内存不足",
    },
}


@dataclass(frozen=True)
class Text:
    """A notice as people read it; `short` is for channels that count characters."""

    title: str
    body: str
    short: str


def compose(event: str, body: dict[str, Any], language: str, public_url: str) -> Text:
    """The text of a notice from what was kept of it."""
    language = language if language in LANGUAGES else "en"
    facts = {
        key: plain(str(value), _LONGEST.get(key, 200))
        for key, value in body["facts"].items()
        if value not in (None, "")
    }
    label = _LABELS[language]
    title = _TITLES[language][event].format(name=_quoted(facts.get("name", ""), language))
    told = body["event"]
    link = _link(public_url, event, str(told["data"]["id"]))
    lines = [
        label[key] + label["colon"] + value
        for key, value in _rows(facts, language, int(told["created_at"]), str(told["data"]["id"]))
    ]
    return Text(
        title,
        "\n".join([*lines, *([link] if link else [])]),
        f"{title} {link}".strip(),
    )


def plain(text: str, longest: int) -> str:
    """One line without control characters, line ends and marks that turn the writing round."""
    kept = "".join(" " if _is_space(char) else char for char in text if not _is_hidden(char))
    line = " ".join(kept.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _rows(
    facts: dict[str, str], language: str, created_at: int, subject_id: str
) -> list[tuple[str, str]]:
    reason = facts.get("reason", "")
    step, total = facts.get("step", "0"), facts.get("total_steps", "")
    when = datetime.fromtimestamp(created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    rows = [
        ("project", facts.get("project", "")),
        ("reason", _REASONS[language].get(reason, reason)),
        ("error", facts.get("error", "")),
        ("model", facts.get("model", "")),
        ("step", "" if step == "0" else f"{step} / {total}" if total else step),
        ("time", when),
        ("id", subject_id),
    ]
    return [(key, value) for key, value in rows if value]


def _quoted(name: str, language: str) -> str:
    return f"“{name}”" if language == "zh" else f'"{name}"'


def _link(public_url: str, event: str, subject_id: str) -> str:
    if not public_url or event == "test":
        return ""
    return f"{public_url.rstrip('/')}/{event.partition('.')[0]}s/{subject_id}"


def _is_space(char: str) -> bool:
    return unicodedata.category(char) in ("Zl", "Zp", "Zs") or char in "\t\n\r\v\f"


def _is_hidden(char: str) -> bool:
    kind = unicodedata.category(char)
    return (kind in ("Cc", "Cs", "Cf") and char not in _JOINERS) and not _is_space(char)
