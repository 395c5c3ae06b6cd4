"""The curves of a job, thinned out to what a picture can show, or whole as CSV.

A step that was done again after a restart counts as it was at last. Thinning keeps the lowest and
the highest value of each stretch, so no spike is lost. Beside what every training measures, each
stage measures what is its own (rewards, margins): those curves follow under the engine's names.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.errors import InputError
from tunesmith.evaluation.reading import Curve, Finding, read_curves
from tunesmith.server.access import Caller
from tunesmith.server.database import Database
from tunesmith.server.services.jobs import visible
from tunesmith.server.states import FINAL, status_of
from tunesmith.server.tables import Attempt, Device, Event, Job, MetricPoint

MOST_POINTS: Final = 2000
SERIES: Final = (
    "loss",
    "token_accuracy",
    "learning_rate",
    "grad_norm",
    "tokens_per_second",
    "throughput",
    "memory_bytes",
    "memory_utilisation",
    "utilisation",
)
VALIDATION: Final = "validation_"  # stands before the name of what an evaluation measured
_EVALUATED: Final = ("loss", "token_accuracy")
# Where and when a step was, and how much it was: numbers of events that are no curves.
_NO_CURVES: Final = frozenset(
    {
        *("step", "total_steps", "epoch", "rows", "tokens", "label_tokens", "seconds"),
        *("eta_seconds", "attempt", "seq", "number", "total_tokens", "trained_tokens"),
        "throughout",  # throughput, as custom jobs of another system spell it
    }
)
_OLD_NAMES: Final = {"throughput": "throughout"}
_READ_AT_ONCE: Final = 5000
_LOOKED_AT: Final = 40_000  # points of a very long run that are read; the others lie between
_DERIVED: Final = "memory_utilisation"  # of bytes and the device; no engine reports it
_CSV_COLUMNS: Final = (
    *("step", "time", "attempt"),
    *(name for name in SERIES if name != _DERIVED),
    *("tokens", "label_tokens", "epoch"),
)


@dataclass(frozen=True)
class Series:
    """The points of one curve."""

    steps: list[int]
    values: list[float | None]
    times: list[float]
    num_points: int
    smoothed: list[float | None] | None = None


@dataclass(frozen=True)
class Metrics:
    """The curves of a job by name."""

    job_id: str
    series: Mapping[str, Series]
    restarts: list[int]
    last_step: int | None
    references: Mapping[str, Sequence[Reference]]


@dataclass(frozen=True)
class Reference:
    """A value of another system to compare a curve with."""

    value: float
    num_machines: int
    num_devices: int


# Tokens a second and card that Huawei's AI Gallery names for its trainings; a guide, no limit.
REFERENCES: Final[Mapping[str, Sequence[Reference]]] = {
    "throughput": (Reference(1650.0, 1, 8), Reference(1625.0, 2, 16))
}


@dataclass(frozen=True)
class _Point:
    step: int
    attempt: int
    data: Mapping[str, Any]
    time: float


class JobMetrics:
    """What a job measured."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def curves(
        self,
        caller: Caller,
        job_id: str,
        *,
        names: Collection[str] = (),
        points: int = MOST_POINTS,
        smoothing: float = 0.0,
        from_step: int = 0,
    ) -> Metrics:
        """At most `points` of each curve; `smoothing` is the width of the mean, in points."""
        points = min(max(points, 2), MOST_POINTS)
        with self._database.read() as session:
            job = visible(session, caller, job_id)
            _refuse_unknown(session, job, names)
            steps = _steps(session, job_id, from_step)
            evaluations = _evaluations(session, job_id, from_step)
            steps = _with_share_of_memory(session, job_id, steps)
        last_attempts, restarts = _last_of_each_step(steps)
        found: dict[str, Series] = {}
        for name in (*SERIES, *_further(last_attempts, SERIES)):
            if not names or name in names:
                _add(found, name, last_attempts, name, points, smoothing)
        for key in (*_EVALUATED, *_further(evaluations, _EVALUATED)):
            name = VALIDATION + key
            if not names or name in names:
                _add(found, name, evaluations, key, points, smoothing)
        last = last_attempts[-1].step if last_attempts else None
        shown = {name: values for name, values in REFERENCES.items() if name in found}
        return Metrics(job_id, found, restarts, last, shown)

    def reading(self, caller: Caller, job_id: str) -> Sequence[Finding]:
        """What the curves of a job say, the most urgent first."""
        with self._database.read() as session:
            job = visible(session, caller, job_id)
            points, _ = _last_of_each_step(_steps(session, job_id, 0))
            evaluations = _evaluations(session, job_id, 0)
        rates = _finite(points, "learning_rate")
        return read_curves(
            Curve(
                losses=_finite(points, "loss"),
                validation=[
                    (point.step, loss) for point in evaluations for loss in _finite([point], "loss")
                ],
                learning_rate=max(rates, default=None),
                done_steps=points[-1].step if points else 0,
                total_steps=job.total_steps,
                is_over=status_of(job) in FINAL,
                has_band=_learns_answers(job),
            )
        )

    def table(self, caller: Caller, job_id: str) -> Iterator[str]:
        """All points as CSV, a part at a time; the job is looked up before the first one."""
        with self._database.read() as session:
            visible(session, caller, job_id)
        return self._rows(job_id)

    def _rows(self, job_id: str) -> Iterator[str]:
        number, columns = 0, ()
        while True:
            with self._database.read() as session:
                rows = session.scalars(
                    select(MetricPoint)
                    .where(MetricPoint.job_id == job_id, MetricPoint.number > number)
                    .order_by(MetricPoint.number)
                    .limit(_READ_AT_ONCE)
                ).all()
            if not columns:
                columns = (*_CSV_COLUMNS, *_further(rows, _CSV_COLUMNS))
                yield _csv([columns])
            if not rows:
                return
            number = rows[-1].number
            yield _csv([_row(row, columns[3:]) for row in rows])


