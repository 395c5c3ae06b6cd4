"""How fast trainings of a base were, learned from their steps: the start is counted apart.

A run of 300 steps says more about speed than one of a single step, so runs are weighed by their
steps; how long it takes to start, each run says as well as another.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.recipe import Recipe
from tunesmith.server.states import Status
from tunesmith.server.tables import Attempt, Device, Job, MetricPoint

_PAST_RUNS: Final = 20
_STEPS_LOOKED_AT: Final = 64  # of one run; the others lie between
_STAGE: Final = Job.recipe["stage"]["kind"].as_string()
_METHOD: Final = Job.recipe["adapter"]["kind"].as_string()
_TIMED: Final = ("seconds", "tokens")
_WARM_UP: Final = 3  # steps that allocate, compile and fill caches


@dataclass(frozen=True)
class Run:
    """What one past run says. Seconds are of the attempt that finished it."""

    num_steps: int
    tokens_per_second: float  # of one device, of the steps alone
    beside: float  # seconds of evaluations and saves for each second of steps
    start_seconds: float  # before the first step and behind the last


@dataclass(frozen=True)
class Pace:
    """What the past runs of a base come to."""

    tokens_per_second: float
    beside: float
    start_seconds: float
    num_runs: int

    def seconds(self, tokens: float, num_devices: int) -> float:
        """How long so many tokens take."""
        steps = tokens / (self.tokens_per_second * num_devices)
        return self.start_seconds + steps * (1.0 + self.beside)


def pace_of(runs: Sequence[Run]) -> Pace | None:
    """Medians; None where nothing has run yet."""
    if not runs:
        return None
    steps = [run.num_steps for run in runs]
    return Pace(
        weighted_median([run.tokens_per_second for run in runs], steps),
        weighted_median([run.beside for run in runs], steps),
        statistics.median(run.start_seconds for run in runs),
        len(runs),
    )


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """The value below which half of the weight lies: of 1, 2, 9 with weights 1, 1, 8 it is 9."""
    rising = sorted(zip(values, weights, strict=True))
    half, below = sum(weights) / 2, 0.0
    for value, weight in rising:
        below += weight
        if below >= half:
            return value
    return rising[-1][0]


def past_runs(session: Session, base: str, recipe: Recipe, device: str) -> list[Run]:
    """The latest finished runs of a base, on a device of this kind where one is named.

    Those of the same stage and method alone, where there are some: each has work of its own.
    """
    rows = session.execute(
        select(Job.id, _STAGE, _METHOD, Attempt)
        .join(Attempt, (Attempt.job_id == Job.id) & (Attempt.number == Job.attempt))
        .where(
            Job.base == base,
            Job.status == Status.SUCCEEDED.value,
            Job.trained_tokens > 0,
            Attempt.device_seconds > 0,
        )
        .order_by(Job.id.desc())
        .limit(_PAST_RUNS)
    ).all()
    fitting = [row for row in rows if not device or _device(session, row[3]) == device]
    wanted = (recipe.stage.kind, recipe.adapter.kind)
    alike = [row for row in fitting if (row[1], row[2]) == wanted] or fitting
    found = (_run(session, row[0], row[3]) for row in alike)
    return [run for run in found if run is not None]


def _device(session: Session, attempt: Attempt) -> str | None:
    """The flavour of the devices of an attempt, as their worker reports it today."""
    return session.scalar(
        select(Device.flavour)
        .where(Device.worker_id == attempt.worker_id, Device.index.in_(attempt.devices))
        .limit(1)
    )


def _run(session: Session, job_id: str, attempt: Attempt) -> Run | None:
    mine = (MetricPoint.job_id == job_id, MetricPoint.attempt == attempt.number)
    count = session.scalar(select(func.count()).select_from(MetricPoint).where(*mine)) or 0
    query = select(MetricPoint.data).where(*mine).order_by(MetricPoint.number)
    stride = math.ceil(count / _STEPS_LOOKED_AT)
    if stride > 1:
        query = query.where(MetricPoint.number % stride == 0)
    points = [data for data in session.scalars(query) if _is_timed(data)]
    devices = max(1, len(attempt.devices))
    return run_of(points, count, attempt.device_seconds / devices, devices)


def _is_timed(data: Mapping[str, Any]) -> bool:
    return all(isinstance(data.get(key), int | float) and data[key] > 0 for key in _TIMED)


def run_of(
    points: Sequence[Mapping[str, Any]], num_steps: int, held_seconds: float, num_devices: int
) -> Run | None:
    """A run from some of its steps, in order; None where they do not tell their time.

    `held_seconds`: how long its devices were held, from the claim to the end.
    """
    if not points:
        return None
    warm = points[min(_WARM_UP, len(points) // 4) :]
    speed = statistics.median(point["tokens"] / point["seconds"] for point in warm)
    stepping = num_steps * statistics.fmean(point["seconds"] for point in points)
    window = max(stepping, min(held_seconds, _window(points, num_steps)))
    return Run(
        num_steps=num_steps,
        tokens_per_second=speed / num_devices,
        beside=window / stepping - 1.0,
        start_seconds=max(0.0, held_seconds - window),
    )


def _window(points: Sequence[Mapping[str, Any]], num_steps: int) -> float:
    """Seconds from the begin of the first step to the end of the last, pauses between included."""
    try:
        first, last = (datetime.fromisoformat(str(points[n]["time"])) for n in (0, -1))
    except (KeyError, ValueError):
        return 0.0
    if len(points) < 2:
        return float(points[0]["seconds"])
    # Some steps lie before the first point that was looked at, and behind the last.
    between = (last - first).total_seconds() / max(1, points[-1]["step"] - points[0]["step"])
    return between * num_steps
