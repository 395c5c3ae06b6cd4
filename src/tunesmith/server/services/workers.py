"""The workers with their devices, and how busy those are, as people look at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from tunesmith.server import clock
from tunesmith.server.access import Caller
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.tables import Device, Job, MetricPoint, Worker
from tunesmith.server.workers import FORGOTTEN_AFTER, was_killed


@dataclass(frozen=True)
class DeviceUse:
    """A device now. Memory and utilisation are what its job told with its newest step."""

    index: int
    name: str
    flavour: str
    memory_bytes: int | None
    is_busy: bool
    is_missing: bool
    job_id: str | None = None  # where the caller may see it
    job_name: str | None = None
    used_bytes: int | None = None
    utilisation: float | None = None


@dataclass(frozen=True)
class WorkerView:
    """A worker that was heard of in the last week."""

    id: str
    name: str
    host: str
    backend: str
    version: str
    is_running: bool
    accepts_jobs: bool
    registered_at: datetime
    seen_at: datetime
    devices: Sequence[DeviceUse]


class Workers:
    """Who computes, on what."""

    def __init__(self, database: Database, place: DataDir) -> None:
        self._database, self._place = database, place

    def list(self, caller: Caller) -> Sequence[WorkerView]:
        """By name; jobs of projects that the caller is not in only make a device busy."""
        caller.require_scope("read")
        with self._database.read() as session:
            moment = clock.read(session)
            rows = session.scalars(
                select(Worker)
                .where(Worker.seen_at > moment.wall - FORGOTTEN_AFTER)
                .order_by(Worker.name)
            ).all()
            devices = _devices(session, caller)
        return [
            WorkerView(
                id=row.id,
                name=row.name,
                host=row.host,
                backend=row.backend,
                version=row.version,
                is_running=row.lease_until >= moment.lease
                and not was_killed(self._place, row.name, row.host),
                accepts_jobs=row.accepts_jobs,
                registered_at=row.registered_at,
                seen_at=row.seen_at,
                devices=devices.get(row.id, []),
            )
            for row in rows
        ]


def _devices(session: Session, caller: Caller) -> dict[str, list[DeviceUse]]:
    """The devices of each worker."""
    found: dict[str, list[DeviceUse]] = {}
    rows = session.execute(
        select(Device, Job)
        .outerjoin(Job, Job.id == Device.job_id)
        .order_by(Device.worker_id, Device.index)
    ).all()
    for device, job in rows:
        newest = _newest(session, job) if device.job_id else {}
        found.setdefault(device.worker_id, []).append(_use(device, job, caller, newest))
    return found


def _use(device: Device, job: Job | None, caller: Caller, newest: Mapping[str, Any]) -> DeviceUse:
    is_ours = job is not None and job.project_id in caller.roles
    return DeviceUse(
        index=device.index,
        name=device.name,
        flavour=device.flavour,
        memory_bytes=device.memory_bytes,
        is_busy=job is not None,
        is_missing=device.missing_since is not None,
        job_id=job.id if job is not None and is_ours else None,
        job_name=job.name if job is not None and is_ours else None,
        used_bytes=_number(newest, "memory_bytes", int),
        utilisation=_number(newest, "utilisation", float),
    )


def _newest(session: Session, job: Job) -> Mapping[str, Any]:
    """What the running attempt of a job told with its newest step; nothing before the first."""
    mine = and_(MetricPoint.job_id == job.id, MetricPoint.attempt == job.attempt)
    query = select(MetricPoint.data).where(mine).order_by(MetricPoint.number.desc()).limit(1)
    return session.scalar(query) or {}


def _number(data: Mapping[str, Any], key: str, kind: type[Any]) -> Any:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) >= 2**62:
        return None
    return kind(value)
