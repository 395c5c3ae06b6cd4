"""The life of a job, and the one function that changes its status.

    validating_files -> queued -> starting -> running -> succeeded | failed | cancelled
    running -> pausing -> paused -> queued          pause keeps a checkpoint, resume queues again
    starting | running | pausing -> queued          the worker is lost, or gave the job back
    every status that is not final -> cancelled
    every status with work in it -> failed          files refused, engine ended, attempts used up

Stop-and-keep ends as `succeeded` with reason `stopped`. Final statuses never change. A pause that
comes after the last step ends as `succeeded` too: pausing -> succeeded.

Each status in which somebody works has a limit on silence (no event, `progress` included), never on
duration; `queued` and `paused` have none. A cancel that no worker has carried out is carried out
by sweep.py after `CANCEL_SECONDS`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from tunesmith.server import holds, journal
from tunesmith.server.clock import Moment
from tunesmith.server.errors import IllegalTransition, NotFound
from tunesmith.server.notices import outbox
from tunesmith.server.tables import Attempt, Device, Job, User


class Status(StrEnum):
    """Where a job is in its life."""

    VALIDATING = "validating_files"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_S = Status
EDGES: Final[dict[Status, frozenset[Status]]] = {
    _S.VALIDATING: frozenset({_S.QUEUED, _S.FAILED, _S.CANCELLED}),
    _S.QUEUED: frozenset({_S.STARTING, _S.CANCELLED}),
    _S.STARTING: frozenset({_S.RUNNING, _S.QUEUED, _S.FAILED, _S.CANCELLED}),
    _S.RUNNING: frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.PAUSING, _S.QUEUED}),
    _S.PAUSING: frozenset({_S.PAUSED, _S.QUEUED, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED}),
    _S.PAUSED: frozenset({_S.QUEUED, _S.CANCELLED}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
}
FINAL: Final = frozenset(status for status, after in EDGES.items() if not after)
CLAIMED: Final = frozenset({_S.STARTING, _S.RUNNING, _S.PAUSING})  # a worker has the job

_DOABLE: Final[dict[Status, str]] = {  # by people, told when something else was asked for
    _S.VALIDATING: "cancel it",
    _S.QUEUED: "cancel it, or wait until it starts",
    _S.STARTING: "cancel it, or wait until it runs",
    _S.RUNNING: "pause, stop or cancel it",
    _S.PAUSING: "cancel it, or wait until it is paused",
    _S.PAUSED: "resume, stop or cancel it",
}
_STANDS: Final[dict[Status, str]] = {
    _S.VALIDATING: "is checking its files",
    _S.QUEUED: "is queued",
    _S.STARTING: "is starting",
    _S.RUNNING: "is running",
    _S.PAUSING: "is pausing",
    _S.PAUSED: "is paused",
    _S.SUCCEEDED: "has succeeded",
    _S.FAILED: "has failed",
    _S.CANCELLED: "is cancelled",
}
_REFUSED: Final[dict[Status, str]] = {
    _S.QUEUED: "be put into the queue",
    _S.STARTING: "be started",
    _S.PAUSING: "be paused",
    _S.PAUSED: "be paused",
    _S.SUCCEEDED: "be stopped and kept",
    _S.CANCELLED: "be cancelled",
}
SILENCE_SECONDS: Final[dict[Status, float]] = {
    _S.VALIDATING: 1800.0,
    _S.STARTING: 180.0,
    _S.RUNNING: 1800.0,
    _S.PAUSING: 900.0,
}
CANCEL_SECONDS: Final = 45.0  # with the sweep's own interval it stays below a minute
MAX_TRIES: Final = 3


def lock(session: Session, job_id: str, *, skip_locked: bool = False) -> Job:
    """The job as it is now, held until the end of the transaction."""
    job = session.scalars(
        select(Job)
        .where(Job.id == job_id, Job.deleted_at.is_(None))
        .with_for_update(skip_locked=skip_locked, key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if job is None:
        raise NotFound(f"There is no job {job_id}.", code="job_not_found", id=job_id)
    return job


def status_of(job: Job) -> Status:
    return Status(job.status)


def transition(
    session: Session,
    job: Job,
    to: Status,
    moment: Moment,
    *,
    reason: str = "",
    message: str = "",
    error: dict[str, Any] | None = None,
    **changes: Any,
) -> Job:
    """Move a job to another status, with all that hangs on it: its event, notices of it.

    One UPDATE that finds the job only in the status and the attempt that the caller saw. `changes`
    are further columns of the same statement. IllegalTransition where there is no such edge.
    """
    before = status_of(job)
    if to not in EDGES[before]:
        raise illegal(job, to)
    session.flush()
    values = {
        "status": to.value,
        "reason": reason,
        "error": error,
        "changed_at": moment.wall,
        "heard_at": moment.lease,
        **_entering(job, to, moment),
        **changes,
    }
    result = session.execute(
        update(Job)
        .where(Job.id == job.id, Job.status == before.value, Job.attempt == job.attempt)
        .values(values)
        .execution_options(synchronize_session=False)
    )
    if cast("CursorResult[Any]", result).rowcount != 1:  # somebody else was first
        session.refresh(job)
        raise illegal(job, to)
    if before in CLAIMED and to not in CLAIMED:
        _end_attempt(session, job, to, reason, moment)
    if to in FINAL or to is Status.PAUSED:
        holds.release(session, job.id)
    session.refresh(job)
    journal.append(
        session,
        job,
        moment,
        journal.Entry(
            "status",
            message or f"Job is {to.value}" + (f": {reason}" if reason else ""),
            level="error" if to is Status.FAILED else "info",
            data={"from": before.value, "to": to.value, "reason": reason}
            | ({"error": error} if error else {}),
        ),
    )
    outbox.job_changed(session, job, before.value, moment)
    return job


def illegal(job: Job, to: Status) -> IllegalTransition:
    """What the API answers when a job cannot do what was asked."""
    before = status_of(job)
    final = before in FINAL
    return IllegalTransition(
        f"Job {job.id} {_STANDS[before]} and cannot {_REFUSED.get(to, f'become {to.value}')}.",
        hint="A finished job never changes; clone or retry it for a new one."
        if final
        else f"What can be done now: {_DOABLE[before]}.",
        code="job_finished" if final else "illegal_transition",
        status=before.value,
    )


def _entering(job: Job, to: Status, moment: Moment) -> dict[str, Any]:
    """The columns that belong to the new status."""
    values: dict[str, Any] = {}
    if to not in CLAIMED:
        values |= {"worker_id": None, "lease_until": None}
    if to in FINAL:
        # The wall clock may have gone back since: nothing took less than no time.
        began = job.started_at or job.created_at
        values |= {"finished_at": max(moment.wall, began), "eta_seconds": None}
    if to in FINAL or to is Status.PAUSED:
        values |= {"intent": None, "intent_by": None, "intent_lease": None}
    if to is Status.QUEUED:
        values |= {"queued_lease": moment.lease}
    if to is Status.RUNNING and job.started_at is None:
        values |= {"started_at": max(moment.wall, job.created_at)}
    return values


def _end_attempt(session: Session, job: Job, to: Status, reason: str, moment: Moment) -> None:
    """Close the books of a claim and give its devices back."""
    attempt = session.get_one(Attempt, (job.id, job.attempt))
    attempt.ended_at, attempt.outcome, attempt.reason = moment.wall, to.value, reason
    held = max(0.0, moment.lease - attempt.claimed_lease)
    attempt.device_seconds = held * max(1, len(attempt.devices))
    _charge(session, job, attempt, held)
    session.execute(update(Device).where(Device.job_id == job.id).values(job_id=None))


def _charge(session: Session, job: Job, attempt: Attempt, held: float) -> None:
    """Take what an attempt cost from its user's credit: the price is of all devices together."""
    attempt.charged_cents = round(held / 3600 * job.price_cents_per_hour)
    if attempt.charged_cents:
        session.execute(
            update(User)
            .where(User.id == job.user_id, User.credit_cents.is_not(None))
            .values(credit_cents=User.credit_cents - attempt.charged_cents)
        )
        holds.use_up(session, job.id, attempt.charged_cents)
