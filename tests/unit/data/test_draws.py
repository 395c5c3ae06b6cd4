"""Draws are pure functions of a seed, and keep their promises for every size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.draws import (
    TEST,
    Marks,
    SplitRecords,
    apportion,
    draw_records,
    quotas,
    split_records,
)

SEEDS = st.integers(0, 9)
COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def split(
    num_records: int, size: int, max_rows: int = 10**6, seed: int = 0, **marks: Marks | None
) -> SplitRecords:
    return split_records(np.arange(num_records), size, max_rows, seed, **marks)


def marks_of(counts: list[int], seed: int = 0) -> Marks:
    """So many records of each value, shuffled."""
    marks = np.repeat(np.arange(1, len(counts) + 1, dtype=np.uint64), counts)
    return np.random.default_rng(seed).permutation(marks)


@given(st.integers(1, 500), st.integers(0, 300), st.integers(1, 200), SEEDS)
def test_a_split_takes_its_share_and_always_leaves_a_training_row(
    num_records: int, size: int, max_rows: int, seed: int
) -> None:
    """C11"""
    drawn = split(num_records, size, max_rows, seed)
    wanted = min(max(1, size), num_records - 1)
    assert len(drawn.drawn) == drawn.wanted == min(wanted, max_rows)
    assert drawn.returned == wanted - drawn.wanted
    assert len(np.unique(drawn.drawn)) == len(drawn.drawn)
    assert len(drawn.set_aside) == 0


@given(st.integers(2, 300), st.integers(1, 100), SEEDS)
def test_the_draw_depends_on_the_places_of_candidates_not_on_their_numbers(
    num_records: int, size: int, seed: int
) -> None:
    candidates = np.arange(num_records) * 3 + 5
    moved = split_records(candidates, size, 50, seed)
    assert moved.drawn.tolist() == (split(num_records, size, 50, seed).drawn * 3 + 5).tolist()


def test_validation_and_test_are_drawn_independently() -> None:
    """C13"""
    validation = split(100, 30)
    test = split_records(np.arange(100), 30, 1000, 0, stream=TEST)
    assert validation.drawn.tolist() != test.drawn.tolist()


@given(COUNTS, st.floats(0.01, 0.5), SEEDS)
def test_a_stratified_split_is_proportional(counts: list[int], fraction: float, seed: int) -> None:
    """C13: exact in size, within one row of each value's share, each value in training."""
    marks = marks_of(counts, seed)
    size = round(fraction * len(marks))
    drawn = split(len(marks), size, seed=seed, strata=marks)
    taken = np.bincount(marks[drawn.drawn].astype(int), minlength=len(counts) + 1)[1:]
    frequent = [n for n, count in enumerate(counts) if count > 1]
    strata = len(frequent) + (len(frequent) < len(counts))
    assert len(drawn.drawn) == min(drawn.wanted, len(marks) - strata)
    for n in frequent:
        assert taken[n] < counts[n]
        if drawn.wanted >= len(counts):
            assert taken[n] >= 1


def test_values_that_occur_once_are_drawn_from_together() -> None:
    marks = marks_of([1] * 50 + [50])
    drawn = split(100, 20, strata=marks)
    assert (marks[drawn.drawn] <= 50).sum() == 10


@given(st.lists(st.integers(2, 40), min_size=1, max_size=12), st.integers(0, 100))
def test_quotas_are_within_one_row_of_the_exact_share(sizes: list[int], wanted: int) -> None:
    """Unless one row at least, or one row left, asks for more."""
    array = np.array(sizes)
    wanted = min(wanted, sum(sizes) - len(sizes))
    parts = quotas(wanted, array)
    assert parts.sum() == wanted
    exact = wanted * array / array.sum()
    if exact.min() >= 1 and (exact <= array - 1).all():
        assert (np.abs(parts - exact) < 1).all()


@given(COUNTS, st.floats(0.01, 0.5), st.integers(1, 60), SEEDS)
def test_a_group_is_never_on_both_sides(
    counts: list[int], fraction: float, max_rows: int, seed: int
) -> None:
    """C13"""
    marks = marks_of(counts, seed)
    drawn = split(len(marks), round(fraction * len(marks)), max_rows, seed, groups=marks)
    held = np.concatenate([drawn.drawn, drawn.set_aside])
    training = np.setdiff1d(np.arange(len(marks)), held)
    assert not set(marks[held].tolist()) & set(marks[training].tolist())
    assert len(drawn.drawn) <= max_rows
    assert len(np.unique(held)) == len(held)
    if len(marks) > 1:
        assert len(training)


