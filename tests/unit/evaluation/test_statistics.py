"""Paired bootstrap and sign test: known cases, and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tunesmith.evaluation.scores.score import mean_score
from tunesmith.evaluation.statistics import Paired, mean_of_sums, paired_bootstrap, sign_test


def paired(base: list[float], tuned: list[float]) -> Paired:
    sides = (mean_score("x", base), mean_score("x", tuned))
    return Paired(sides[0].sums_NK, sides[1].sums_NK, mean_of_sums)


def test_the_interval_of_a_mean_is_that_of_the_normal_law_for_many_rows() -> None:
    rng = np.random.default_rng(0)
    base, gains = rng.random(2000), rng.normal(0.1, 0.5, 2000)
    [found] = paired_bootstrap([paired(base.tolist(), (base + gains).tolist())])
    error = gains.std() / math.sqrt(2000)
    assert found.difference.value == pytest.approx(gains.mean())
    assert found.difference.low == pytest.approx(gains.mean() - 1.96 * error, abs=error / 10)
    assert found.difference.high == pytest.approx(gains.mean() + 1.96 * error, abs=error / 10)


def test_pairs_count_not_the_spread_of_the_rows() -> None:
    """Rows differ wildly, yet every one gains the same: nothing about the gain is uncertain."""
    base = [0.0, 100.0, -50.0, 7.0]
    [found] = paired_bootstrap([paired(base, [each + 1 for each in base])])
    assert found.difference.low == pytest.approx(1)
    assert found.difference.high == pytest.approx(1)
    assert found.base.low < -25 < 60 < found.base.high


def test_the_same_seed_gives_the_same_interval_and_scores_do_not_disturb_each_other() -> None:
    one, other = paired([0, 1, 0, 1, 1], [1, 1, 0, 1, 1]), paired([1, 2, 3, 4, 5], [2, 2, 2, 2, 2])
    alone = paired_bootstrap([one], resamples=500)
    together = paired_bootstrap([other, one], resamples=500)
    assert alone[0] == together[1]
    assert alone == paired_bootstrap([one], resamples=500)
    assert alone != paired_bootstrap([one], resamples=500, seed=1)


def test_rows_without_a_value_take_no_part() -> None:
    score = mean_score("x", [1.0, None, 0.0])
    assert score.value == 0.5
    assert score.num_rows == 2
    [found] = paired_bootstrap([Paired(score.sums_NK, score.sums_NK, mean_of_sums)])
    assert found.base.value == 0.5
    assert math.isnan(mean_score("x", [None, None]).value)


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [(0, 0, 1.0), (6, 0, 2 / 64), (0, 6, 2 / 64), (5, 5, 1.0), (8, 1, 20 / 512), (3, 1, 10 / 16)],
)
def test_the_sign_test_counts_the_ways_of_a_fair_coin(wins: int, losses: int, p: float) -> None:
    assert sign_test(wins, losses) == pytest.approx(p)


def test_the_sign_test_of_many_rows_is_finite() -> None:
    assert 0 < sign_test(5200, 4800) < 1e-4
