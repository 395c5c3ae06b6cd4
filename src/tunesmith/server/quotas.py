"""What each user has used, and what is left of the limits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from tunesmith.runs.files import format_bytes
from tunesmith.server.clock import Moment
from tunesmith.server.errors import QuotaExceeded
from tunesmith.server.scheduler import Quota
from tunesmith.server.settings import Settings
from tunesmith.server.tables import (
    Attempt,
    Checkpoint,
    DatasetVersion,
    File,
    Job,
    Model,
    Upload,
    User,
)

PERIOD: Final = timedelta(days=30)


@dataclass(frozen=True)
class Limits:
    """The limits of a user who has none of their own; None is no limit."""

    running_jobs: int | None = None
    device_hours: float | None = None  # in 30 days
    storage_bytes: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(
            settings.quota_running_jobs,
            settings.quota_device_hours,
            settings.quota_storage_bytes,
        )


def quotas(
    session: Session, users: Collection[str], limits: Limits, moment: Moment
) -> dict[str, Quota]:
    """What each of these users may still have."""
    found = session.execute(
        select(
            User.id, User.quota_running_jobs, User.quota_device_hours, User.quota_storage_bytes
        ).where(User.id.in_(users))
    )
    result: dict[str, Quota] = {}
    for user, running, hours, stored in found:
        running = limits.running_jobs if running is None else running
        hours = limits.device_hours if hours is None else hours
        stored = limits.storage_bytes if stored is None else stored
        seconds_left = bytes_left = None
        if hours is not None:
            seconds_left = hours * 3600 - device_seconds(session, user, moment)
        if stored is not None:
            bytes_left = stored - storage_bytes(session, user)
        result[user] = Quota(running, seconds_left, bytes_left)
    return result


def device_seconds(session: Session, user: str, moment: Moment) -> float:
    """Seconds of devices that the user's jobs had in the last 30 days, running ones included."""
    ended = session.scalar(
        select(func.coalesce(func.sum(Attempt.device_seconds), 0.0)).where(
            Attempt.user_id == user, Attempt.claimed_at > moment.wall - PERIOD
        )
    )
    going_on = session.scalars(
        select(Attempt).where(Attempt.user_id == user, Attempt.ended_at.is_(None))
    )
    return float(ended or 0.0) + sum(
        moment.ago(attempt.claimed_lease).total_seconds() * max(1, len(attempt.devices))
        for attempt in going_on
    )


def storage_bytes(session: Session, user: str) -> int:
    """Bytes that the user's files, uploads, datasets, models and checkpoints take.

    An upload counts whole from its start, so that what was begun can be brought to its end.
    """
    pending = Upload.state == "pending"
    of_job = Checkpoint.job_id.in_(select(Job.id).where(Job.user_id == user))
    parts = [
        _sum(session, File.bytes, File.user_id == user, File.deleted_at.is_(None)),
        _sum(session, Upload.bytes, Upload.user_id == user, pending),
        _sum(
            session,
            DatasetVersion.bytes,
            DatasetVersion.user_id == user,
            DatasetVersion.deleted_at.is_(None),
        ),
        _sum(
            session,
            Model.bytes,
            Model.user_id == user,
            Model.deleted_at.is_(None),
            Model.checkpoint_id.is_(None),  # its files are the checkpoint's, which counts itself
        ),
        _sum(session, Checkpoint.bytes, of_job, Checkpoint.deleted_at.is_(None)),
    ]
    return sum(parts)


def refuse_beyond_storage(
    session: Session,
    user: str,
    limits: Limits,
    moment: Moment,
    wanted: int,
    *,
    lock: bool = False,
) -> None:
    """QuotaExceeded where so many bytes more are above the user's limit.

    `lock`: until the end of the transaction nothing else of this user's is counted.
    """
    if lock:
        session.execute(select(User.id).where(User.id == user).with_for_update(key_share=True))
    left = quotas(session, [user], limits, moment)[user].storage_bytes_left
    if left is not None and wanted > left:
        told = f"This takes {format_bytes(wanted)}, and {format_bytes(max(0, left))} of your"
        told += " storage are left"
        if wanted <= 0:  # how much comes is not known yet, and does not matter
            told = f"You store {format_bytes(-left)} more than your limit"
        raise QuotaExceeded(
            f"{told}; nothing was kept.",
            hint="Delete files, datasets, checkpoints or models that you do not need, or ask an "
            "administrator for more.",
            code="exceeded_storage_quota",
            wanted=wanted,
            left=max(0, left),
        )


def _sum(
    session: Session, column: InstrumentedAttribute[int], *conditions: ColumnElement[Any]
) -> int:
    return int(session.scalar(select(func.coalesce(func.sum(column), 0)).where(*conditions)) or 0)