def _learns_answers(job: Job) -> bool:
    """The loss of preferences or of plain text has another scale."""
    return _kind_of(job) == "sft"


def _kind_of(job: Job) -> str:
    stage = job.recipe.get("stage")
    is_section = isinstance(stage, Mapping)
    return str(cast("Mapping[str, Any]", stage).get("kind")) if is_section else "sft"


def _refuse_unknown(session: Session, job: Job, names: Collection[str]) -> None:
    """InputError for a curve that this job cannot have; one without a point yet is none."""
    if not names:
        return
    point = session.scalar(
        select(MetricPoint.data)
        .where(MetricPoint.job_id == job.id)
        .order_by(MetricPoint.number.desc())
        .limit(1)
    )
    evaluation = session.scalar(
        select(Event.data)
        .where(Event.job_id == job.id, Event.type == "evaluation")
        .order_by(Event.number.desc())
        .limit(1)
    )
    known = [*SERIES, *_named(point or {}, SERIES)]
    known += [VALIDATION + key for key in (*_EVALUATED, *_named(evaluation or {}, _EVALUATED))]
    # What a stage measures of its own is known with its first point.
    is_plain = _kind_of(job) in ("sft", "pt")
    for name in names:
        is_held = name.startswith(VALIDATION)
        is_early = not is_plain and (evaluation if is_held else point) is None
        if name not in known and not is_early:
            raise InputError(
                f"There is no curve {name[:50]!r}.",
                hint=f"Curves of this job: {', '.join(known)}.",
                code="unknown_series",
                param="series",
                name=name[:50],
                known=known,
            )


