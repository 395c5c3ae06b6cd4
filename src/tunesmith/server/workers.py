"""Workers and their devices, as they report themselves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.server import clock, ids
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir, left_by
from tunesmith.server.errors import NotFound
from tunesmith.server.tables import Device, Worker

LEASE_SECONDS: Final = 30.0  # of a worker and of each of its claims
HEARTBEAT_SECONDS: Final = 5.0
FORGOTTEN_AFTER: Final = timedelta(days=7)  # by who asks how the workers are


@dataclass(frozen=True)
class DeviceInfo:
    """One device that a worker has; `index` is what CUDA_VISIBLE_DEVICES takes."""

    index: int
    name: str = ""
    memory_bytes: int | None = None
    flavour: str = ""
    is_missing: bool = False  # configured, but not found


@dataclass(frozen=True)
class Heartbeats:
    """Who takes jobs now, who was last heard of too long ago, and whose process was killed.

    The last two with when they were heard of. `longest` is how many seconds ago the running worker
    of the oldest heartbeat was heard of: on another machine it is all that is known of it.
    """

    running: Sequence[str]
    silent: Sequence[tuple[str, datetime]]
    killed: Sequence[tuple[str, datetime]] = ()
    longest: float | None = None


def heartbeats(session: Session, now: datetime, place: DataDir) -> Heartbeats:
    """By the wall clock, for people. Workers that are away for longer than a week are forgotten.

    A worker of this machine holds a lock in the data directory, which ends with its process: that
    one was killed is known at once. Of others it is known when their heartbeat stays away.
    """
    rows = session.execute(
        select(Worker.name, Worker.host, Worker.seen_at, Worker.accepts_jobs)
        .where(Worker.seen_at > now - FORGOTTEN_AFTER)
        .order_by(Worker.name)
    ).all()
    late = now - timedelta(seconds=LEASE_SECONDS)
    killed = {row.name for row in rows if was_killed(place, row.name, row.host)}
    running = [
        row for row in rows if row.seen_at >= late and row.accepts_jobs and row.name not in killed
    ]
    ages = [max(0.0, (now - row.seen_at).total_seconds()) for row in running]
    return Heartbeats(
        running=[row.name for row in running],
        silent=[
            (row.name, row.seen_at) for row in rows
            if row.seen_at < late and row.name not in killed
        ],
        killed=[(row.name, row.seen_at) for row in rows if row.name in killed],
        longest=max(ages, default=None),
    )  # fmt: skip


def was_killed(place: DataDir, name: str, host: str) -> bool:
    """Whether the process of a worker is gone without having said so; False where it cannot be
    told from here, as of a worker on another machine.
    """
    here = os.uname().nodename
    if host != here:
        return False
    left = left_by(place.worker_lock(name))
    return left is not None and left.host == here


def register(
    database: Database,
    name: str,
    devices: Sequence[DeviceInfo],
    *,
    host: str = "",
    backend: str = "local",
    version: str = "",
) -> str:
    """A worker that starts, or starts again: the same name is the same worker, with its claims.

    A device that it had and does not report stays, as missing: a job that holds it goes on.
    """
    with database.write() as session:
        moment = clock.read(session)
        worker = session.scalars(
            select(Worker).where(Worker.name == name).with_for_update(key_share=True)
        ).one_or_none()
        if worker is None:
            worker = Worker(
                id=ids.new(ids.WORKER, moment.wall), name=name, registered_at=moment.wall
            )
            session.add(worker)
        worker.host, worker.backend, worker.version = host, backend, version
        worker.accepts_jobs = True
        seen(worker, moment)
        session.flush()
        _report(session, worker.id, devices, moment)
        return worker.id


def living_on(database: Database, name: str) -> str | None:
    """The host on which a worker of that name works now; None where none does."""
    with database.read() as session:
        moment = clock.read(session)
        worker = session.scalars(select(Worker).where(Worker.name == name)).one_or_none()
        if worker is None or not worker.accepts_jobs or worker.lease_until < moment.lease:
            return None
        return worker.host


def drain(database: Database, worker_id: str) -> None:
    """The worker takes no new jobs; those that it has go on."""
    with database.write() as session:
        lock(session, worker_id).accepts_jobs = False


def lock(session: Session, worker_id: str) -> Worker:
    """The worker's row, held: two claims of one worker come one after the other."""
    worker = session.scalars(
        select(Worker)
        .where(Worker.id == worker_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if worker is None:
        raise NotFound(
            f"There is no worker {worker_id}.",
            hint="Register it again; it gets a new id.",
            code="worker_not_found",
        )
    return worker


def seen(worker: Worker, moment: Moment) -> None:
    """The worker is alive now."""
    worker.seen_at, worker.lease_until = moment.wall, moment.lease + LEASE_SECONDS


def _report(
    session: Session, worker_id: str, devices: Sequence[DeviceInfo], moment: Moment
) -> None:
    known = {
        device.index: device
        for device in session.scalars(select(Device).where(Device.worker_id == worker_id))
    }
    for info in devices:
        device = known.pop(info.index, None)
        if device is None:
            device = Device(worker_id=worker_id, index=info.index)
            session.add(device)
        device.name, device.flavour = info.name, info.flavour
        device.memory_bytes = info.memory_bytes
        device.missing_since = (device.missing_since or moment.wall) if info.is_missing else None
    for device in known.values():
        device.missing_since = device.missing_since or moment.wall
