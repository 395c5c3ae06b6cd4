"""What a worker should start and stop, as a pure function of how things stand.

One process holds one base and answers for all deployments on it. Where memory is short, the
deployments that were asked longest ago and may stop by themselves make room; one that is being
asked is never stopped for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

BUSY_SECONDS: Final = 30.0  # who was asked within this time is not stopped for another


@dataclass(frozen=True)
class Wanted:
    """A deployment that should answer. `serving` is its process, empty before it has one."""

    id: str
    base: str
    memory_bytes: int  # of a process with its base
    used: float = 0.0  # lease clock; larger is later
    serving: str = ""
    may_stop: bool = True


@dataclass(frozen=True)
class Process:
    """A serving process of this worker."""

    id: str
    base: str
    memory_bytes: int


@dataclass
class Plan:
    """What to do now. `short` has how much memory there is for those that cannot be placed."""

    join: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    start: list[Wanted] = field(default_factory=list[Wanted])
    evict: list[str] = field(default_factory=list[str])
    end: list[str] = field(default_factory=list[str])
    short: dict[str, int] = field(default_factory=dict[str, int])


def plan(
    wanted: Sequence[Wanted], processes: Sequence[Process], *, budget_bytes: int, now: float
) -> Plan:
    """Join what runs, start what fits, make room by stopping the least recently used.

    A process without deployments ends before anything else starts; what needs the room that an
    eviction makes is started in a later round, when the memory is free.
    """
    made = Plan()
    in_use = {row.serving for row in wanted if row.serving}
    by_base = {process.base: process.id for process in processes}
    waiting = [row for row in wanted if not row.serving]
    joining = {by_base[row.base] for row in waiting if row.base in by_base}
    made.end = [p.id for p in processes if p.id not in in_use | joining]
    taken = sum(process.memory_bytes for process in processes)
    for row in sorted(waiting, key=lambda row: (row.used, row.id)):
        if row.base in by_base:
            made.join.append((row.id, by_base[row.base]))
        elif any(started.base == row.base for started in made.start):
            continue  # its process is known in the next round
        elif taken + row.memory_bytes <= budget_bytes:
            made.start.append(row)
            taken += row.memory_bytes
        elif row.memory_bytes > budget_bytes:
            made.short[row.id] = budget_bytes
        elif not made.end and not made.evict:
            made.evict = _evicted(wanted, processes, taken + row.memory_bytes - budget_bytes, now)
    return made


def _evicted(
    wanted: Sequence[Wanted], processes: Sequence[Process], needed: int, now: float
) -> list[str]:
    """Whose stop frees that much, least recently used processes first; nobody if it cannot be."""
    users: dict[str, list[Wanted]] = {process.id: [] for process in processes}
    for row in wanted:
        if row.serving in users:
            users[row.serving].append(row)
    free = [
        process
        for process in processes
        if all(row.may_stop and now - row.used > BUSY_SECONDS for row in users[process.id])
    ]
    free.sort(key=lambda process: max((row.used for row in users[process.id]), default=0.0))
    chosen: list[str] = []
    for process in free:
        if needed <= 0:
            break
        needed -= process.memory_bytes
        chosen += [row.id for row in users[process.id]]
    return chosen if needed <= 0 else []
