"""What is overdue: lost workers, silent jobs, cancels that nobody carried out, checks that died.

Any process may sweep, every few seconds; two at once do no harm, since each job is looked at again
under its lock. A job whose worker is lost is queued again, `MAX_TRIES` times in all, then failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from tunesmith.server import clock, tasks
from tunesmith.server.claims import cancel_now
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.states import (
    CANCEL_SECONDS,
    CLAIMED,
    MAX_TRIES,
    SILENCE_SECONDS,
    Status,
    status_of,
    transition,
)
from tunesmith.server.tables import Job, Task, Worker
from tunesmith.server.task_kinds import OF_JOBS
from tunesmith.server.workers import LEASE_SECONDS


@dataclass(frozen=True)
class Change:
    """A job that the sweep moved, and why."""

    job_id: str
    status: Status
    reason: str


def sweep(database: Database) -> list[Change]:
    """Move the lease clock on, then deal with what is overdue."""
    with database.write() as session:
        moment = clock.tick(session)
    changes = end_unchecked(database)
    with database.read() as session:
        overdue = session.scalars(select(Job.id).where(_overdue(moment)).order_by(Job.id)).all()
    for job_id in overdue:
        with database.write() as session:
            moment = clock.read(session)
            job = session.scalars(  # again, under the lock: a heartbeat may have come
                select(Job)
                .where(Job.id == job_id, _overdue(moment))
                .with_for_update(skip_locked=True, key_share=True)
            ).one_or_none()
            if job is not None:
                changes.append(_give_up(session, job, moment))
    return changes


def end_unchecked(database: Database) -> list[Change]:
    """Fail the jobs whose files nobody checks any more: the task gave up, or was not heard of."""
    with database.read() as session:
        waiting = session.scalars(select(Job.id).where(_unchecked()).order_by(Job.id)).all()
    changes: list[Change] = []
    for job_id in waiting:
        with database.write() as session:
            moment = clock.read(session)
            job = session.scalars(
                select(Job)
                .where(Job.id == job_id, _unchecked())
                .with_for_update(skip_locked=True, key_share=True)
            ).one_or_none()
            if job is not None:
                job = _fail_unchecked(session, job, moment)
                changes.append(Change(job.id, status_of(job), job.reason))
    return changes


def _unchecked() -> Any:
    """Its check has an end, and the job none."""
    check = (Task.target == Job.id) & Task.kind.in_(sorted(OF_JOBS))
    over = Task.state.in_(sorted(tasks.FINAL))
    is_validating = Job.status == Status.VALIDATING.value
    return is_validating & exists().where(check, over) & ~exists().where(check, ~over)


def _fail_unchecked(session: Session, job: Job, moment: Moment) -> Job:
    check = select(Task).where(Task.target == job.id, Task.kind.in_(sorted(OF_JOBS)))
    task = session.scalars(check.order_by(Task.id.desc()).limit(1)).one()
    message = (
        f"The files of this job could not be checked: the process that did ended {task.tries} "
        "times before it was done. The files are kept; submit the job again."
    )
    hint = str((task.error or {}).get("hint", ""))
    error = {"code": "server_error", "message": message, "param": None, "hint": hint}
    return transition(
        session,
        job,
        Status.FAILED,
        moment,
        reason="validation_died",
        message=message,
        error=error | {"reason": "validation_died", "tries": task.tries},
    )


def _overdue(moment: Moment) -> Any:
    """A lease that ran out, a silence that is too long, or a cancel that nobody carried out."""
    silent = [
        (Job.status == status.value) & (Job.heard_at < moment.lease - seconds)
        for status, seconds in SILENCE_SECONDS.items()
    ]
    claimed = Job.status.in_(sorted(CLAIMED))
    return or_(
        claimed & (Job.lease_until < moment.lease),
        claimed & (Job.intent == "cancel") & (Job.intent_lease < moment.lease - CANCEL_SECONDS),
        *silent,
    )


def _give_up(session: Session, job: Job, moment: Moment) -> Change:
    """Cancel what was to be cancelled, queue again what may be tried again, fail the rest."""
    status, reason = status_of(job), "silent"
    if job.lease_until is not None and job.lease_until < moment.lease:
        reason = "worker_lost"
    if job.intent == "cancel":
        job = cancel_now(session, job, moment)
    elif status is Status.VALIDATING:
        job = _fail_silent(session, job, moment, "validation_silent")
    elif job.tries >= MAX_TRIES:
        job = _fail_silent(session, job, moment, reason)
    else:
        job = transition(
            session,
            job,
            Status.QUEUED,
            moment,
            reason=reason,
            message=f"{_what_happened(session, job, moment, reason)}; job requeued",
        )
    return Change(job.id, status_of(job), job.reason)


def _fail_silent(session: Session, job: Job, moment: Moment, reason: str) -> Job:
    what = _what_happened(session, job, moment, reason)
    message = f"{what}; gave up after {job.tries} attempts. Checkpoints are kept; retry the job."
    error = {"code": "server_error", "message": message, "param": None, "reason": reason}
    return transition(
        session,
        job,
        Status.FAILED,
        moment,
        reason="attempts_used_up" if job.tries >= MAX_TRIES else reason,
        message=message,
        error=error,
    )


def _what_happened(session: Session, job: Job, moment: Moment, reason: str) -> str:
    worker = session.get(Worker, job.worker_id) if job.worker_id else None
    if reason == "worker_lost" and worker is not None and job.lease_until is not None:
        since = moment.ago(job.lease_until - LEASE_SECONDS).total_seconds()
        return f"Worker {worker.name} lost {since:.0f} s ago"
    silent = 0.0 if job.heard_at is None else moment.ago(job.heard_at).total_seconds()
    return f"No progress for {silent:.0f} s while {job.status}"
