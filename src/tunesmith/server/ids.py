"""Ids of stored things: a prefix that says the kind, then text that sorts by time of making.

ftjob-01kat3v9m0b6x1r5q8wz2c7d4e    10 characters of time in milliseconds, 16 of chance
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: sorts as ASCII does
_TIME_DIGITS, _CHANCE_DIGITS = 10, 16

USER, TOKEN, PROJECT = "user-", "tok-", "proj-"
FILE, UPLOAD, PART = "file-", "upload-", "part-"
DATASET, DATASET_VERSION, MODEL = "ds-", "dsv-", "model-"
TASK = "task-"
DEPLOYMENT, SERVING, ASKED, EVALUATION = "dep-", "srv-", "ask-", "eval-"
JOB, CHECKPOINT, PERMISSION = "ftjob-", "ftckpt_", "cp-"
WORKER, SUBSCRIPTION, NOTICE, AUDIT = "wk-", "sub-", "notice-", "audit-"
TOLD = "evt_"  # an event as webhooks tell it
# By table, for those whose lists are read in parts.
PREFIXES: Final = {
    "users": USER,
    "tokens": TOKEN,
    "projects": PROJECT,
    "files": FILE,
    "uploads": UPLOAD,
    "datasets": DATASET,
    "models": MODEL,
    "tasks": TASK,
    "deployments": DEPLOYMENT,
    "asked_requests": ASKED,
    "evaluations": EVALUATION,
    "jobs": JOB,
    "checkpoints": CHECKPOINT,
    "checkpoint_permissions": PERMISSION,
    "subscriptions": SUBSCRIPTION,
    "notices": NOTICE,
    "audit": AUDIT,
}


def new(prefix: str, now: datetime) -> str:
    """A fresh id; `now` is the time of the database, so that machines agree on the order."""
    milliseconds = int(now.timestamp() * 1000)
    chance = secrets.randbits(5 * _CHANCE_DIGITS)
    return prefix + _encode(milliseconds, _TIME_DIGITS) + _encode(chance, _CHANCE_DIGITS)


def is_id(text: str, prefix: str) -> bool:
    """Whether a text has the form of an id with this prefix; nothing says that there is one."""
    end = text.removeprefix(prefix)
    has_form = len(end) == _TIME_DIGITS + _CHANCE_DIGITS and set(end) <= set(_DIGITS)
    return has_form and text.startswith(prefix)


def first(prefix: str, moment: datetime) -> str:
    """What sorts before every id that was made at this moment or later."""
    return prefix + _encode(max(0, int(moment.timestamp() * 1000)), _TIME_DIGITS)


def event_id(job_id: str, number: int) -> str:
    """The public id of an event: made of its job and its number, so it needs no column."""
    return f"ftevent-{job_id.removeprefix(JOB)}-{number:09d}"


def event_number(event: str, job_id: str) -> int | None:
    """The number in an event's id; None when it is no event of this job."""
    stem, _, number = event.rpartition("-")
    belongs = stem == f"ftevent-{job_id.removeprefix(JOB)}"
    return int(number) if belongs and number.isascii() and number.isdigit() else None


def _encode(number: int, length: int) -> str:
    digits = [_DIGITS[(number >> 5 * place) & 31] for place in range(length)]
    return "".join(reversed(digits))
