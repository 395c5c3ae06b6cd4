"""How many rows of each dataset one epoch draws: a pure function of counts, rates and shares.

    rates     each dataset gives `sampling_rate` times its rows
    shares    percent of the mixture; all rows together set its size, so that small datasets are
              repeated and large ones thinned out
    general   datasets with `role: general` give `general_ratio` rows for each row of the others, in
              proportion to their sizes

The engine draws exactly these numbers; a form or a plan shows them before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor, log10
from typing import Any, Literal

import numpy as np

from tunesmith.data.draws import apportion
from tunesmith.errors import DataError

Role = Literal["user", "general"]
GENERAL_RATIO = 0.2
LOWEST_RATE, HIGHEST_RATE = 0.01, 10.0
_NEAR = 1e-6  # shares such as 33.3 + 33.3 + 33.4 may miss 100 by a rounding of binary fractions


@dataclass(frozen=True)
class DatasetCount:
    """One dataset of a mixture: the rows that it can give, and how it was asked to be mixed."""

    name: str
    rows: int
    sampling_rate: float = 1.0
    share: float | None = None  # percent
    role: Role = "user"
    tokens: int | None = None  # of all its rows, when known


@dataclass(frozen=True)
class Portion:
    """What one dataset gives to each epoch. `rate` and `share` are what is reached."""

    name: str
    role: Role
    rows_available: int
    rows_drawn: int
    rate: float  # rows drawn / rows available
    share: float  # percent of all rows drawn
    tokens: int | None  # expected, from the mean length of its rows


@dataclass(frozen=True)
class MixingPlan:
    """The mixture of one epoch. `general_missing`: rows that a small general corpus cannot give."""

    datasets: tuple[Portion, ...]
    rows: int
    tokens: int | None
    general_missing: int

    def to_json(self) -> dict[str, Any]:
        """The plan as reports and answers of the API hold it."""
        return asdict(self)


def mixing_plan(
    datasets: Sequence[DatasetCount], *, general_ratio: float = GENERAL_RATIO
) -> MixingPlan:
    """Rows that each dataset gives to an epoch; DataError where the numbers contradict."""
    if any(each.share is not None for each in datasets):
        drawn, missing = _by_share(datasets), 0
    else:
        drawn, missing = _by_rate(datasets, general_ratio)
    total = sum(drawn)
    portions = tuple(_portion(*pair, total) for pair in zip(datasets, drawn, strict=True))
    tokens = [portion.tokens for portion in portions]
    known = [count for count in tokens if count is not None]
    return MixingPlan(portions, total, sum(known) if len(known) == len(tokens) else None, missing)


def share_problem(shares: Sequence[float | None]) -> str | None:
    """What is wrong with the shares of all datasets, as a sentence; None when they are sound."""
    given = [share for share in shares if share is not None]
    if not given:
        return None
    if len(given) < len(shares):
        without = ", ".join(str(n) for n, share in enumerate(shares, 1) if share is None)
        return f"{len(given)} of {len(shares)} datasets have a share (none: number {without})."
    if abs(sum(given) - 100) > _NEAR:
        told = " + ".join(f"{share:g}" for share in given)
        return f"The shares of the datasets sum to {sum(given):.10g} %, not 100 % ({told})."
    return None


def _by_share(datasets: Sequence[DatasetCount]) -> list[int]:
    problem = share_problem([each.share for each in datasets])
    if problem:
        raise DataError(
            problem,
            hint="Give every dataset a share, all of them together 100, or none of them one.",
            code="shares_wrong",
        )
    total = sum(each.rows for each in datasets)
    for each in datasets:
        _check_rate(each, total)
    rows = np.array([each.rows for each in datasets], np.int64)
    shares = [each.share or 0.0 for each in datasets]
    return apportion(total, shares, np.minimum(rows, 1), np.full_like(rows, total)).tolist()


def _check_rate(dataset: DatasetCount, total: int) -> None:
    """A share must not repeat a dataset beyond reason, nor leave next to nothing of it."""
    assert dataset.share is not None, "share_problem was asked before"
    if not dataset.rows:
        raise DataError(
            f"{dataset.name} has a share of {dataset.share:g} %, but no rows to train on.",
            hint="Remove it, or look into the data report for what became of its rows.",
            code="share_of_nothing",
        )
    wanted = total * dataset.share / 100
    rate = wanted / dataset.rows
    if LOWEST_RATE <= rate <= HIGHEST_RATE:
        return
    per_rate = 100 * dataset.rows / total  # percent
    if rate > HIGHEST_RATE:
        possible = f"at most {_three_digits(HIGHEST_RATE * per_rate, floor):g}"
    else:
        possible = f"at least {_three_digits(LOWEST_RATE * per_rate, ceil):g}"
    raise DataError(
        f"{dataset.name}: a share of {dataset.share:g} % of {total:,} rows is {wanted:,.0f} rows, "
        f"but it has {dataset.rows:,}: a sampling rate of {rate:.4g}, outside "
        f"{LOWEST_RATE:g} to {HIGHEST_RATE:g}.",
        hint=f"Give it a share of {possible} %, or limit the large datasets with max_samples.",
        code="share_out_of_range",
        dataset=dataset.name,
    )


def _three_digits(value: float, towards: Callable[[float], int]) -> float:
    """Three significant digits, on the side that is allowed."""
    scale = 10.0 ** (2 - floor(log10(value)))
    return towards(value * scale) / scale


def _by_rate(datasets: Sequence[DatasetCount], general_ratio: float) -> tuple[list[int], int]:
    """Rows drawn by dataset, and the rows that the general corpus lacks."""
    drawn = [
        times(each.sampling_rate, each.rows) if each.role == "user" else 0 for each in datasets
    ]
    is_general = np.array([each.role == "general" for each in datasets])
    if not is_general.any():
        return drawn, 0
    sizes = np.array([each.rows for each in datasets], np.int64) * is_general
    wanted = round(general_ratio * sum(drawn))
    high = sizes * int(HIGHEST_RATE)
    general = apportion(min(wanted, int(high.sum())), sizes, np.zeros_like(sizes), high)
    both = np.where(is_general, general, drawn)
    return both.tolist(), wanted - int(general.sum())


def times(rate: float, rows: int) -> int:
    """So many rows does a rate draw: at least one of a dataset that has any."""
    return max(1, round(rate * rows)) if rows else 0


def _portion(dataset: DatasetCount, drawn: int, total: int) -> Portion:
    rate = drawn / dataset.rows if dataset.rows else 0.0
    return Portion(
        dataset.name,
        dataset.role,
        dataset.rows,
        drawn,
        round(rate, 6),
        round(100 * drawn / total, 4) if total else 0.0,
        None if dataset.tokens is None else round(dataset.tokens * rate),
    )
