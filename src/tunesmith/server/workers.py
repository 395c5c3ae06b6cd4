"""Workers and their devices, as they report themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.server import clock, ids
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.errors import NotFound
from tunesmith.server.tables import Device, Worker

LEASE_SECONDS: Final = 30.0  # of a worker and of each of its claims
HEARTBEAT_SECONDS: Final = 5.0


@dataclass(frozen=True)
class DeviceInfo:
    """One device that a worker has; `index` is what CUDA_VISIBLE_DEVICES takes."""

    index: int
    name: str = ""
    memory_bytes: int | None = None
    flavour: str = ""


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
        device.memory_bytes, device.missing_since = info.memory_bytes, None
    for device in known.values():
        device.missing_since = device.missing_since or moment.wall
