"""The mixture of several datasets: exact counts, before anything runs."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tunesmith.data.mixing import DatasetCount, mixing_plan, share_problem
from tunesmith.errors import DataError

ROWS = st.integers(1, 5000)


def drawn(*datasets: DatasetCount, general_ratio: float = 0.2) -> list[int]:
    plan = mixing_plan(datasets, general_ratio=general_ratio)
    return [portion.rows_drawn for portion in plan.datasets]


def shared(name: str, rows: int, share: float | None) -> DatasetCount:
    return DatasetCount(name, rows, share=share)


def general(rows: int) -> DatasetCount:
    return DatasetCount("general", rows, role="general")


def test_a_rate_multiplies_the_rows_of_its_dataset() -> None:
    """C9"""
    counts = [DatasetCount("a", 200, 0.25), DatasetCount("b", 10, 2.5), DatasetCount("c", 3, 0.01)]
    plan = mixing_plan(counts)
    assert [portion.rows_drawn for portion in plan.datasets] == [50, 25, 1]
    assert plan.rows == 76
    assert [portion.rate for portion in plan.datasets] == [0.25, 2.5, pytest.approx(1 / 3, 1e-5)]


def test_shares_divide_the_rows_of_all_datasets() -> None:
    """C8: the small one is repeated, the large one thinned out, the total stays."""
    plan = mixing_plan([shared("small", 100, 30), shared("large", 900, 70)])
    assert [portion.rows_drawn for portion in plan.datasets] == [300, 700]
    assert [portion.share for portion in plan.datasets] == [30, 70]
    assert plan.datasets[0].rate == 3


@given(st.lists(st.tuples(ROWS, st.integers(1, 100)), min_size=1, max_size=6))
def test_shares_are_exact_to_one_row(rows_and_weights: list[tuple[int, int]]) -> None:
    """C8"""
    weight = sum(w for _, w in rows_and_weights)
    counts = [shared(str(n), r, 100 * w / weight) for n, (r, w) in enumerate(rows_and_weights)]
    total = sum(count.rows for count in counts)
    rates = [total * (c.share or 0) / 100 / c.rows for c in counts]
    assume(all(0.01 <= rate <= 10 for rate in rates))
    plan = mixing_plan(counts)
    assert plan.rows == total
    wanted = [total * w / weight for _, w in rows_and_weights]
    lifted = sum(exact < 1 for exact in wanted)  # each dataset gives a row, at the others' cost
    for portion, exact in zip(plan.datasets, wanted, strict=True):
        assert abs(portion.rows_drawn - exact) < 1 + lifted


@pytest.mark.parametrize(
    ("small", "message"),
    [
        (50, r"small: a share of 50 % of 10,100 rows is 5,050 .* a sampling rate of 50.5, outside"),
        (0.005, r"small: .* rate of 0.00505, outside 0.01 to 10"),
    ],
)
def test_a_share_that_asks_too_much_of_a_dataset_is_refused(small: float, message: str) -> None:
    """C8, C9"""
    counts = [shared("small", 100, small), shared("large", 10_000, 100 - small)]
    with pytest.raises(DataError, match=message) as caught:
        mixing_plan(counts)
    assert caught.value.code == "share_out_of_range"
    word = "at most" if small == 50 else "at least"
    advised = float(caught.value.hint.split(f"{word} ")[1].split(" ")[0])
    mixing_plan([shared("small", 100, advised), shared("large", 10_000, 100 - advised)])


@pytest.mark.parametrize(
    ("shares", "problem"),
    [
        ((None, None), None),
        ((50, 50), None),
        ((33.3, 33.3, 33.4), None),
        ((60, 50), "sum to 110 %, not 100 % (60 + 50)"),
        ((50, None), "1 of 2 datasets have a share (none: number 2)"),
    ],
)
def test_shares_are_checked_live(shares: tuple[float | None, ...], problem: str | None) -> None:
    """C8: what a form shows while somebody types."""
    found = share_problem(shares)
    assert (found is None) if problem is None else problem in (found or "")
    if problem is not None:
        with pytest.raises(DataError, match="share"):
            mixing_plan([shared("x", 10, share) for share in shares])


def test_a_share_of_an_empty_dataset_is_refused() -> None:
    with pytest.raises(DataError, match="no rows to train on"):
        mixing_plan([shared("a", 10, 50), shared("b", 0, 50)])


def test_general_rows_are_one_to_five_user_rows() -> None:
    """C10"""
    assert drawn(DatasetCount("user", 1000), general(4_000_000)) == [1000, 200]
    assert drawn(DatasetCount("user", 1000, 2.0), general(4_000_000)) == [2000, 400]
    assert drawn(DatasetCount("user", 1000), general(300), general_ratio=1) == [1000, 1000]


def test_several_general_datasets_are_one_corpus() -> None:
    """C10"""
    assert drawn(general(3000), DatasetCount("user", 1000), general(1000)) == [150, 1000, 50]


def test_a_small_general_corpus_is_repeated_ten_times_at_most_and_says_so() -> None:
    """C10"""
    plan = mixing_plan([DatasetCount("user", 100_000), general(300)])
    assert plan.datasets[1].rows_drawn == 3000
    assert plan.general_missing == 17_000


def test_tokens_are_told_when_they_are_known() -> None:
    known = DatasetCount("a", 100, 2.0, tokens=5000)
    plan = mixing_plan([known, DatasetCount("b", 10, tokens=70)])
    assert [portion.tokens for portion in plan.datasets] == [10_000, 70]
    assert plan.tokens == 10_070
    assert mixing_plan([known, DatasetCount("b", 10)]).tokens is None


def test_a_plan_is_json() -> None:
    document = json.loads(json.dumps(mixing_plan([DatasetCount("a", 10)]).to_json()))
    assert document["datasets"][0] == {
        "name": "a",
        "role": "user",
        "rows_available": 10,
        "rows_drawn": 10,
        "rate": 1.0,
        "share": 100.0,
        "tokens": None,
    }


def test_a_dataset_without_rows_gives_none() -> None:
    assert drawn(DatasetCount("a", 0), DatasetCount("b", 10)) == [0, 10]