def _named(data: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """The further numbers of one event, those without a value included."""
    left_out = _NO_CURVES | set(known)
    return [
        name
        for name, value in data.items()
        if name not in left_out
        and (value is None or (isinstance(value, int | float) and not isinstance(value, bool)))
    ]


def _row(point: MetricPoint, names: Sequence[str]) -> Sequence[Any]:
    time = point.data.get("time") or point.created_at.isoformat()
    values = [_number(point.data, name) for name in names]
    return [point.step, _cell(time), point.attempt, *values]


def _further(points: Sequence[_Point | MetricPoint], known: Sequence[str]) -> list[str]:
    """What these points measured besides, in the order in which it came."""
    left_out = _NO_CURVES | set(known)
    names = (
        name
        for point in points
        for name in point.data
        if name not in left_out and _number(point.data, name) is not None
    )
    return list(dict.fromkeys(names))


def _cell(value: Any) -> str:
    """Text that a spreadsheet does not take for a formula."""
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _steps(session: Session, job_id: str, from_step: int) -> list[_Point]:
    """The points of a job in the order of their numbers; of a very long one, every n-th."""
    mine = (MetricPoint.job_id == job_id, MetricPoint.step >= from_step)
    count = session.scalar(select(func.count()).select_from(MetricPoint).where(*mine)) or 0
    query = select(
        MetricPoint.step, MetricPoint.attempt, MetricPoint.data, MetricPoint.created_at
    ).where(*mine)
    stride = math.ceil(count / _LOOKED_AT)
    if stride > 1:
        query = query.where(MetricPoint.number % stride == 0)
    rows = session.execute(query.order_by(MetricPoint.number))
    return [_Point(step, attempt, data, at.timestamp()) for step, attempt, data, at in rows]


def _evaluations(session: Session, job_id: str, from_step: int) -> list[_Point]:
    rows = session.scalars(
        select(Event)
        .where(Event.job_id == job_id, Event.type == "evaluation")
        .order_by(Event.number)
    )
    by_step = {
        int(row.data["step"]): _Point(
            int(row.data["step"]), row.attempt, row.data, row.created_at.timestamp()
        )
        for row in rows
        if isinstance(row.data.get("step"), int) and row.data["step"] >= from_step
    }
    return [by_step[step] for step in sorted(by_step)]


def _with_share_of_memory(session: Session, job_id: str, points: Sequence[_Point]) -> list[_Point]:
    """Percent of its device's memory beside the bytes, where the device is known."""
    sizes = _memory_of_attempts(session, job_id)
    found: list[_Point] = []
    for point in points:
        size, used = sizes.get(point.attempt), _number(point.data, "memory_bytes")
        if size and used is not None:
            share = {_DERIVED: round(100 * used / size, 2)}
            point = replace(point, data={**point.data, **share})
        found.append(point)
    return found


def _memory_of_attempts(session: Session, job_id: str) -> dict[int, int]:
    """Bytes of the smallest device of each attempt."""
    sizes: dict[int, int] = {}
    attempts = session.scalars(select(Attempt).where(Attempt.job_id == job_id))
    for attempt in attempts:
        known = session.scalars(
            select(Device.memory_bytes).where(
                Device.worker_id == attempt.worker_id,
                Device.index.in_(attempt.devices),
                Device.memory_bytes.is_not(None),
            )
        ).all()
        if known:
            sizes[attempt.number] = min(size for size in known if size is not None)
    return sizes


def _finite(points: Sequence[_Point], key: str) -> list[float]:
    values = [_number(point.data, key) for point in points]
    return [float(value) for value in values if value is not None and math.isfinite(value)]


def _last_of_each_step(points: Sequence[_Point]) -> tuple[list[_Point], list[int]]:
    """Each step once, as it was done at last, and the steps behind which an attempt went on."""
    by_step: dict[int, _Point] = {}
    restarts: list[int] = []
    attempt = None
    for point in points:
        if attempt is not None and point.attempt != attempt:
            restarts.append(point.step - 1)
            by_step = {step: old for step, old in by_step.items() if step < point.step}
        attempt = point.attempt
        by_step[point.step] = point
    return [by_step[step] for step in sorted(by_step)], restarts


def _add(
    found: dict[str, Series],
    name: str,
    points: Sequence[_Point],
    key: str,
    most: int,
    smoothing: float,
) -> None:
    """Thin one curve out; one that nobody measured is left out."""
    # With numpy, which a server loads when the first curve is looked at.
    from tunesmith.server.services import thinning

    values = [_or_nan(_number(point.data, key)) for point in points]
    if not thinning.is_measured(values):
        return
    soft = thinning.smoothed(values, smoothing)
    kept = thinning.thinned(values, most)
    found[name] = Series(
        steps=[points[index].step for index in kept],
        values=[_or_none(values[index]) for index in kept],
        times=[_time(points[index]) for index in kept],
        num_points=len(values),
        smoothed=None if soft is None else [_or_none(soft[index]) for index in kept],
    )


def _number(data: Mapping[str, Any], name: str) -> float | None:
    value = data.get(name, data.get(_OLD_NAMES.get(name, "")))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _time(point: _Point) -> float:
    """When the engine measured it; when it came here, where that is not said."""
    try:
        return datetime.fromisoformat(str(point.data["time"])).timestamp()
    except (KeyError, ValueError):
        return point.time
