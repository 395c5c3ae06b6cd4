"""The events of a job: appended with a number, under the lock of the job's row.

Numbers of a job go 1, 2, 3 without a gap, in the order of commits, so a reader that goes on after
the last number it saw misses nothing. What the engine wrote is shipped in the order of its file;
what is known already is dropped, what would leave a gap is refused. So no event is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from tunesmith.server.clock import Moment
from tunesmith.server.errors import EventsMissing
from tunesmith.server.tables import Event, Job, MetricPoint

_LEVELS: Final = {"warning": "warn", "failed": "error"}
_IDENTITY: Final = frozenset({"run", "attempt", "seq", "type"})


@dataclass(frozen=True)
class Entry:
    """An event of the platform itself."""

    type: str
    message: str
    level: str = "info"
    data: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Record:
    """An event as readers get it; steps and all others in one order."""

    job_id: str
    number: int
    attempt: int
    seq: int | None
    type: str
    level: str
    message: str
    data: dict[str, Any]
    created_at: datetime


def append(session: Session, job: Job, moment: Moment, *entries: Entry) -> None:
    """Add events of the platform; the caller holds the lock of the job."""
    for entry in entries:
        job.event_count += 1
        session.add(
            Event(
                job_id=job.id,
                number=job.event_count,
                attempt=job.attempt,
                seq=None,
                type=entry.type,
                level=entry.level,
                message=entry.message,
                data=entry.data,
                created_at=moment.wall,
            )
        )
    session.flush()


def ship(
    session: Session,
    job: Job,
    moment: Moment,
    events: Iterable[dict[str, Any]],
    span: tuple[int, int] | None,
) -> int:
    """Add events of the engine that are not known yet; how many they were.

    `span`: the bytes of events.jsonl that they are; they must begin where the known ones end, or
    before. The end is where another worker goes on.
    """
    if span is not None and span[0] > job.shipped_offset:
        raise _missing(job, f"The bytes {job.shipped_offset} to {span[0]} of the events")
    rows: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    for event in events:
        place = (int(event["attempt"]), int(event["seq"]))
        if place <= (job.shipped_attempt, job.shipped_seq):
            continue
        _refuse_gap(job, place)
        job.shipped_attempt, job.shipped_seq = place
        job.event_count += 1
        row = {
            "job_id": job.id,
            "number": job.event_count,
            "attempt": place[0],
            "seq": place[1],
            "data": plain({key: value for key, value in event.items() if key not in _IDENTITY}),
            "created_at": moment.wall,
        }
        _follow(job, event)
        if event["type"] == "step":
            points.append(row | {"step": int(event["step"])})
        else:
            kind = str(event["type"])
            told = {
                "level": _LEVELS.get(kind, "info"),
                "message": plain(str(event.get("message", ""))),
            }
            rows.append(row | {"type": kind, **told})
    if rows:
        session.execute(insert(Event), rows)
    if points:
        session.execute(insert(MetricPoint), points)
    if span is not None:
        job.shipped_offset = max(job.shipped_offset, span[1])
    job.heard_at = moment.lease
    session.flush()
    return len(rows) + len(points)


def after(session: Session, job_id: str, number: int, limit: int = 1000) -> Sequence[Record]:
    """Events of a job after a number, in order: steps merged with all others."""
    upto = session.scalar(select(Job.event_count).where(Job.id == job_id)) or 0
    events = session.scalars(
        select(Event)
        .where(Event.job_id == job_id, Event.number > number, Event.number <= upto)
        .order_by(Event.number)
        .limit(limit)
    )
    points = session.scalars(
        select(MetricPoint)
        .where(MetricPoint.job_id == job_id, MetricPoint.number.between(number + 1, upto))
        .order_by(MetricPoint.number)
        .limit(limit)
    )
    found = [record_of(event) for event in events] + [record_of(point) for point in points]
    return sorted(found, key=lambda record: record.number)[:limit]


def plain(value: Any) -> Any:
    """The same value without the character NUL, which PostgreSQL cannot store."""
    if isinstance(value, str):
        return value.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {plain(key): plain(item) for key, item in items}
    if isinstance(value, list):
        return [plain(item) for item in cast("list[Any]", value)]
    return value


def _refuse_gap(job: Job, place: tuple[int, int]) -> None:
    """The next event of the same attempt, or the first of a later one."""
    attempt, seq = place
    expected = job.shipped_seq + 1 if attempt == job.shipped_attempt else 1
    if seq != expected:
        raise _missing(job, f"Event {expected} of attempt {attempt}")


def _missing(job: Job, what: str) -> EventsMissing:
    return EventsMissing(
        f"{what} of job {job.id} did not come before those that did; nothing was recorded.",
        hint="Send the events in the order of the file, from `offset` on.",
        attempt=job.shipped_attempt,
        seq=job.shipped_seq,
        offset=job.shipped_offset,
    )


def _follow(job: Job, event: dict[str, Any]) -> None:
    """Keep in the job's row what lists of jobs show."""
    kind = event["type"]
    if kind == "plan" and event.get("total_steps") is not None:
        job.total_steps = int(event["total_steps"])
    elif kind == "step":
        job.step, job.loss = int(event["step"]), event.get("loss")
        job.total_steps = event.get("total_steps") or job.total_steps
        job.eta_seconds = event.get("eta_seconds")
        if isinstance(memory := event.get("memory_bytes"), int):
            job.peak_memory_bytes = max(memory, job.peak_memory_bytes or 0)


def record_of(row: Event | MetricPoint) -> Record:
    """A row of either table as readers get it."""
    if isinstance(row, Event):
        kind, level, message = row.type, row.level, row.message
    else:
        kind, level, message = "step", "info", ""
    return Record(
        row.job_id,
        row.number,
        row.attempt,
        row.seq,
        kind,
        level,
        message,
        row.data,
        row.created_at,
    )
