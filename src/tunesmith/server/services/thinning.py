"""Curves with few enough points for a picture, in numpy, which is loaded with the first curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tunesmith.evaluation.curves import smooth


def is_measured(values: Sequence[float]) -> bool:
    """Whether a curve has a point at all."""
    return bool(np.isfinite(np.asarray(values, dtype=float)).any())


def smoothed(values: Sequence[float], width: float) -> list[float] | None:
    """The curve without its noise; None for a width of 0."""
    return smooth(values, width) if width > 0 else None


def thinned(values: Sequence[float] | np.ndarray[Any, Any], most: int) -> list[int]:
    """Which points to show: the lowest and the highest of each stretch, the first and the last."""
    if len(values) <= most:
        return list(range(len(values)))
    series = np.asarray(values, dtype=float)
    stretches = max(1, (most - 2) // 2)
    kept = {0, len(series) - 1}
    for stretch in np.array_split(np.arange(len(series)), stretches):
        part = series[stretch]
        if np.isfinite(part).any():
            kept |= {int(stretch[np.nanargmin(part)]), int(stretch[np.nanargmax(part)])}
        else:
            kept.add(int(stretch[0]))  # the gap is seen
    return sorted(kept)
