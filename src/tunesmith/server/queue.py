"""The queue as users use it: submit, look, pause, resume, stop, cancel, reorder.

Each method is one transaction on one job, whose row is locked for it. `guard` is called with that
row before anything is changed: services/jobs asks there who may, and writes the audit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from tunesmith.server import clock, ids, journal
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.errors import Conflict, KeyReused, NotFound, QuotaExceeded
from tunesmith.server.quotas import Limits, quotas
from tunesmith.server.states import (
    CLAIMED,
    FINAL,
    Status,
    illegal,
    lock,
    status_of,
    transition,
)
from tunesmith.server.tables import Checkpoint, DatasetVersion, Job, JobDataset, Submission, User

RETRY_WINDOW: Final = timedelta(minutes=1)
MOST_A_PAGE: Final = 1000
STOPPING: Final = "stopping"  # waits for a device only to write its result
# Nobody trains the job, or not yet: what it can end with is its newest checkpoint.
_WITH_CHECKPOINT: Final = frozenset({Status.QUEUED, Status.STARTING, Status.PAUSED})
Guard = Callable[[Session, Job, Moment], None]


@dataclass(frozen=True)
class NewJob:
    """What a submission holds, checked and resolved: names are ids by now."""

    project_id: str
    user_id: str
    name: str
    recipe: Mapping[str, Any]
    base: str
    base_model_id: str | None = None
    description: str = ""
    labels: Mapping[str, str] | None = None
    request: Mapping[str, Any] | None = None
    num_devices: int = 1
    flavour: str = ""  # of the device, as workers report it
    flavour_name: str = ""  # as users choose it: several may have the same device
    price_cents_per_hour: float = 0.0
    priority: int = 0
    parent_id: str | None = None
    checkpoint_id: str | None = None
    datasets: Sequence[tuple[str, str]] = ()  # (id of a version, role)
    needs_validation: bool = False


@dataclass(frozen=True)
class Submitted:
    """How a request came: what makes the same one, sent twice, one job."""

    body_sha256: str
    key: str | None = None
    is_retry: bool = False  # the client says that it sends this again


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a list shows."""

    project_ids: Collection[str] = ()
    statuses: Collection[Status] = ()
    user_id: str | None = None
    text: str = ""  # in the name, or the beginning of the id
    base: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    without_labels: bool = False


@dataclass(frozen=True)
class Page:
    """A part of a list, newest first; `has_more` tells whether older ones follow."""

    items: Sequence[Job]
    has_more: bool


