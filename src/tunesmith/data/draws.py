"""Which records train and which validate: pure functions of counts and a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_SPLIT, _SAMPLE = 1, 2  # streams of one seed


@dataclass(frozen=True)
class SplitRecords:
    """Records that were drawn for validation, and how many of the draw went back to training."""

    validation: Ints
    returned: int


def split_records(num_records: int, fraction: float, max_rows: int, seed: int) -> SplitRecords:
    """Draw the fraction at random; of a larger draw, keep a random `max_rows`."""
    wanted = min(max(1, round(fraction * num_records)), num_records - 1)
    order = np.random.default_rng([seed, _SPLIT]).permutation(num_records)
    kept = order[: min(wanted, max_rows)]
    return SplitRecords(np.sort(kept).astype(np.int64), wanted - len(kept))


def sample_records(records: Ints, rate: float, seed: int, dataset: int) -> Ints:
    """Draw `rate` times as many records: whole passes over all, then a random rest."""
    total = max(1, round(rate * len(records))) if len(records) else 0
    passes, rest = divmod(total, max(1, len(records)))
    order = np.random.default_rng([seed, _SAMPLE, dataset]).permutation(records)
    return np.concatenate([*[records] * passes, np.sort(order[:rest])]).astype(np.int64)
