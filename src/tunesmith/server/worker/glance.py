"""The cheap look at the database that a worker takes several times a second: nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from tunesmith.server.claims import Order
from tunesmith.server.database import Database
from tunesmith.server.states import CLAIMED, Status
from tunesmith.server.tables import Job


@dataclass(frozen=True)
class Glance:
    """What there is to do. `queue` changes whenever a job joins or leaves it."""

    queue: tuple[int, datetime | None]
    orders: dict[str, Order]  # of all jobs that are this worker's

    @property
    def is_anyone_waiting(self) -> bool:
        return self.queue[0] > 0


def glance(database: Database, worker_id: str) -> Glance:
    """How the queue stands, and what is wanted of each job of this worker."""
    with database.read() as session:
        queue = session.execute(
            select(func.count(), func.max(Job.changed_at)).where(
                Job.status == Status.QUEUED.value, Job.deleted_at.is_(None)
            )
        ).one()
        mine = session.execute(
            select(Job.id, Job.attempt, Job.intent, Job.intent_by).where(
                Job.worker_id == worker_id,
                Job.status.in_(sorted(CLAIMED)),
                Job.deleted_at.is_(None),
            )
        ).all()
    return Glance((queue[0], queue[1]), {row.id: _order(row) for row in mine})


def _order(row: Any) -> Order:
    return Order(row.id, row.attempt, row.intent or "go_on", row.intent_by or "")
