"""Which job starts next, and where. Pure: no database, no clock.

Order. Each project has a queue: higher priority first, then the place that its members gave the
job. Among projects the one goes first whose queue has the highest rank, then the one that uses the
fewest devices for its weight. The rank of a queue is that of its highest job: priority, plus one
for each hour waited. So no queue waits for ever: it outranks all that was sent later.

Fit. A job takes all its devices on one host. One that does not fit now lets smaller ones pass;
once it has waited `PATIENCE_SECONDS` it holds the host with the most free devices of those that are
large enough: nothing behind it may start there, so what comes free stays free until it fits. A job
larger than every host holds nothing. A job whose user is at a limit waits, and holds nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

PATIENCE_SECONDS: Final = 600.0
AGING_SECONDS: Final = 3600.0


@dataclass(frozen=True)
class Queued:
    """A job that waits."""

    id: str
    project: str
    user: str
    num_devices: int = 1
    priority: int = 0
    position: float = 0.0
    waited_seconds: float = 0.0
    flavour: str = ""  # empty: any host


@dataclass(frozen=True)
class Running:
    """A job that has devices."""

    id: str
    project: str
    user: str
    num_devices: int = 1


@dataclass(frozen=True)
class Host:
    """A worker: its free devices by index, and how many it has in all.

    Nothing starts on a host that is not open: it is not the one that asks. But a large job may be
    waiting for it, and then holds no other.
    """

    id: str
    free: tuple[int, ...]
    num_devices: int
    flavour: str = ""
    is_open: bool = True


@dataclass(frozen=True)
class Quota:
    """What a user may still have; None is no limit."""

    running_jobs: int | None = None
    device_seconds_left: float | None = None
    storage_bytes_left: int | None = None


@dataclass(frozen=True)
class Start:
    """A decision: this job, on these devices of this host."""

    job: str
    host: str
    devices: tuple[int, ...]


@dataclass
class _Table:
    """What is decided so far."""

    free: dict[str, list[int]]
    held: set[str] = field(default_factory=set[str])
    used: Counter[str] = field(default_factory=Counter[str])  # devices, by project
    jobs: Counter[str] = field(default_factory=Counter[str])  # running jobs, by user


def plan(
    queued: Sequence[Queued],
    running: Sequence[Running],
    hosts: Sequence[Host],
    *,
    quotas: Mapping[str, Quota] | None = None,
    weights: Mapping[str, float] | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> list[Start]:
    """The jobs to start now, in the order of their turns."""
    quotas, weights = quotas or {}, weights or {}
    table = _Table({host.id: sorted(host.free) for host in hosts})
    for job in running:
        table.used[job.project] += job.num_devices
        table.jobs[job.user] += 1
    starts: list[Start] = []
    queues = _queues(queued)
    while queues:
        project = min(queues, key=lambda name: _turn(name, queues[name], table, weights))
        job = queues[project].pop(0)
        if not queues[project]:
            del queues[project]
        if within(quotas.get(job.user), table.jobs[job.user]):
            start = _place(job, hosts, table, patience_seconds)
            starts += [start] if start else []
    return starts


def within(quota: Quota | None, num_running: int) -> bool:
    """Whether one more job of the user may start."""
    if quota is None:
        return True
    return (
        (quota.running_jobs is None or num_running < quota.running_jobs)
        and (quota.device_seconds_left is None or quota.device_seconds_left > 0)
        and (quota.storage_bytes_left is None or quota.storage_bytes_left >= 0)
    )


def _queues(queued: Iterable[Queued]) -> dict[str, list[Queued]]:
    queues: defaultdict[str, list[Queued]] = defaultdict(list)
    for job in sorted(queued, key=lambda job: (-job.priority, job.position, job.id)):
        queues[job.project].append(job)
    return dict(queues)


def _turn(
    project: str, queue: list[Queued], table: _Table, weights: Mapping[str, float]
) -> tuple[float, float, float, str]:
    """What decides whose turn it is; the smallest goes first."""
    rank = max(job.priority + job.waited_seconds // AGING_SECONDS for job in queue)
    share = table.used[project] / max(weights.get(project, 1.0), 1e-9)
    return (-rank, share, -max(job.waited_seconds for job in queue), project)


def _place(job: Queued, hosts: Sequence[Host], table: _Table, patience: float) -> Start | None:
    """Start the job where the fewest devices stay unused, or hold a host for it, or let it wait."""
    large = [
        host
        for host in hosts
        if host.num_devices >= job.num_devices
        and job.flavour in ("", host.flavour)
        and host.id not in table.held
    ]
    fitting = [
        host for host in large if host.is_open and len(table.free[host.id]) >= job.num_devices
    ]
    if fitting:
        host = min(fitting, key=lambda host: (len(table.free[host.id]), host.id))
        devices = tuple(table.free[host.id][: job.num_devices])
        del table.free[host.id][: job.num_devices]
        table.used[job.project] += job.num_devices
        table.jobs[job.user] += 1
        return Start(job.id, host.id, devices)
    if large and job.waited_seconds >= patience:
        most_free = max(large, key=lambda host: (len(table.free[host.id]), host.id))
        table.held.add(most_free.id)
    return None
