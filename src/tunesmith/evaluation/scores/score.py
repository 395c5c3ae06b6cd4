"""What a score is: a number for each row, and how the rows make up the number of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tunesmith.evaluation.statistics import Aggregate, Floats, mean_of_sums

Better = Literal["higher", "lower", "neither"]
Unit = Literal["share", "points", "number", "seconds", "characters", "tokens"]


@dataclass(frozen=True)
class Score:
    """One score of one model.

    Args:
        rows: The value of each row; None where the row has none.
        sums_NK: What is added up over rows; `aggregate` makes the score of it.
        is_verdict: Rows are right or wrong, nothing between.
    """

    name: str
    rows: list[float | None]
    sums_NK: Floats
    aggregate: Aggregate = mean_of_sums
    better: Better = "higher"
    unit: Unit = "share"
    is_verdict: bool = False
    about: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def value(self) -> float:
        """The score over all rows; NaN where no row has one."""
        return float(self.aggregate(self.sums_NK.sum(axis=0)))

    @property
    def num_rows(self) -> int:
        return sum(value is not None for value in self.rows)

    @property
    def num_unscored(self) -> int:
        """Rows without a value, such as those where a judge says nothing that can be read."""
        return len(self.rows) - self.num_rows


def mean_score(
    name: str,
    rows: Sequence[float | None],
    *,
    better: Better = "higher",
    unit: Unit = "share",
    is_verdict: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Score:
    """The mean of the rows that have a value."""
    pairs = [(0.0, 0.0) if value is None else (float(value), 1.0) for value in rows]
    sums_NK = np.array(pairs, np.float64).reshape(len(rows), 2)
    return Score(
        name,
        list(rows),
        sums_NK,
        better=better,
        unit=unit,
        is_verdict=is_verdict,
        about=dict(about or {}),
    )
