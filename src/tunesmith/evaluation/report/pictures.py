"""What is drawn, as numbers: intervals on an axis, shares of a bar, heights of columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.evaluation.statistics import Estimate


@dataclass(frozen=True)
class IntervalBar:
    """An interval on an axis from -reach to +reach, in percent of its width."""

    left: float
    width: float
    point: float
    kind: str  # good, bad, open


def interval_bar(difference: Estimate, reach: float, *, sign: int) -> IntervalBar | None:
    """The interval of a difference; `sign` is -1 where less is better, 0 where neither is."""
    values = (difference.low, difference.value, difference.high)
    if not all(map(math.isfinite, values)) or reach <= 0:
        return None
    low, value, high = (50 + 48 * max(-1.0, min(1.0, each / reach)) for each in values)
    lows, highs = sorted((sign * difference.low, sign * difference.high))
    kind = "good" if lows > 0 else "bad" if highs < 0 else "open"
    return IntervalBar(low, max(0.6, high - low), value, kind)


def reach_of(differences: Sequence[Estimate]) -> float:
    """The end of a common axis: the farthest end of any interval."""
    ends = [abs(end) for d in differences for end in (d.low, d.high) if math.isfinite(end)]
    return max(ends, default=0.0)


@dataclass(frozen=True)
class Column:
    """A bin of a histogram: heights of both models in percent of the highest."""

    start: float
    end: float
    base: float
    tuned: float


def histogram(base: Sequence[float], tuned: Sequence[float], bins: int = 24) -> list[Column]:
    """Both distributions on one axis; the highest hundredth lies in the last bin."""
    both = sorted([*base, *tuned])
    if not both:
        return []
    top = both[min(len(both) - 1, math.ceil(0.99 * len(both)))]
    width = top / bins or 1.0
    counts = [[0] * bins for _ in range(2)]
    for side, values in enumerate((base, tuned)):
        for value in values:
            counts[side][min(bins - 1, int(value / width))] += 1
    highest = max(map(max, counts)) or 1
    return [
        Column(
            n * width, (n + 1) * width, 100 * counts[0][n] / highest, 100 * counts[1][n] / highest
        )
        for n in range(bins)
    ]
