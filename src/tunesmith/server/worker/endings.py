"""What the end of an engine means for its job.

finished   the model is registered         succeeded
paused     somebody asked for it           paused
           nobody did: this worker ends    queued again, at no cost
failed     no room on the disk             paused
           cancelled                       cancelled
           else                            failed
none       nothing could be written        paused
           the process died                queued again, three tries in all

An engine that gives up before its first event writes `failed` too (runs/last_word.py), so `none` is
a crash.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any, Final, cast

from tunesmith.runs import RunDir, StorageFull, checkpoints
from tunesmith.runs.events import Event
from tunesmith.runs.logs import open_log
from tunesmith.runs.manifest import MANIFEST, read_manifest
from tunesmith.server import claims, result_files
from tunesmith.server.claims import Claim, Result
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.naming import model_name, suffix_of
from tunesmith.server.tables import Job, Project
from tunesmith.server.worker.storage import Trouble

log = logging.getLogger(__name__)
LAST_WORDS: Final = 2000  # bytes of the log
WAITS_FOR_ROOM: Final = frozenset({"disk_full", "storage_refused", "data_directory_read_only"})
# Kinds of errors as the engine tells them: the code and the parameter of the OpenAI API.
_KINDS: Final = {
    "data": ("invalid_training_file", "training_file"),
    "model": ("", "model"),
    "recipe": ("", "hyperparameters"),
}

# What an event has beside the error, and what a job says of it in words of its own.
_OF_THE_EVENT: Final = frozenset(
    {"run", "attempt", "seq", "time", "type", "about", "traceback", "problems", "path"}
)
_SECRET_NAME: Final = re.compile("password|secret|token$|key$|address|url", re.IGNORECASE)
_PLACE: Final = re.compile(r"""(^|[\s"'(=:,])[/~\\]|[A-Za-z]:\\|://""")  # a host's path, a URL
_MOST_ITEMS: Final = 50
_LONGEST_DETAIL: Final = 500


def conclude(
    database: Database,
    claimed: Claim,
    run: RunDir,
    ending: Event | None,
    *,
    was_told: bool,
    no_room: Trouble | None = None,
    why: str = "",
) -> str:
    """End the claim as its engine ended; returns what that was, for the log.

    `was_told`: this worker ends and has told the engine to pause. `no_room`: the engine could
    write nothing any more, not even that. `why` it was ended by force, if it was.
    """
    intent = _intent(database, claimed)
    kind = ending["type"] if ending else ""
    code = str(ending.get("code", "")) if ending else ""
    if intent == "cancel" or code == "cancelled":
        claims.confirm_cancel(database, claimed)
        return "cancelled"
    if ending and kind == "finished" and (run.artifacts_dir / MANIFEST).is_file():
        succeed(database, claimed, run, ending)
        return "succeeded"
    if kind == "paused" and intent == "pause":
        claims.paused(database, claimed, reason="pause_requested")
        return "paused"
    if kind == "paused" or (was_told and not ending and no_room is None):
        claims.release(database, claimed)
        return "given back"
    if ending and code in WAITS_FOR_ROOM and no_room is None:
        pause_for_room(database, claimed, code, str(ending.get("message", "")))
        return f"paused: {code}"
    if ending and kind == "failed" and code not in WAITS_FOR_ROOM:
        claims.fail(database, claimed, public_error(ending))
        return f"failed: {code}"
    if no_room is not None and not why:
        # An engine that could not write how it ended, or the same in the words of the whole disk.
        pause_for_room(database, claimed, no_room.code, no_room.message)
        return f"paused: {no_room.code}"
    kept = newest_checkpoint(run)
    why = why or "the engine ended unexpectedly"
    told = last_words(run)
    claims.interrupted(database, claimed, checkpoint_step=kept, why=why, last_words=told)
    return f"interrupted: {why}"


def last_words(run: RunDir) -> str:
    """The end of what the engine printed, where there is nothing better to tell of its death."""
    try:
        with open_log(run.log_path) as log_:
            told = log_.read(max(0, log_.size - LAST_WORDS), LAST_WORDS)
    except OSError:
        return ""
    lines = told.decode("utf-8", "replace").splitlines()
    shown = "\n".join(line for line in lines if line.strip())
    return "".join(each if each.isprintable() or each == "\n" else " " for each in shown)


def may_be_the_disk(ending: Event | None) -> bool:
    """Whether an engine ended for want of a disk, as far as it could tell."""
    if ending is None:
        return True
    return ending["type"] == "failed" and str(ending.get("code")) in WAITS_FOR_ROOM


def succeed(database: Database, claimed: Claim, run: RunDir, ending: Event) -> str:
    """Register the model that lies in the artifacts, and the file of its curves."""
    manifest = read_manifest(run.artifacts_dir)
    content = (run.artifacts_dir / MANIFEST).read_bytes()
    kinds = manifest.extra.get("kinds") or ["model"]
    told = ("step", "result_step", "best_step", "result_loss", "best_loss", "seconds")
    result = Result(
        name=_model_name(database, claimed),
        kind="adapter" if kinds[0] == "adapter" else "full",
        bytes=manifest.total_bytes,
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        details={key: ending[key] for key in told if ending.get(key) is not None},
    )
    curves = result_files.write(database, DataDir(run.path.parent.parent), claimed.job_id)
    return claims.succeed(
        database,
        claimed,
        result,
        reason="stopped" if ending.get("reason") == "stopped" else "",
        trained_tokens=ending.get("tokens"),
        curves=curves,
    )


def pause_for_room(database: Database, claimed: Claim, code: str, message: str) -> None:
    """A full or read-only disk fails nothing: the job waits for somebody to mend it."""
    mend = "free space" if code == StorageFull.code else "make it writable"
    told = f"{message} Job paused; {mend} and press Resume."
    claims.paused(database, claimed, reason=code, message=told)


def public_error(error: dict[str, Any]) -> dict[str, Any]:
    """An error of the engine as a job shows it: a code of the OpenAI API, ours as the reason."""
    reason = str(error.get("code") or "server_error")
    code, param = _KINDS.get(str(error.get("about", "")), ("server_error", None))
    if reason == "too_few_rows":
        code, param = "invalid_n_examples", "training_file"
    return {
        **_public_details(error),
        "code": code or reason,
        "message": str(error.get("message", "")),
        "param": param,
        "hint": str(error.get("hint", "")),
        "reason": reason,
    }


def _public_details(error: dict[str, Any]) -> dict[str, Any]:
    """What a text in another language needs: short plain values; no paths, addresses, secrets."""
    return {
        name: value
        for name, value in error.items()
        if name not in _OF_THE_EVENT and not _SECRET_NAME.search(name) and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return len(items) <= _MOST_ITEMS and all(
            not isinstance(item, list) and _is_plain(item) for item in items
        )
    if isinstance(value, str):
        return len(value) <= _LONGEST_DETAIL and not _PLACE.search(value)
    return isinstance(value, int | float)


def newest_checkpoint(run: RunDir) -> int | None:
    """The step of the newest checkpoint that was finished."""
    steps = [found.step for found in checkpoints(run) if (found.path / MANIFEST).is_file()]
    return max(steps, default=None)


def _model_name(database: Database, claimed: Claim) -> str:
    with database.read() as session:
        job = session.get_one(Job, claimed.job_id)
        project = session.get_one(Project, job.project_id)
    return model_name(job.base, project.name, suffix_of(job.name, job.request), job.id)


def _intent(database: Database, claimed: Claim) -> str | None:
    """What is wanted now: it may have changed since the last heartbeat."""
    with database.read() as session:
        job = session.get(Job, claimed.job_id)
        return job.intent if job is not None and job.attempt == claimed.attempt else None
