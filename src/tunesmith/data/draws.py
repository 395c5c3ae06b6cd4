"""Which records train and which are held out: pure functions of counts, marks and a seed.

A mark is a 64-bit digest of a column's value, one for each record; 0 where a row has no value.
Marks of a column make strata (each is drawn from in proportion) or groups (each stays whole).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint64]
SPLIT, _SAMPLE, TEST = 1, 2, 3  # streams of one seed


@dataclass(frozen=True)
class SplitRecords:
    """Records that were drawn to be held out.

    Args:
        wanted: How many were asked for. Fewer are drawn where whole groups do not add up to it.
        returned: How many of the fraction's share stay in training because of `max_rows`.
        set_aside: Records that are in neither part: the rest of a group larger than `max_rows`.
    """

    drawn: Ints
    wanted: int
    returned: int
    set_aside: Ints


def split_records(
    candidates: Ints,
    size: int,
    max_rows: int,
    seed: int,
    *,
    stream: int = SPLIT,
    strata: Marks | None = None,
    groups: Marks | None = None,
) -> SplitRecords:
    """Draw `size` of the candidates at random, at most `max_rows`, and never all of them.

    `strata` and `groups` hold a mark for every candidate.
    """
    size = max(0, min(max(1, size), len(candidates) - 1))
    wanted = min(size, max_rows)
    rng = np.random.default_rng([seed, stream])
    order = rng.permutation(len(candidates))
    nothing = np.zeros(0, np.int64)
    rest = nothing
    if groups is not None:
        rows = _whole_groups(order, wanted, rng, groups, strata)
        rows, rest = rows[:max_rows], rows[max_rows:]
    elif strata is not None:
        rows = _stratified(order, wanted, strata)
    else:
        rows = order[:wanted]
    return SplitRecords(_chosen(candidates, rows), wanted, size - wanted, _chosen(candidates, rest))


def _chosen(candidates: Ints, rows: Ints) -> Ints:
    return np.sort(candidates[rows]).astype(np.int64)


def _stratified(order: Ints, wanted: int, marks: Marks) -> Ints:
    """The first rows of each stratum in a random order, as many as its quota."""
    strata = _strata(marks)
    sizes = np.bincount(strata)
    in_order = strata[order]
    by_stratum = np.argsort(in_order, kind="stable")
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(order), np.int64)
    rank[by_stratum] = np.arange(len(order)) - starts[in_order[by_stratum]]
    return order[rank < quotas(wanted, sizes)[in_order]]


def _strata(marks: Marks) -> Ints:
    """Strata counted from 0. Values that occur once share a stratum, or none could be drawn."""
    _, codes, counts = np.unique(marks, return_inverse=True, return_counts=True)
    rare = counts[codes] == 1
    return np.unique(np.where(rare, -1, codes), return_inverse=True)[1]


def quotas(wanted: int, sizes: Ints) -> Ints:
    """How many rows each stratum gives: in proportion, by largest remainder.

    One row of each stratum stays in training. Where there is room for all of them, each stratum of
    two rows or more gives at least one.
    """
    high = np.maximum(sizes - 1, 0)
    gives = np.minimum(high, 1)
    low = gives if wanted >= gives.sum() else np.zeros_like(gives)
    return apportion(wanted, sizes, low, high)


def apportion(total: int, weights: npt.ArrayLike, low: Ints, high: Ints) -> Ints:
    """Whole numbers in proportion to the weights that sum to the total, as far as bounds allow."""
    exact = np.asarray(weights, np.float64)
    exact = exact * (total / exact.sum()) if exact.sum() > 0 else exact
    parts = np.clip(np.floor(exact).astype(np.int64), low, high)
    while missing := int(total - parts.sum()):
        step = 1 if missing > 0 else -1
        free = np.flatnonzero(parts < high if step > 0 else parts > low)
        if not len(free):
            break
        need = (exact - parts)[free] * step
        parts[free[np.argsort(-need, kind="stable")[: abs(missing)]]] += step
    return parts


def _whole_groups(
    order: Ints, wanted: int, rng: np.random.Generator, marks: Marks, strata: Marks | None
) -> Ints:
    """Rows of random groups that fit, in a random order.

    Where none fits, the smallest group is taken, if it leaves half of the rows to learn from.
    """
    codes = _groups(marks)
    sizes = np.bincount(codes)
    stratum_of, room = np.zeros(len(sizes), np.int64), np.array([wanted])
    if strata is not None:
        stratum_of = _stratum_of_groups(codes, strata)
        room = quotas(wanted, np.bincount(stratum_of, weights=sizes).astype(np.int64))
    shuffled = rng.permutation(len(sizes))
    taken = _fitting(shuffled, sizes, stratum_of, room, wanted)
    if not taken.any() and wanted:
        smallest = shuffled[np.argmin(sizes[shuffled])]
        taken[smallest] = 2 * sizes[smallest] <= len(marks)
    return order[taken[codes[order]]]


def _fitting(
    shuffled: Ints, sizes: Ints, stratum_of: Ints, room: Ints, wanted: int
) -> npt.NDArray[np.bool_]:
    """Groups in this order while they fit: first into their quota, then where one is unfilled.

    The second pass may exceed the quota of a stratum by a part of one group, never empty it.
    """
    taken = np.zeros(len(sizes), bool)
    in_training = np.bincount(stratum_of, weights=sizes).astype(np.int64)
    left = wanted
    for exceeds in (False, True):
        for group in shuffled.tolist():
            size, stratum = sizes[group], stratum_of[group]
            limit = min(left, in_training[stratum] - 1) if room[stratum] > 0 else 0
            if size <= (limit if exceeds else min(limit, room[stratum])) and not taken[group]:
                taken[group] = True
                left -= size
                room[stratum] -= size
                in_training[stratum] -= size
    return taken


def _groups(marks: Marks) -> Ints:
    """Groups counted from 0; a row without a value is a group of its own."""
    alone = marks == 0
    codes = np.unique(marks, return_inverse=True)[1].astype(np.int64)
    codes[alone] = len(marks) + np.arange(alone.sum())
    return np.unique(codes, return_inverse=True)[1]


def _stratum_of_groups(codes: Ints, strata: Marks) -> Ints:
    """The stratum of most rows of each group."""
    stratum = np.unique(strata, return_inverse=True)[1]
    pairs, counts = np.unique(codes * (stratum.max() + 1) + stratum, return_counts=True)
    group, stratum = np.divmod(pairs, stratum.max() + 1)
    first = np.unique(group, return_index=True)[1]
    by_count = np.lexsort((stratum, -counts, group))
    return stratum[by_count[first]]


def draw_records(records: Ints, number: int, seed: int, dataset: int) -> Ints:
    """Draw so many of a dataset's records: whole passes over all, then a random rest."""
    passes, rest = divmod(number, max(1, len(records)))
    order = np.random.default_rng([seed, _SAMPLE, dataset]).permutation(records)
    return np.concatenate([*[records] * passes, np.sort(order[:rest])]).astype(np.int64)
