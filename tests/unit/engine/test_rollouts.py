"""Advantages, the draws of answers, and how many answers may go without a reward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tunesmith.data.batches import StepPlan
from tunesmith.engine.policy_loop import Skipped
from tunesmith.engine.rollouts import advantages_of
from tunesmith.engine.sampler import Draw, answer_keys, noise_of
from tunesmith.recipe import Grpo

NAN = float("nan")


def advantages(rewards: list[list[float]], **settings: str) -> list[list[float]]:
    return advantages_of(np.array(rewards), Grpo(**settings)).tolist()  # pyright: ignore[reportArgumentType]


def test_an_answer_is_measured_by_its_group() -> None:
    (found,) = advantages([[0.0, 0.0, 1.0, 1.0]])
    spread = np.std([0, 0, 1, 1], ddof=1) + 1e-4
    assert found == pytest.approx([-0.5 / spread, -0.5 / spread, 0.5 / spread, 0.5 / spread])


def test_equal_answers_teach_nothing() -> None:
    assert advantages([[0.7, 0.7], [0.0, 0.0]]) == [[0.0, 0.0], [0.0, 0.0]]


def test_rloo_measures_by_the_others() -> None:
    assert advantages([[3.0, 0.0, 1.0]], advantage="rloo", scale_rewards="none") == [
        pytest.approx([2.5, -2.0, -0.5])
    ]


def test_an_answer_without_a_reward_moves_neither_itself_nor_its_group() -> None:
    assert advantages([[1.0, NAN, 3.0]], scale_rewards="none") == [[-1.0, 0.0, 1.0]]
    rloo = advantages([[1.0, NAN, 3.0]], advantage="rloo", scale_rewards="none")
    assert rloo == [[-2.0, 0.0, 2.0]]
    assert advantages([[NAN, NAN, 3.0]]) == [[0.0, 0.0, 0.0]]


def test_the_spread_of_the_whole_batch_can_be_the_scale() -> None:
    rewards = [[0.0, 1.0], [0.0, 3.0]]
    spread = np.std(rewards, ddof=1) + 1e-4
    found = np.array(advantages(rewards, scale_rewards="batch"))
    assert found == pytest.approx(np.array([[-0.5, 0.5], [-1.5, 1.5]]) / spread)


def test_draws_follow_the_distribution_and_their_keys_alone() -> None:
    draws = [Draw(place, turn, 0) for place in range(200) for turn in range(20)]
    keys = answer_keys(draws, seed=1, step=1)
    assert len(set(keys.tolist())) == len(draws)
    probabilities = torch.tensor([0.5, 0.3, 0.2])
    chosen = (probabilities.log() + noise_of(keys, 3, 3)).argmax(-1)
    shares = torch.bincount(chosen) / len(draws)
    assert shares.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    some = (probabilities.log() + noise_of(keys[5:9], 3, 3)).argmax(-1)
    assert torch.equal(some, chosen[5:9])


def test_a_fifth_of_the_answers_may_lack_a_reward() -> None:
    skipped = Skipped()
    skipped.add(20, 100)
    assert not skipped.is_too_much
    skipped.add(21, 100)
    assert skipped.is_too_much  # what was long ago does not count
    assert Skipped(skipped.to_json()).counts == (21, 100)


def test_a_few_answers_are_no_share_unless_it_is_all_of_them() -> None:
    skipped = Skipped()
    skipped.add(7, 8)
    assert not skipped.is_too_much
    nothing = Skipped()
    nothing.add(8, 8)
    assert nothing.is_too_much


@pytest.mark.parametrize("after", [0, 1, 4, 5])
def test_a_plan_gives_the_same_rows_several_times(after: int) -> None:
    plan = StepPlan(
        np.arange(5), np.ones(5, np.int64), batch_size=2, batch_tokens=None, epochs=2,
        max_steps=8, seed=3, repeats=2,
    )  # fmt: skip
    steps = list(plan.steps())
    assert [step.number for step in steps] == list(range(1, 9))
    assert [step.epoch for step in steps] == [0] * 6 + [1] * 2
    for one, other in zip(steps[::2], steps[1::2], strict=True):
        assert np.array_equal(one.rows, other.rows)
    later = list(plan.steps(after=after))
    assert [(s.number, s.rows.tolist()) for s in later] == [
        (s.number, s.rows.tolist()) for s in steps[after:]
    ]
