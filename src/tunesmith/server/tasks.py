"""The queue of background tasks: claim, renew, end. Like claims.py for jobs, in small.

A task is done by a process of its own (task_runner.py). Its claim has a lease and a fencing token,
the number of the try: a process that fell silent loses the task to the next one, `MAX_TRIES` times
in all, and what it writes later is dropped. What a task does may therefore be done twice.

A job whose files are checked by a task (`OF_JOBS`) is ended by sweep.py when that task gave up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from tunesmith.server import clock
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.states import Status
from tunesmith.server.tables import Job, Task
from tunesmith.server.task_kinds import OF_JOBS

LEASE_SECONDS: Final = 30.0
MAX_TRIES: Final = 3
FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})
Unwanted = Literal["cancelled", "lost"]


@dataclass(frozen=True)
class TaskClaim:
    """A task in the hands of one process; `number` is the token."""

    task_id: str
    number: int


def claim(database: Database) -> TaskClaim | None:
    """The oldest task that waits, or whose process is lost."""
    with database.read() as session:  # most looks find nothing, and shall lock nothing
        if session.scalar(select(Task.id).where(_open(clock.read(session))).limit(1)) is None:
            return None
    with database.write() as session:
        moment = clock.read(session)
        task = session.scalars(
            select(Task)
            .where(_open(moment))
            .order_by(Task.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if task is None:
            return None
        if not _is_wanted(session, task):
            _end(task, "cancelled", moment)
            return None
        if task.tries >= MAX_TRIES:
            _end(task, "failed", moment, error=_gave_up(task, task.error))
            return None
        task.state, task.tries = "running", task.tries + 1
        task.started_at = task.started_at or moment.wall
        task.lease_until = moment.lease + LEASE_SECONDS
        return TaskClaim(task.id, task.tries)


def renew(database: Database, claimed: TaskClaim, progress: dict[str, Any]) -> bool:
    """A sign of life with what is done so far; False: stop, it is cancelled or somebody else's."""
    with database.write() as session:
        moment, task = clock.read(session), _own(session, claimed)
        if task is None:
            return False
        task.lease_until, task.progress = moment.lease + LEASE_SECONDS, progress
        return _is_wanted(session, task)


def finish(
    database: Database,
    claimed: TaskClaim,
    state: str,
    *,
    result: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    """The end of a task; nothing happens when it is somebody else's by now."""
    with database.write() as session:
        moment, task = clock.read(session), _own(session, claimed)
        if task is not None:
            _end(task, state, moment, result=result, error=error)


def give_back(database: Database, claimed: TaskClaim, error: dict[str, Any] | None = None) -> None:
    """Its process is gone without an end: the next one may take it at once, within the tries.

    `error`: how the process ended; it is the error of the task when that was the last try.
    """
    with database.write() as session:
        moment, task = clock.read(session), _own(session, claimed)
        if task is None:
            return
        if not _is_wanted(session, task):
            _end(task, "cancelled", moment, error=error)
        elif task.tries >= MAX_TRIES:
            _end(task, "failed", moment, error=_gave_up(task, error))
        else:
            task.lease_until, task.error = -1.0, error


def hand_back(database: Database, claimed: TaskClaim) -> None:
    """The server ends, and with it the process of the task: that uses up no try."""
    with database.write() as session:
        task = _own(session, claimed)
        if task is not None:
            task.state, task.tries, task.lease_until = "queued", task.tries - 1, None


def unwanted(database: Database, claims: Collection[TaskClaim]) -> dict[TaskClaim, Unwanted]:
    """Those whose processes have to end: somebody cancelled them, or they are no longer theirs."""
    with database.read() as session:
        query = select(Task).where(Task.id.in_([claimed.task_id for claimed in claims]))
        known = {task.id: task for task in session.scalars(query)}
        found: dict[TaskClaim, Unwanted] = {}
        for claimed in claims:
            task = known.get(claimed.task_id)
            if task is None or task.state != "running" or task.tries != claimed.number:
                found[claimed] = "lost"
            elif not _is_wanted(session, task):
                found[claimed] = "cancelled"
        return found


def _is_wanted(session: Session, task: Task) -> bool:
    """Not once it is cancelled; a check of files, as long as its job waits for it."""
    if task.kind not in OF_JOBS or task.cancel_asked:
        return not task.cancel_asked
    status = session.scalar(select(Job.status).where(Job.id == task.target))
    return status == Status.VALIDATING.value


def _open(moment: Moment) -> ColumnElement[bool]:
    lost = (Task.state == "running") & (Task.lease_until < moment.lease)
    return (Task.state == "queued") | lost


def _own(session: Session, claimed: TaskClaim) -> Task | None:
    return session.scalars(
        select(Task)
        .where(Task.id == claimed.task_id, Task.state == "running", Task.tries == claimed.number)
        .with_for_update()
    ).one_or_none()


def _end(
    task: Task,
    state: str,
    moment: Moment,
    *,
    result: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    task.state, task.result, task.error = state, result, error
    task.lease_until, task.finished_at = None, moment.wall
    task.progress = _last_progress(task.progress, is_done=state == "succeeded")


def _last_progress(progress: Mapping[str, Any], *, is_done: bool) -> dict[str, Any]:
    """How far an ended task came: nothing is left to wait for, and all is done that was to do."""
    last = {**progress, "eta_seconds": None} if progress else {}
    if is_done and last.get("total") is not None:
        last["done"] = last["total"]
    return last


def _gave_up(task: Task, error: dict[str, Any] | None) -> dict[str, Any]:
    """What the last process died of, and how often it was tried."""
    told = error or died("ended without a word", "?")
    message = f"{told['message']} It was tried {task.tries} times."
    return told | {"message": message, "tries": task.tries}


def died(how: str, cause: str) -> dict[str, Any]:
    """The error of a task whose process left no result; `cause` in a word, for any language."""
    return {
        "code": "task_died",
        "message": f"The process of this task {how}; nothing of it was kept.",
        "hint": "The server's log may tell why; perhaps there was too little memory.",
        "cause": cause,
        "tries": 1,
    }