@given(COUNTS, COUNTS, st.floats(0.01, 0.5), SEEDS)
def test_groups_stay_whole_in_a_stratified_split(
    counts: list[int], others: list[int], fraction: float, seed: int
) -> None:
    groups = marks_of(counts, seed)
    strata = np.resize(marks_of(others, seed + 1), len(groups))
    size = round(fraction * len(groups))
    drawn = split(len(groups), size, 50, seed, groups=groups, strata=strata)
    held = np.concatenate([drawn.drawn, drawn.set_aside])
    assert not set(groups[held]) & set(np.delete(groups, held))


def test_groups_of_many_small_strata_reach_about_the_wanted_size() -> None:
    groups = marks_of([3] * 400)
    strata = (groups + np.uint64(7)) // np.uint64(8)  # 50 strata of 24 rows
    drawn = split(1200, 120, groups=groups, strata=strata)
    assert 110 <= len(drawn.drawn) <= 120
    by_stratum = np.bincount(strata[drawn.drawn].astype(int), minlength=52)[1:51]
    assert by_stratum.max() <= 6
    assert len(set(strata[np.setdiff1d(np.arange(1200), drawn.drawn)])) == len(set(strata))


def test_many_small_groups_reach_the_wanted_size() -> None:
    marks = marks_of([3] * 100)
    assert len(split(300, 30, groups=marks).drawn) == 30
    assert len(split(300, 31, groups=marks).drawn) == 30


def test_rows_without_a_group_are_groups_of_their_own() -> None:
    marks = np.zeros(100, np.uint64)
    assert len(split(100, 10, groups=marks).drawn) == 10


def test_the_smallest_group_is_taken_when_none_fits() -> None:
    marks = marks_of([40, 30, 30])
    drawn = split(100, 10, groups=marks)
    assert len(drawn.drawn) == 30
    assert drawn.wanted == 10
    limited = split(100, 10, max_rows=5, groups=marks)
    assert (len(limited.drawn), len(limited.set_aside)) == (5, 25)


def test_nothing_is_drawn_when_the_smallest_group_is_most_of_the_rows() -> None:
    assert len(split(100, 10, groups=marks_of([100])).drawn) == 0


@given(COUNTS, SEEDS, st.sampled_from(["strata", "groups"]))
def test_the_same_seed_gives_the_same_draw(counts: list[int], seed: int, kind: str) -> None:
    marks = marks_of(counts)
    first, again = (split(len(marks), 9, 7, seed, **{kind: marks}) for _ in range(2))
    assert first.drawn.tolist() == again.drawn.tolist()


def test_another_seed_gives_another_draw() -> None:
    marks = marks_of([5] * 40)
    for kind in ("strata", "groups"):
        one, other = (split(200, 50, seed=seed, **{kind: marks}) for seed in (1, 2))
        assert one.drawn.tolist() != other.drawn.tolist()


@given(
    st.integers(0, 1000),
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 5), st.integers(5, 300)), min_size=1),
)
def test_parts_sum_to_the_total_unless_bounds_forbid(
    total: int, rows: list[tuple[int, int, int]]
) -> None:
    weights, low, high = (np.array(column) for column in zip(*rows, strict=True))
    parts = apportion(total, weights, low, high)
    assert (parts >= low).all()
    assert (parts <= high).all()
    assert parts.sum() == np.clip(total, low.sum(), high.sum())


@given(st.integers(1, 300), st.integers(1, 3000), SEEDS)
def test_a_draw_repeats_each_row_as_evenly_as_its_number_allows(
    num_records: int, number: int, seed: int
) -> None:
    """C9: without replacement below one pass, whole passes and a random rest above."""
    drawn = draw_records(np.arange(num_records), number, seed, dataset=0)
    assert len(drawn) == number
    counts = np.bincount(drawn, minlength=num_records)
    assert counts.max() - counts.min() <= 1
    again = draw_records(np.arange(num_records), number, seed, dataset=0)
    assert drawn.tolist() == again.tolist()


def test_datasets_draw_independently() -> None:
    draws = [draw_records(np.arange(100), 50, seed=1, dataset=at).tolist() for at in (0, 1)]
    assert draws[0] != draws[1]


@pytest.mark.parametrize("number", [0, 5])
def test_nothing_is_drawn_from_nothing(number: int) -> None:
    assert len(draw_records(np.zeros(0, np.int64), number, 0, 0)) == 0
