"""How a worker gets a job, keeps it, and ends it; and what happens when it falls silent.

    claim   -> renew, renew, ... -> succeed | fail | pause | confirm_cancel | release

Each function is one short transaction. A claim carries a fencing token, the attempt number: every
write of a worker names it, and a stale one is refused (StaleAttempt) with nothing changed. The same
ending twice is one ending, so a worker that lost the reply may ask again.

Rows are locked in one order: worker, job, user, devices. On PostgreSQL a claim takes the row with
FOR UPDATE SKIP LOCKED; on SQLite the transaction holds the write lock from its start.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.orm import Session

from tunesmith.server import clock, ids, journal, result_files, workers
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.errors import NotFound, StaleAttempt
from tunesmith.server.quotas import Limits, quotas
from tunesmith.server.result_files import Written
from tunesmith.server.scheduler import Host, Queued, Running, plan, within
from tunesmith.server.states import (
    CLAIMED,
    FINAL,
    MAX_TRIES,
    Status,
    lock,
    status_of,
    transition,
)
from tunesmith.server.tables import (
    Attempt,
    Checkpoint,
    Device,
    Event,
    Job,
    JobDataset,
    Model,
    ModelDataset,
    Project,
    User,
    Worker,
)
from tunesmith.server.workers import LEASE_SECONDS

# Of each project so many jobs are looked at: those behind them cannot be next.
_QUEUE_DEPTH: Final = 50


@dataclass(frozen=True)
class Claim:
    """A job in the hands of a worker. `attempt` is the token; `offset` where its events go on."""

    job_id: str
    attempt: int
    worker_id: str
    devices: tuple[int, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict[str, Any], compare=False)
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Order:
    """What a heartbeat brings back. `abandon`: the job is no longer yours, end its process."""

    job_id: str
    attempt: int
    intent: Literal["go_on", "pause", "stop", "cancel", "abandon"]
    by: str = ""


@dataclass(frozen=True)
class Result:
    """The model that a job made, to be registered with its end."""

    name: str
    kind: Literal["adapter", "full"]
    bytes: int = 0
    manifest_sha256: str = ""
    details: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Saved:
    """A verified checkpoint, to be indexed."""

    step: int
    bytes: int = 0
    metrics: dict[str, Any] = field(default_factory=dict[str, Any])


def claim(
    database: Database,
    worker_id: str,
    *,
    free: Collection[int] | None = None,
    limits: Limits | None = None,
) -> Claim | None:
    """The next job for a worker, moved from queued to starting; None when none may start there.

    `free` are the devices that the worker itself sees idle; without it, those of the database.
    """
    limits = limits or Limits()
    with database.write() as session:
        moment = clock.read(session)
        worker = workers.lock(session, worker_id)
        workers.seen(worker, moment)
        if not worker.accepts_jobs:
            return None
        host = _host(session, worker, free)
        queued = _queued(session, moment) if host.free else []
        if not queued:
            return None
        running = _running(session)
        starts = plan(
            queued,
            running,
            [host, *_other_hosts(session, worker, moment)],
            quotas=quotas(session, {job.user for job in queued}, limits, moment),
            weights=_weights(session),
        )
        for start in starts:
            job = _take(session, start.job)
            if job is not None and _within_quota(session, job, limits, moment):
                return _begin(session, job, worker, start.devices, moment)
        return None


def held(database: Database, worker_id: str) -> list[Claim]:
    """The claims that a worker has: what it adopts after its own restart."""
    with database.read() as session:
        jobs = session.scalars(
            select(Job)
            .where(Job.worker_id == worker_id, Job.status.in_(sorted(CLAIMED)))
            .order_by(Job.id)
        )
        return [_claim_of(session, job) for job in jobs]


def renew(database: Database, worker_id: str, claims: Collection[Claim]) -> list[Order]:
    """A heartbeat: the leases go on, and each claim gets its order."""
    with database.write() as session:
        moment = clock.read(session)
        workers.seen(workers.lock(session, worker_id), moment)
        orders: list[Order] = []
        for claimed in sorted(claims, key=lambda claimed: claimed.job_id):
            job = _job_or_none(session, claimed.job_id)
            if job is None or not _is_current(job, claimed):
                orders.append(Order(claimed.job_id, claimed.attempt, "abandon"))
                continue
            job.lease_until = moment.lease + LEASE_SECONDS
            intent: Any = job.intent or "go_on"
            orders.append(Order(job.id, job.attempt, intent, job.intent_by or ""))
        return orders


def started(database: Database, claimed: Claim) -> None:
    """The engine runs. A pause asked for in an earlier attempt is asked for again."""
    with database.write() as session:
        moment, job = clock.read(session), _own(session, claimed, Status.RUNNING, Status.PAUSING)
        if status_of(job) is Status.STARTING:
            job = transition(session, job, Status.RUNNING, moment)
        if status_of(job) is Status.RUNNING and job.intent == "pause":
            transition(session, job, Status.PAUSING, moment, reason="pause_requested")


def record(
    database: Database,
    claimed: Claim,
    events: Sequence[dict[str, Any]],
    *,
    span: tuple[int, int] | None = None,
    saved: Sequence[Saved] = (),
    kept: Collection[int] | None = None,
) -> int:
    """Ship events of the engine, the bytes `span` of its file. How many were new.

    `saved` and `kept`: the checkpoints that they tell of, as for `add_checkpoint`.
    """
    with database.write() as session:
        moment, job = clock.read(session), _own(session, claimed)
        for checkpoint in saved:
            _index(session, claimed, checkpoint, moment)
        if saved and kept is not None:
            _forget_others(session, claimed, kept, moment)
        return journal.ship(session, job, moment, events, span)


def add_checkpoint(
    database: Database,
    claimed: Claim,
    step: int,
    *,
    num_bytes: int = 0,
    metrics: dict[str, Any] | None = None,
    kept: Collection[int] | None = None,
) -> str:
    """Index a verified checkpoint; the same step again, as after a restart, replaces it.

    `kept`: the steps whose checkpoints the run still has; the others are marked as deleted.
    """
    with database.write() as session:
        moment, _ = clock.read(session), _own(session, claimed)
        made = _index(session, claimed, Saved(step, num_bytes, metrics or {}), moment)
        if kept is not None:
            _forget_others(session, claimed, {step, *kept}, moment)
        return made


def succeed(
    database: Database,
    claimed: Claim,
    result: Result,
    *,
    reason: str = "",
    trained_tokens: int | None = None,
    curves: Written | None = None,
) -> str:
    """The run is finished: its model is registered and the job ends, both or neither.

    `curves`: the file of its curves, which becomes its user's in the same transaction.
    """
    with database.write() as session:
        moment = clock.read(session)
        job = _own(session, claimed, Status.SUCCEEDED)
        if status_of(job) is Status.SUCCEEDED:
            return session.scalars(
                select(Model.id).where(Model.job_id == job.id, Model.checkpoint_id.is_(None))
            ).one()
        if status_of(job) is Status.STARTING:  # finished before it was seen to run
            job = transition(session, job, Status.RUNNING, moment)
        model = _register(session, job, result, moment)
        if curves is not None:
            result_files.add_row(session, job, curves, moment)
        journal.append(
            session,
            job,
            moment,
            journal.Entry(
                "model", f"New fine-tuned model created: {result.name}", data={"name": result.name}
            ),
        )
        transition(
            session,
            job,
            Status.SUCCEEDED,
            moment,
            reason=reason,
            message="The job has successfully completed",
            trained_tokens=trained_tokens or job.trained_tokens,
        )
        return model


def fail(database: Database, claimed: Claim, error: dict[str, Any]) -> None:
    """The run ended with an error: `code`, `message`, `param`, perhaps a `reason` of our own."""
    with database.write() as session:
        moment, job = clock.read(session), _own(session, claimed, Status.FAILED)
        if status_of(job) is not Status.FAILED:
            code, told = str(error.get("code", "server_error")), str(error.get("message", ""))
            whole = {"code": code, "message": told, "param": None} | error
            reason = str(error.get("reason") or code)
            transition(
                session, job, Status.FAILED, moment, reason=reason, message=told, error=whole
            )


def interrupted(
    database: Database,
    claimed: Claim,
    *,
    checkpoint_step: int | None = None,
    why: str = "",
    last_words: str = "",
) -> None:
    """The process of the run died without an ending: once more, `MAX_TRIES` times in all.

    `checkpoint_step`: where the next attempt goes on from; None: from the beginning. `last_words`:
    the end of its log, told with the error of a job that is given up.
    """
    with database.write() as session:
        moment = clock.read(session)
        job = _own(session, claimed, Status.QUEUED, Status.FAILED, Status.CANCELLED)
        if status_of(job) not in CLAIMED:
            return
        if job.intent == "cancel":
            cancel_now(session, job, moment)
            return
        what = f"Interrupted at step {job.step}" + (f": {why}" if why else "")
        kept = "" if checkpoint_step is None else f" The checkpoint of step {checkpoint_step} is"
        if job.tries >= MAX_TRIES:
            told = f"{what}; gave up after {job.tries} attempts.{kept and kept + ' kept.'}"
            error = {"code": "server_error", "message": told, "param": None}
            transition(
                session,
                job,
                Status.FAILED,
                moment,
                reason="attempts_used_up",
                message=told,
                error=error | {"reason": "interrupted", "log": last_words},
            )
            return
        onward = (
            "starts again" if checkpoint_step is None else f"resumes from step {checkpoint_step}"
        )
        transition(
            session,
            job,
            Status.QUEUED,
            moment,
            reason="interrupted",
            message=f"{what}, {onward} (attempt {job.tries + 1}/{MAX_TRIES})",
        )


def stale_stopped(database: Database, job_id: str, attempt: int) -> None:
    """Tell the readers of a job that the process of an attempt that was given up is gone."""
    with database.write() as session:
        moment, job = clock.read(session), _job_or_none(session, job_id)
        if job is None or status_of(job) in FINAL:
            return
        told = f"Stale attempt {attempt} stopped"
        known = select(Event.number).where(Event.job_id == job_id, Event.message == told)
        if session.scalars(known.limit(1)).first() is None:  # two workers may have ended it
            journal.append(session, job, moment, journal.Entry("stale", told))


def paused(database: Database, claimed: Claim, *, reason: str = "", message: str = "") -> None:
    """The run is stopped with a checkpoint; also when nobody asked, as on a full disk."""
    with database.write() as session:
        moment, job = clock.read(session), _own(session, claimed, Status.PAUSED)
        if status_of(job) is Status.PAUSED:
            return
        if status_of(job) is Status.STARTING:
            job = transition(session, job, Status.RUNNING, moment)
        if status_of(job) is Status.RUNNING:
            job = transition(session, job, Status.PAUSING, moment, reason=reason)
        transition(
            session,
            job,
            Status.PAUSED,
            moment,
            reason=reason,
            message=message or f"Paused at step {job.step}; resume goes on from there",
        )


def confirm_cancel(database: Database, claimed: Claim) -> None:
    """The process of a cancelled job is gone."""
    with database.write() as session:
        moment, job = clock.read(session), _own(session, claimed, Status.CANCELLED)
        if status_of(job) is not Status.CANCELLED:
            cancel_now(session, job, moment)


def release(database: Database, claimed: Claim, *, reason: str = "worker_stopped") -> None:
    """Give a job back, with its checkpoint, when the worker stops; it costs no try."""
    with database.write() as session:
        moment, job = clock.read(session), _own(session, claimed)
        if job.intent == "cancel":
            cancel_now(session, job, moment)
            return
        transition(
            session,
            job,
            Status.QUEUED,
            moment,
            reason=reason,
            message=f"Stopped at step {job.step}; goes on when a worker takes it",
            tries=job.tries - 1,
        )


# ---------------------------------------------------------------- what there is to choose from


def _host(session: Session, worker: Worker, free: Collection[int] | None) -> Host:
    devices = session.scalars(
        select(Device).where(Device.worker_id == worker.id, Device.missing_since.is_(None))
    ).all()
    idle = [device.index for device in devices if device.job_id is None]
    if free is not None:
        idle = [index for index in idle if index in free]
    flavour = devices[0].flavour if devices else ""
    return Host(worker.id, tuple(sorted(idle)), len(devices), flavour)


def _other_hosts(session: Session, worker: Worker, moment: Moment) -> list[Host]:
    """The other living workers: a large job may be waiting for one of them."""
    rows = session.execute(
        select(
            Device.worker_id,
            func.count(),
            func.count(case((Device.job_id.is_(None), 1))),
            func.min(Device.flavour),
        )
        .join(Worker, Worker.id == Device.worker_id)
        .where(
            Worker.id != worker.id,
            Worker.accepts_jobs,
            Worker.lease_until >= moment.lease,
            Device.missing_since.is_(None),
        )
        .group_by(Device.worker_id)
        .order_by(Device.worker_id)
    )
    return [
        Host(name, tuple(range(free)), total, flavour, is_open=False)
        for name, total, free, flavour in rows
    ]


def _queued(session: Session, moment: Moment) -> list[Queued]:
    place = func.row_number().over(
        partition_by=Job.project_id, order_by=(Job.priority.desc(), Job.position, Job.id)
    )
    # The oldest of a queue gives it its rank, wherever it stands in it.
    oldest = func.min(Job.queued_lease).over(partition_by=Job.project_id)
    ranked = (
        select(
            Job.id,
            Job.project_id,
            Job.user_id,
            Job.num_devices,
            Job.priority,
            Job.position,
            Job.queued_lease,
            Job.flavour,
            place.label("place"),
            oldest.label("oldest"),
        )
        .where(Job.status == Status.QUEUED.value, Job.deleted_at.is_(None))
        .subquery()
    )
    near = or_(ranked.c.place <= _QUEUE_DEPTH, ranked.c.queued_lease == ranked.c.oldest)
    return [
        Queued(
            id=row.id,
            project=row.project_id,
            user=row.user_id,
            num_devices=row.num_devices,
            priority=row.priority,
            position=row.position,
            waited_seconds=max(0.0, moment.lease - row.queued_lease),
            flavour=row.flavour,
        )
        for row in session.execute(select(ranked).where(near))
    ]


def _running(session: Session) -> list[Running]:
    rows = session.execute(
        select(Job.id, Job.project_id, Job.user_id, Job.num_devices).where(
            Job.status.in_(sorted(CLAIMED))
        )
    )
    return [Running(*row) for row in rows]


def _weights(session: Session) -> dict[str, float]:
    rows = session.execute(select(Project.id, Project.weight).where(Project.weight != 1.0))
    return {row.id: row.weight for row in rows}


def _take(session: Session, job_id: str) -> Job | None:
    """The job, locked; None when another worker has it in its hands."""
    return session.scalars(
        select(Job)
        .where(Job.id == job_id, Job.status == Status.QUEUED.value)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _within_quota(session: Session, job: Job, limits: Limits, moment: Moment) -> bool:
    """Look again under the user's lock: another worker may have started a job of the same user."""
    session.execute(select(User.id).where(User.id == job.user_id).with_for_update(key_share=True))
    num_running = session.scalar(
        select(func.count()).where(Job.user_id == job.user_id, Job.status.in_(sorted(CLAIMED)))
    )
    quota = quotas(session, [job.user_id], limits, moment).get(job.user_id)
    return within(quota, num_running or 0)


