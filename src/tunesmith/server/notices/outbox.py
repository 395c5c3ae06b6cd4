"""Notices are written in the transaction of what they tell: both are stored, or neither.

    transition(...)  ->  job_changed(session, job, before, moment)  ->  one row a subscription

Nothing is sent here, so no slow address holds a job's lock; delivery.py does that afterwards. The
facts are kept as they are now; the words are made when they are sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from tunesmith.server import ids
from tunesmith.server.clock import Moment
from tunesmith.server.tables import (
    Job,
    Membership,
    Model,
    Notice,
    Project,
    Subscription,
    User,
)

TEST: Final = "test"
EVENTS: Final = (
    "job.queued",
    "job.started",
    "job.requeued",
    "job.paused",
    "job.succeeded",
    "job.failed",
    "job.cancelled",
    "deployment.started",
    "deployment.failed",
)
_OPENAI: Final = "fine_tuning."  # fine_tuning.job.succeeded is what webhooks call job.succeeded
_ENTERED: Final = {
    "running": "job.started",
    "paused": "job.paused",
    "succeeded": "job.succeeded",
    "failed": "job.failed",
    "cancelled": "job.cancelled",
}
_WITH_A_WORKER: Final = ("starting", "running", "pausing")


@dataclass(frozen=True)
class Subject:
    """What an event is about. `job_id` is the job itself, or the one that made what is deployed."""

    id: str
    project_id: str
    name: str
    job_id: str | None = None
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


def event_of(before: str, to: str) -> str | None:
    """The event that a change of a job's status is; None where nobody is told."""
    if to == "queued":
        return "job.requeued" if before in _WITH_A_WORKER else "job.queued"
    return _ENTERED.get(to)


def own_name(event: str) -> str:
    """Our name of an event, whichever of the two it came with."""
    return event.removeprefix(_OPENAI)


def public_name(event: str) -> str:
    """What webhooks call an event."""
    return _OPENAI + event if event.startswith("job.") else event


def job_changed(session: Session, job: Job, before: str, moment: Moment) -> None:
    """Tell the subscribers of a job that its status is another; states.transition() calls this."""
    event = event_of(before, job.status)
    if event is not None:
        notify(session, job, event, moment)


def notify(session: Session, job: Job, event: str, moment: Moment) -> int:
    """One notice for each subscription to this event of this job; how many they are."""
    wanting = _wanting(session, job.project_id, job.id, event)
    if not wanting:
        return 0
    subject = Subject(job.id, job.project_id, job.name, job.id, _facts(session, job))
    return _add(session, wanting, subject, event, moment)


def notify_about(session: Session, subject: Subject, event: str, moment: Moment) -> int:
    """The same for what is not a job: deployments."""
    wanting = _wanting(session, subject.project_id, subject.job_id, event)
    return _add(session, wanting, subject, event, moment)


def add_test(session: Session, subscription: Subscription, moment: Moment) -> Notice:
    """A notice that says nothing but that notices arrive."""
    subject = Subject(subscription.id, subscription.project_id, "")
    return _notice(session, subscription, subject, TEST, moment, ids.new(ids.TOLD, moment.wall))


def _wanting(
    session: Session, project_id: str, job_id: str | None, event: str
) -> list[Subscription]:
    """Only of people who may still see the project: who has left it is told nothing more."""
    is_member = exists().where(
        Membership.user_id == User.id, Membership.project_id == Subscription.project_id
    )
    found = session.scalars(
        select(Subscription)
        .join(User, User.id == Subscription.user_id)
        .where(
            User.disabled_at.is_(None),
            or_(User.is_admin, is_member),
            Subscription.project_id == project_id,
            Subscription.disabled_at.is_(None),
            or_(Subscription.job_id.is_(None), Subscription.job_id == job_id),
        )
        .order_by(Subscription.id)
    )
    return [subscription for subscription in found if event in subscription.events]


def _add(
    session: Session, wanting: list[Subscription], subject: Subject, event: str, moment: Moment
) -> int:
    told = ids.new(ids.TOLD, moment.wall)  # the event is one, however many are told of it
    for subscription in wanting:
        _notice(session, subscription, subject, event, moment, told)
    session.flush()
    return len(wanting)


def _notice(
    session: Session,
    subscription: Subscription,
    subject: Subject,
    event: str,
    moment: Moment,
    told: str,
) -> Notice:
    project = session.get(Project, subject.project_id)
    notice = Notice(
        id=ids.new(ids.NOTICE, moment.wall),
        subscription_id=subscription.id,
        job_id=subject.job_id,
        event=event,
        body={
            "event": {
                "id": told,
                "object": "event",
                "type": public_name(event),
                "created_at": int(moment.wall.timestamp()),
                "data": {"id": subject.id},
            },
            "facts": {
                "name": subject.name,
                "project": project.name if project else "",
                **subject.facts,
            },
        },
        next_try_at=moment.wall,
        created_at=moment.wall,
    )
    session.add(notice)
    return notice


def _facts(session: Session, job: Job) -> dict[str, Any]:
    model = session.scalar(
        select(Model.name).where(Model.job_id == job.id, Model.checkpoint_id.is_(None))
    )
    return {
        "reason": job.reason,
        "error": str((job.error or {}).get("message", "")),
        "model": model or "",
        "step": job.step,
        "total_steps": job.total_steps,
    }