def body_hash(body: Any) -> str:
    """Equal for equal requests, whatever the order of their keys and the size of their numbers."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


class Queue:
    """The use cases, whoever asks; services/jobs says who may."""

    def __init__(self, database: Database, limits: Limits | None = None) -> None:
        self._database = database
        self._limits = limits or Limits()

    def known(self, user_id: str, submitted: Submitted) -> Job | None:
        """The job of the same request, if it came before."""
        if submitted.key is None and not submitted.is_retry:
            return None
        with self._database.read() as session:
            return _known(session, user_id, submitted, clock.read(session))

    def create(
        self, new: NewJob, submitted: Submitted, guard: Guard | None = None
    ) -> tuple[Job, bool]:
        """The job, and whether it is new: the same request again returns the first one's job.

        `guard` is called with the new job, in the transaction that makes it.
        """
        with self._database.write() as session:
            moment = clock.read(session)
            _lock_user(session, new.user_id)  # two requests of a user come one after the other
            known = _known(session, new.user_id, submitted, moment)
            known = known or _overtaken(session, new.user_id, submitted, moment)
            if known is not None:
                return known, False
            self._refuse_beyond_quota(session, new.user_id, moment)
            job = _insert(session, new, moment)
            session.add(
                Submission(
                    job_id=job.id,
                    user_id=new.user_id,
                    key=submitted.key,
                    body_sha256=submitted.body_sha256,
                    is_ahead=submitted.key is None and submitted.is_retry,
                    created_at=moment.wall,
                )
            )
            journal.append(
                session, job, moment, journal.Entry("created", "Created fine-tuning job")
            )
            if guard is not None:
                guard(session, job, moment)
            if not new.needs_validation:
                job = _queue(session, job, moment)
            return job, True

    def get(self, job_id: str) -> Job:
        with self._database.read() as session:
            return _existing(session, job_id)

    def list(self, wanted: JobFilter, *, after: str | None = None, limit: int = 20) -> Page:
        """Newest first. None comes twice and none is skipped, whatever is added meanwhile."""
        limit = min(max(limit, 1), MOST_A_PAGE)
        with self._database.read() as session:
            query = select(Job).where(*_conditions(wanted)).order_by(Job.id.desc()).limit(limit + 1)
            if after:
                query = query.where(Job.id < after)
            jobs = session.scalars(query).all()
        return Page(jobs[:limit], len(jobs) > limit)

    def events(self, job_id: str, *, after: int = 0, limit: int = 100) -> Sequence[journal.Record]:
        """Events after a number, oldest first."""
        with self._database.read() as session:
            _existing(session, job_id)
            return journal.after(session, job_id, after, limit)

    def validated(self, job_id: str) -> Job:
        """The files of a job are in order: it waits for a worker now."""
        return self.change(job_id, _queue)

    def refuse(self, job_id: str, error: Mapping[str, Any]) -> Job:
        """The files of a job cannot be used: `code`, `message`, `param`."""

        def refuse(session: Session, job: Job, moment: Moment) -> Job:
            return transition(
                session,
                job,
                Status.FAILED,
                moment,
                reason=str(error["code"]),
                message=str(error["message"]),
                error=dict(error),
            )

        return self.change(job_id, refuse)

    def cancel(self, job_id: str, by: str, guard: Guard | None = None) -> Job:
        """At once where nobody works on the job; else its worker is told to end it."""

        def cancel(session: Session, job: Job, moment: Moment) -> Job:
            if status_of(job) in CLAIMED:
                return _ask(session, job, "cancel", by, moment)
            return transition(
                session,
                job,
                Status.CANCELLED,
                moment,
                reason="cancelled",
                message=f"Cancelled by {by} before it trained"
                if job.step == 0
                else f"Cancelled by {by} at step {job.step}; its checkpoints are kept",
            )

        return self.change(job_id, cancel, guard)

    def pause(self, job_id: str, by: str, guard: Guard | None = None) -> Job:
        """Save a checkpoint and free the devices. Only a job that runs and has a step can."""

        def pause(session: Session, job: Job, moment: Moment) -> Job:
            if status_of(job) is Status.PAUSING:
                return job
            if status_of(job) is not Status.RUNNING:
                raise illegal(job, Status.PAUSING)
            if job.step < 1:
                raise _nothing_kept(job, "Pause it after the first step, or cancel it.")
            if job.intent == "cancel":
                raise _already(job)
            job = _ask(session, job, "pause", by, moment)
            return transition(
                session, job, Status.PAUSING, moment, reason="pause_requested", intent="pause"
            )

        return self.change(job_id, pause, guard)

    def stop(self, job_id: str, by: str, guard: Guard | None = None) -> Job:
        """Finish now and keep the result: ends as succeeded with reason `stopped`.

        One that waits or is paused with a checkpoint goes first in its queue: a worker writes the
        result from the checkpoint, without a further step.
        """

        def stop(session: Session, job: Job, moment: Moment) -> Job:
            if job.intent == "cancel":
                raise _already(job)
            if status_of(job) is Status.RUNNING:
                return _ask(session, job, "stop", by, moment)
            if status_of(job) not in _WITH_CHECKPOINT:
                raise illegal(job, Status.SUCCEEDED)
            step = _last_checkpoint(session, job)
            if step is None:
                raise _nothing_kept(job)
            if status_of(job) is Status.STARTING:
                return _ask(session, job, "stop", by, moment)
            job.position = _first_position(session, job)
            told = f"Will finish with the checkpoint of step {step} as soon as a device is free"
            if status_of(job) is Status.PAUSED:
                job = transition(
                    session, job, Status.QUEUED, moment, reason=STOPPING, message=told, tries=0
                )
            elif job.intent != "stop":
                job.reason = STOPPING
                journal.append(session, job, moment, journal.Entry("notice", told))
            return _ask(session, job, "stop", by, moment)

        return self.change(job_id, stop, guard)

    def resume(
        self,
        job_id: str,
        by: str,
        *,
        num_devices: int | None = None,
        guard: Guard | None = None,
        **columns: Any,
    ) -> Job:
        """Queue a paused job again, perhaps for another number of devices; its tries start anew."""

        def resume(session: Session, job: Job, moment: Moment) -> Job:
            if status_of(job) is not Status.PAUSED:
                raise illegal(job, Status.QUEUED)
            return transition(
                session,
                job,
                Status.QUEUED,
                moment,
                reason="resumed",
                message=f"Resumed by {by}; goes on from step {job.step}",
                tries=0,
                num_devices=num_devices or job.num_devices,
                position=_last_position(session, job.project_id),
                **columns,
            )

        return self.change(job_id, resume, guard)

    def reorder(self, job_id: str, *, before: str | None, guard: Guard | None = None) -> Job:
        """Put a waiting job in front of another of its project, or last (None)."""

        def reorder(session: Session, job: Job, moment: Moment) -> Job:
            _ = moment
            if status_of(job) is not Status.QUEUED:
                raise Conflict(
                    f"Job {job.id} is {job.status}; only waiting jobs have a place in the queue.",
                    code="not_queued",
                    status=job.status,
                )
            job.position = _position(session, job, before)
            session.flush()
            return job

        return self.change(job_id, reorder, guard)

    def change(
        self,
        job_id: str,
        change: Callable[[Session, Job, Moment], Job],
        guard: Guard | None = None,
    ) -> Job:
        """One transaction on one job, whose row is locked for it."""
        with self._database.write() as session:
            moment, job = clock.read(session), lock(session, job_id)
            if guard is not None:
                guard(session, job, moment)
            return change(session, job, moment)

    def _refuse_beyond_quota(self, session: Session, user_id: str, moment: Moment) -> None:
        quota = quotas(session, [user_id], self._limits, moment)[user_id]
        if quota.storage_bytes_left is not None and quota.storage_bytes_left < 0:
            raise QuotaExceeded(
                f"Your stored files are {-quota.storage_bytes_left} bytes above your limit.",
                hint="Delete files, checkpoints or models that you do not need.",
                form="storage",
                above=-quota.storage_bytes_left,
            )
        if quota.device_seconds_left is not None and quota.device_seconds_left <= 0:
            raise QuotaExceeded(
                "Your device hours of the last 30 days are used up.",
                hint="Wait, or ask an administrator for more.",
                form="device_hours",
            )


def _lock_user(session: Session, user_id: str) -> None:
    found = session.scalar(
        select(User.id).where(User.id == user_id).with_for_update(key_share=True)
    )
    if found is None:
        raise NotFound(f"There is no user {user_id}.", code="user_not_found", id=user_id)


def _known(session: Session, user_id: str, submitted: Submitted, moment: Moment) -> Job | None:
    """The job of the same request, if it came before."""
    mine = select(Submission).where(Submission.user_id == user_id)
    if submitted.key is not None:
        first = session.scalars(mine.where(Submission.key == submitted.key)).one_or_none()
        if first is not None and first.body_sha256 != submitted.body_sha256:
            raise KeyReused(
                "This Idempotency-Key came with another body before; nothing was submitted.",
                hint="Use a new key for a new job.",
                job_id=first.job_id,
            )
    elif submitted.is_retry:
        first = session.scalars(
            mine.where(
                Submission.body_sha256 == submitted.body_sha256,
                Submission.created_at > moment.wall - RETRY_WINDOW,
            )
            .order_by(Submission.created_at.desc(), Submission.job_id.desc())
            .limit(1)
        ).one_or_none()
    else:
        return None
    return session.get_one(Job, first.job_id) if first else None


def _overtaken(session: Session, user_id: str, submitted: Submitted, moment: Moment) -> Job | None:
    """The job that a retry of this request made before it, when the client gave it up too early.

    It answers for one such request only: who sends the same again wants another job.
    """
    if submitted.key is not None or submitted.is_retry:
        return None
    ahead = session.scalars(
        select(Submission)
        .where(
            Submission.user_id == user_id,
            Submission.body_sha256 == submitted.body_sha256,
            Submission.created_at > moment.wall - RETRY_WINDOW,
            Submission.is_ahead,
        )
        .order_by(Submission.created_at, Submission.job_id)
        .limit(1)
    ).one_or_none()
    if ahead is None:
        return None
    ahead.is_ahead = False
    session.flush()
    return session.get_one(Job, ahead.job_id)


def _insert(session: Session, new: NewJob, moment: Moment) -> Job:
    _refuse_missing_datasets(session, new)
    job = Job(
        id=ids.new(ids.JOB, moment.wall),
        project_id=new.project_id,
        user_id=new.user_id,
        name=new.name,
        description=new.description,
        labels=dict(new.labels) if new.labels else None,
        recipe=dict(new.recipe),
        request=dict(new.request) if new.request else None,
        base=new.base,
        base_model_id=new.base_model_id,
        parent_id=new.parent_id,
        checkpoint_id=new.checkpoint_id,
        priority=new.priority,
        position=_last_position(session, new.project_id),
        num_devices=new.num_devices,
        flavour=new.flavour,
        flavour_name=new.flavour_name,
        price_cents_per_hour=new.price_cents_per_hour,
        created_at=moment.wall,
        changed_at=moment.wall,
        heard_at=moment.lease,
    )
    session.add(job)
    session.flush()
    for version, role in new.datasets:
        session.add(JobDataset(job_id=job.id, dataset_version_id=version, role=role))
    session.flush()
    return job


def _refuse_missing_datasets(session: Session, new: NewJob) -> None:
    """Held until the end of the transaction, so that a deletion comes before or sees the job."""
    for version, _ in new.datasets:
        found = session.scalar(
            select(DatasetVersion.id)
            .where(DatasetVersion.id == version, DatasetVersion.deleted_at.is_(None))
            .with_for_update(read=True)
        )
        if found is None:
            raise NotFound(
                f"There is no dataset version {version}; nothing was submitted.",
                code="dataset_version_not_found",
                id=version,
            )


def _queue(session: Session, job: Job, moment: Moment) -> Job:
    return transition(session, job, Status.QUEUED, moment, message="Waits for a worker")


def _existing(session: Session, job_id: str) -> Job:
    job = session.scalars(
        select(Job).where(Job.id == job_id, Job.deleted_at.is_(None))
    ).one_or_none()
    if job is None:
        raise NotFound(f"There is no job {job_id}.", code="job_not_found", id=job_id)
    return job


def refuse_retry(job: Job) -> None:
    """Conflict for a job that has not ended.

    So for one of the OpenAI API whose files were never accepted: it has no recipe that could run.
    """
    if status_of(job) not in FINAL:
        raise Conflict(
            f"Job {job.id} is {job.status}; there is nothing to retry yet.",
            hint="Wait for its end, or clone it.",
            code="not_finished",
            status=job.status,
        )
    if job.request and "training_file" in job.request and "numbers" not in job.request:
        raise Conflict(
            f"Job {job.id} ended before its files were accepted; they would be refused again.",
            hint="Correct the file, upload it, and submit a new job.",
            code="files_not_accepted",
            status=job.status,
        )


def _ask(session: Session, job: Job, intent: str, by: str, moment: Moment) -> Job:
    """Leave a request for the next heartbeat; the same one twice is one."""
    if job.intent != intent:
        job.intent, job.intent_by, job.intent_lease = intent, by, moment.lease
        journal.append(
            session,
            job,
            moment,
            journal.Entry("request", f"{intent.capitalize()} requested by {by}", data={"by": by}),
        )
    return job


def _nothing_kept(job: Job, hint: str = "Cancel it, or wait for its first step.") -> Conflict:
    return Conflict(
        f"Job {job.id} has not finished its first step, so there is nothing to keep.",
        hint=hint,
        code="no_step_yet",
        status=job.status,
    )


def _last_checkpoint(session: Session, job: Job) -> int | None:
    """The step of the newest checkpoint whose files are there."""
    return session.scalar(
        select(func.max(Checkpoint.step)).where(
            Checkpoint.job_id == job.id, Checkpoint.deleted_at.is_(None)
        )
    )


def _already(job: Job) -> Conflict:
    return Conflict(f"Job {job.id} is being cancelled.", code="being_cancelled", status=job.status)


def _conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        Job.deleted_at.is_(None),
        Job.project_id.in_(wanted.project_ids),
    ]
    if wanted.statuses:
        conditions.append(Job.status.in_(sorted(wanted.statuses)))
    if wanted.user_id is not None:
        conditions.append(Job.user_id == wanted.user_id)
    if wanted.text:
        conditions.append(Job.name.icontains(wanted.text, autoescape=True))
    if wanted.base:
        conditions.append(Job.base == wanted.base)
    if wanted.without_labels:
        conditions.append(Job.labels.is_(None))
    for key, value in wanted.labels.items():
        conditions.append(Job.labels[key].as_string() == value)
    return conditions


def _last_position(session: Session, project_id: str) -> float:
    last = session.scalar(
        select(func.max(Job.position)).where(
            Job.project_id == project_id, Job.status == Status.QUEUED.value
        )
    )
    return (last or 0.0) + 1.0


def _first_position(session: Session, job: Job) -> float:
    """In front of all that wait in the project."""
    first = session.scalar(
        select(func.min(Job.position)).where(
            Job.project_id == job.project_id, Job.status == Status.QUEUED.value, Job.id != job.id
        )
    )
    return job.position if first is None else min(job.position, first - 1.0)


def _position(session: Session, job: Job, before: str | None) -> float:
    """A place between two neighbours: 1 and 2 -> 1.5; all are numbered anew once halves run out."""
    if before is None or before == job.id:
        return job.position if before else _last_position(session, job.project_id)
    queue = session.scalars(
        select(Job)
        .where(
            Job.project_id == job.project_id,
            Job.status == Status.QUEUED.value,
            Job.priority == job.priority,
            Job.id != job.id,
        )
        .order_by(Job.position, Job.id)
    ).all()
    place = next((number for number, other in enumerate(queue) if other.id == before), None)
    if place is None:
        raise NotFound(
            f"Job {before} does not wait in the same queue with the same priority.",
            hint="Name a job that waits in the same queue with the same priority.",
            code="job_not_found",
            form="queue",
            param="before",
            id=before,
        )
    low = queue[place - 1].position if place else queue[0].position - 2.0
    middle = (low + queue[place].position) / 2
    if low < middle < queue[place].position:
        return middle
    for number, other in enumerate(queue):
        other.position = float(number + (number >= place))
    return float(place)
