"""Draws follow the probabilities, and what is left out is never drawn."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from tunesmith.serving.order import Sampling
from tunesmith.serving.sampling import draw, gumbel_noise, scored

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -30.0])
DRAWS = 4000


def shares(logits: torch.Tensor = LOGITS, **settings: Any) -> list[float]:
    settings = {"temperature": 1.0, **settings}
    found = Counter(
        draw(logits, Sampling(seed=seed, **settings), (0, 1), ()) for seed in range(DRAWS)
    )
    return [found[token] / DRAWS for token in range(len(logits))]


def test_draws_follow_the_probabilities() -> None:
    assert shares() == pytest.approx(LOGITS.softmax(0).tolist(), abs=0.03)
    assert shares(temperature=2.0) == pytest.approx((LOGITS / 2).softmax(0).tolist(), abs=0.03)


def test_draws_at_the_places_of_one_answer_are_independent() -> None:
    sampling = Sampling(temperature=1.0, seed=11)
    said: list[int] = []
    for _ in range(DRAWS):
        said.append(draw(LOGITS, sampling, (), said))
    expected = LOGITS.softmax(0)[:4].tolist()
    counts = Counter(said)
    assert [counts[t] / DRAWS for t in range(4)] == pytest.approx(expected, abs=0.03)
    pairs = Counter(pairwise(said))
    assert pairs[0, 0] / (DRAWS - 1) == pytest.approx(expected[0] ** 2, abs=0.03)


def test_top_k_keeps_the_likeliest() -> None:
    assert shares(top_k=2) == pytest.approx([*LOGITS[:2].softmax(0).tolist(), 0, 0, 0], abs=0.03)
    assert shares(top_k=1) == [1, 0, 0, 0, 0]


def test_top_p_keeps_the_fewest_that_hold_the_share() -> None:
    # 0.64, 0.24, 0.09, 0.03: the first holds 0.6, the first two hold 0.8.
    assert shares(top_p=0.6) == [1, 0, 0, 0, 0]
    assert shares(top_p=0.8)[2:] == [0, 0, 0]
    assert shares(top_p=0.8)[1] > 0.2


def test_top_p_over_a_large_vocabulary_is_what_sorting_all_gives() -> None:
    logits = torch.randn(5000, generator=torch.Generator().manual_seed(1)) * 0.5
    probabilities, ids = logits.softmax(0).sort(descending=True)
    before = probabilities.cumsum(0) - probabilities
    allowed = set(ids[before < 0.7].tolist())
    assert len(allowed) > 256
    sampling = [Sampling(temperature=1.0, top_p=0.7, seed=seed) for seed in range(300)]
    assert {draw(logits, one, (), ()) for one in sampling} <= allowed


def test_min_p_leaves_out_what_is_far_less_likely() -> None:
    assert shares(min_p=0.2)[2:] == [0, 0, 0]


def test_penalties_and_biases_change_the_scores() -> None:
    greedy = {"temperature": 0.0}
    assert draw(LOGITS, Sampling(**greedy, logit_bias={3: 50.0}), (), ()) == 3
    assert draw(LOGITS, Sampling(**greedy, logit_bias={0: -100.0}), (), ()) == 1
    assert draw(LOGITS, Sampling(**greedy, presence_penalty=1.5), (0,), ()) == 0  # answers only
    assert draw(LOGITS, Sampling(**greedy, presence_penalty=1.5), (), (0,)) == 1
    assert draw(LOGITS, Sampling(**greedy, frequency_penalty=0.4), (), (0, 0)) == 0
    assert draw(LOGITS, Sampling(**greedy, frequency_penalty=0.4), (), (0, 0, 0)) == 1
    assert draw(LOGITS, Sampling(**greedy, repetition_penalty=3.0), (0,), ()) == 1


def test_scores_are_left_as_they_were() -> None:
    logits = LOGITS.clone()
    draw(logits, Sampling(temperature=1.0, presence_penalty=1.0, logit_bias={1: 3.0}), (), (0,))
    assert torch.equal(logits, LOGITS)


def test_noise_is_that_of_gumbel_and_depends_on_seed_place_and_token() -> None:
    ids = np.arange(100_000)
    noise = gumbel_noise(3, 0, ids)
    assert noise.mean() == pytest.approx(0.5772, abs=0.02)
    assert noise.std() == pytest.approx(np.pi / np.sqrt(6), abs=0.02)
    some = np.array([7, 70, 700])
    assert np.array_equal(gumbel_noise(3, 0, some), noise[some])
    for other in (gumbel_noise(4, 0, ids), gumbel_noise(3, 1, ids)):
        assert abs(np.corrcoef(noise, other)[0, 1]) < 0.02
    assert np.isfinite(gumbel_noise(-5, 10**6, ids)).all()


def test_log_probabilities_are_told_with_as_many_alternatives_as_each_asked_for() -> None:
    logits = torch.stack([LOGITS, LOGITS.flip(0)])
    first, second = scored(logits, [1, 0], [2, 0])
    exact = LOGITS.log_softmax(0).tolist()
    assert first.logprob == pytest.approx(exact[1])
    assert [token for token, _ in first.top] == [0, 1]
    assert second.top == ()
    assert second.logprob == pytest.approx(exact[4])
