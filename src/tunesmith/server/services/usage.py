"""What is used of the disk and of the limits of a user."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.server import clock, holds, quotas
from tunesmith.server.access import Caller
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.quotas import Limits
from tunesmith.server.states import CLAIMED
from tunesmith.server.tables import Checkpoint, DatasetVersion, File, Job, Model, User

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class StoredPart:
    """One kind of thing: how many there are, and the bytes that they are said to take."""

    name: str
    count: int
    bytes: int


@dataclass(frozen=True)
class StorageView:
    """The disk of the data directory; `parts` are told to administrators alone."""

    total_bytes: int
    free_bytes: int
    parts: Sequence[StoredPart]


@dataclass(frozen=True)
class UsageView:
    """What a user has of each limit; a limit that is None is none."""

    running_jobs: int
    limit_running_jobs: int | None
    device_hours: float
    limit_device_hours: float | None
    storage_bytes: int
    limit_storage_bytes: int | None
    credit_cents: int | None
    held_cents: int  # of it, for jobs that wait or run


class Usage:
    """How much is taken, and of what."""

    def __init__(self, database: Database, place: DataDir, limits: Limits) -> None:
        self._database, self._place, self._limits = database, place, limits

    def storage(self, caller: Caller) -> StorageView:
        caller.require_scope("read")
        disk = shutil.disk_usage(self._place.root)
        parts: Sequence[StoredPart] = []
        if caller.is_admin:
            with self._database.read() as session:
                parts = _parts(session)
        return StorageView(disk.total, disk.free, parts)

    def of_oneself(self, caller: Caller) -> UsageView:
        """As the scheduler and the uploads count it."""
        caller.require_scope("read")
        with self._database.read() as session:
            moment = clock.read(session)
            user = session.scalars(select(User).where(User.id == caller.user_id)).one()
            running = session.scalar(
                select(func.count())
                .select_from(Job)
                .where(Job.user_id == user.id, Job.status.in_(CLAIMED))
            )
            seconds = quotas.device_seconds(session, user.id, moment)
            stored = quotas.storage_bytes(session, user.id)
            held = holds.held_cents(session, user.id)
        limits = self._limits
        return UsageView(
            running_jobs=running or 0,
            limit_running_jobs=_own(user.quota_running_jobs, limits.running_jobs),
            device_hours=seconds / 3600,
            limit_device_hours=_own(user.quota_device_hours, limits.device_hours),
            storage_bytes=stored,
            limit_storage_bytes=_own(user.quota_storage_bytes, limits.storage_bytes),
            credit_cents=user.credit_cents,
            held_cents=held,
        )


def _own(own: Number | None, general: Number | None) -> Number | None:
    return general if own is None else own


def _parts(session: Session) -> list[StoredPart]:
    """Files, dataset versions, models and checkpoints that are not deleted."""
    found: list[StoredPart] = []
    for name, table in (
        ("files", File),
        ("datasets", DatasetVersion),
        ("models", Model),
        ("checkpoints", Checkpoint),
    ):
        query = select(func.count(), func.coalesce(func.sum(table.bytes), 0)).where(
            table.deleted_at.is_(None)
        )
        if table is Model:  # the files of such a model are the checkpoint's
            query = query.where(Model.checkpoint_id.is_(None))
        count, size = session.execute(query).one()
        found.append(StoredPart(name, int(count), int(size)))
    return found