# ---------------------------------------------------------------- what is done with one job


def _begin(
    session: Session, job: Job, worker: Worker, devices: tuple[int, ...], moment: Moment
) -> Claim:
    job = transition(
        session,
        job,
        Status.STARTING,
        moment,
        reason="claimed",
        message=f"Starting on {worker.name} (attempt {job.tries + 1}/{MAX_TRIES})",
        attempt=job.attempt + 1,
        tries=job.tries + 1,
        worker_id=worker.id,
        lease_until=moment.lease + LEASE_SECONDS,
    )
    session.add(
        Attempt(
            job_id=job.id,
            number=job.attempt,
            worker_id=worker.id,
            user_id=job.user_id,
            devices=list(devices),
            claimed_at=moment.wall,
            claimed_lease=moment.lease,
        )
    )
    session.execute(
        update(Device)
        .where(Device.worker_id == worker.id, Device.index.in_(devices))
        .values(job_id=job.id)
    )
    session.flush()
    return _claim_of(session, job)


def _claim_of(session: Session, job: Job) -> Claim:
    attempt = session.get_one(Attempt, (job.id, job.attempt))
    return Claim(
        job.id,
        job.attempt,
        attempt.worker_id,
        tuple(attempt.devices),
        recipe=job.recipe,
        offset=job.shipped_offset,
    )


