"""Draws are pure functions of a seed, and keep their promises for every size."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.draws import sample_records, split_records


@given(st.integers(1, 500), st.floats(0.01, 0.5), st.integers(1, 200), st.integers(0, 9))
def test_a_split_takes_its_share_and_always_leaves_a_training_row(
    num_records: int, fraction: float, max_rows: int, seed: int
) -> None:
    """C11"""
    drawn = split_records(num_records, fraction, max_rows, seed)
    wanted = min(max(1, round(fraction * num_records)), num_records - 1)
    assert len(drawn.validation) == min(wanted, max_rows)
    assert drawn.returned == wanted - len(drawn.validation)
    assert len(set(drawn.validation.tolist())) == len(drawn.validation)


@given(st.integers(1, 300), st.floats(0.01, 10), st.integers(0, 9))
def test_sampling_repeats_each_row_as_evenly_as_the_rate_allows(
    num_records: int, rate: float, seed: int
) -> None:
    """C9"""
    drawn = sample_records(np.arange(num_records), rate, seed, dataset=0)
    assert len(drawn) == max(1, round(rate * num_records))
    counts = np.bincount(drawn, minlength=num_records)
    assert counts.max() - counts.min() <= 1


def test_datasets_draw_independently() -> None:
    draws = [sample_records(np.arange(100), 0.5, seed=1, dataset=at).tolist() for at in (0, 1)]
    assert draws[0] != draws[1]
