"""Is the difference between two models more than chance? Paired bootstrap and sign test.

Every score is a function of sums over rows: a mean is a sum and a count, BLEU its n-gram counts. So
a resample is one row of weights, and all resamples of all scores are one product of matrices.
Legend: R resamples, N rows, K sums of a score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Aggregate = Callable[[Floats], Floats]
"""From sums (..., K) to the score (...,)."""

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 20_240_229
_WEIGHTS_AT_ONCE = 4_000_000  # 32 MB


@dataclass(frozen=True)
class Paired:
    """The sums of both models, row by row, for one score."""

    base_NK: Floats
    tuned_NK: Floats
    aggregate: Aggregate


@dataclass(frozen=True)
class Estimate:
    """A number and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Compared:
    """A score of both models and their difference, tuned - base, over the same resamples."""

    base: Estimate
    tuned: Estimate
    difference: Estimate


def paired_bootstrap(
    pairs: Sequence[Paired],
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> list[Compared]:
    """Percentile intervals of all scores; rows are drawn anew, both models keep their answers."""
    if not pairs:
        return []
    num_rows = len(pairs[0].base_NK)
    stacked_NK = np.concatenate([np.hstack([p.base_NK, p.tuned_NK]) for p in pairs], axis=1)
    sums_RK = np.concatenate(
        [weights_RN @ stacked_NK for weights_RN in _weights(num_rows, resamples, seed)]
    )
    whole_K = stacked_NK.sum(axis=0)
    found: list[Compared] = []
    start = 0
    for pair in pairs:
        width = pair.base_NK.shape[1]
        cut = slice(start, start + width), slice(start + width, start + 2 * width)
        start += 2 * width
        values = [pair.aggregate(whole_K[each]) for each in cut]
        draws = [pair.aggregate(sums_RK[:, each]) for each in cut]
        found.append(
            Compared(
                _estimate(values[0], draws[0], confidence),
                _estimate(values[1], draws[1], confidence),
                _estimate(values[1] - values[0], draws[1] - draws[0], confidence),
            )
        )
    return found


def _weights(num_rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row is in each resample, some resamples at a time."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // max(1, num_rows))
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        drawn = rng.integers(0, num_rows, (count, num_rows))
        drawn += np.arange(count)[:, None] * num_rows
        flat = np.bincount(drawn.ravel(), minlength=count * num_rows)
        yield flat.reshape(count, num_rows).astype(np.float64)


def _estimate(value: Any, draws_R: Floats, confidence: float) -> Estimate:
    known_R = draws_R[np.isfinite(draws_R)]
    if not len(known_R):
        return Estimate(float(value), math.nan, math.nan)
    outside = (1 - confidence) / 2
    low, high = np.quantile(known_R, [outside, 1 - outside])
    return Estimate(float(value), float(low), float(high))


def sign_test(wins: int, losses: int) -> float:
    """Two-sided probability of a split at least this uneven, were either side equally likely.

    >>> sign_test(6, 0)
    0.03125
    """
    total = wins + losses
    if total == 0:
        return 1.0
    ways = [_log_ways(total, k) for k in range(min(wins, losses) + 1)]
    return min(1.0, 2 * math.fsum(math.exp(each - total * math.log(2)) for each in ways))


def _log_ways(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)


def mean_of_sums(sums: Floats) -> Floats:
    """The mean where the sums are (value, count)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., 0] / sums[..., 1]