def _job_or_none(session: Session, job_id: str) -> Job | None:
    try:
        return lock(session, job_id)
    except NotFound:
        return None


def _is_current(job: Job, claimed: Claim) -> bool:
    return (
        status_of(job) in CLAIMED
        and job.attempt == claimed.attempt
        and job.worker_id == claimed.worker_id
    )


def _own(session: Session, claimed: Claim, *done: Status) -> Job:
    """The job of a claim, locked; StaleAttempt unless it is the current one.

    `done`: where the write leads, so that it may come twice.
    """
    job = lock(session, claimed.job_id)
    ended_by_us = job.attempt == claimed.attempt and status_of(job) in done
    if not _is_current(job, claimed) and not ended_by_us:
        raise StaleAttempt(
            f"Attempt {claimed.attempt} of job {job.id} is over: the job is {job.status}, "
            f"attempt {job.attempt}. Nothing was changed.",
            hint="End the process of the old attempt.",
            status=job.status,
            attempt=job.attempt,
        )
    return job


def _index(session: Session, claimed: Claim, saved: Saved, moment: Moment) -> str:
    found = session.scalars(
        select(Checkpoint).where(Checkpoint.job_id == claimed.job_id, Checkpoint.step == saved.step)
    ).one_or_none()
    if found is None:
        found = Checkpoint(
            id=ids.new(ids.CHECKPOINT, moment.wall),
            job_id=claimed.job_id,
            step=saved.step,
            created_at=moment.wall,
        )
        session.add(found)
    found.attempt, found.bytes, found.metrics = claimed.attempt, saved.bytes, saved.metrics
    found.deleted_at = None
    session.flush()
    return found.id


def _forget_others(session: Session, claimed: Claim, kept: Collection[int], moment: Moment) -> None:
    """The run removes old checkpoints; their rows stay, as deleted."""
    session.execute(
        update(Checkpoint)
        .where(
            Checkpoint.job_id == claimed.job_id,
            Checkpoint.step.not_in(sorted(kept)),
            Checkpoint.deleted_at.is_(None),
        )
        .values(deleted_at=moment.wall)
        .execution_options(synchronize_session=False)
    )


def _register(session: Session, job: Job, result: Result, moment: Moment) -> str:
    """The model of a job, with its lineage; a second one is refused by an index."""
    model = Model(
        id=ids.new(ids.MODEL, moment.wall),
        name=result.name,
        project_id=job.project_id,
        user_id=job.user_id,
        kind=result.kind,
        source="job",
        base=job.base,
        parent_id=job.base_model_id,
        job_id=job.id,
        recipe=job.recipe,
        details=result.details,
        bytes=result.bytes,
        manifest_sha256=result.manifest_sha256,
        created_at=moment.wall,
    )
    session.add(model)
    session.flush()
    for used in session.scalars(select(JobDataset).where(JobDataset.job_id == job.id)):
        session.add(
            ModelDataset(
                model_id=model.id, dataset_version_id=used.dataset_version_id, role=used.role
            )
        )
    return model.id


def cancel_now(session: Session, job: Job, moment: Moment) -> Job:
    """End a job that a worker had; the event says what is left of it."""
    kept = session.scalar(
        select(func.max(Checkpoint.step)).where(
            Checkpoint.job_id == job.id, Checkpoint.deleted_at.is_(None)
        )
    )
    what = "no checkpoint was saved" if kept is None else f"checkpoint {kept} kept"
    by = f" by {job.intent_by}" if job.intent_by else ""
    return transition(
        session,
        job,
        Status.CANCELLED,
        moment,
        reason="cancelled",
        message=f"Cancelled{by} at step {job.step}; {what}",
    )
