"""Which rows make up which step: properties that hold for any data."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.batches import (
    StepPlan,
    borders_by_tokens,
    micro_batches,
    order_hash,
    share_of_rank,
)

settings.register_profile("unhurried", deadline=None)  # a busy machine is not a mistake
settings.load_profile("unhurried")

lengths_of_rows = st.lists(st.integers(1, 60), min_size=1, max_size=50).map(np.array)


@st.composite
def plans(draw: st.DrawFn, **fixed: Any) -> tuple[StepPlan, dict[str, Any]]:
    """A plan and what it was made of; some rows may stand in the pool twice."""
    lengths = draw(lengths_of_rows)
    extra = draw(st.lists(st.integers(0, len(lengths) - 1), max_size=10))
    facts: dict[str, Any] = {
        "pool": np.array([*range(len(lengths)), *extra], dtype=np.int64),
        "lengths": lengths,
        "batch_size": draw(st.integers(1, 20)),
        "batch_tokens": draw(st.none() | st.integers(1, 200)),
        "epochs": draw(st.integers(1, 4)) + draw(st.sampled_from([0.0, 0.1, 0.25, 0.5])),
        "max_steps": draw(st.none() | st.integers(1, 30)),
        "seed": draw(st.integers(0, 2**32)),
        **fixed,
    }
    pool, table_lengths = facts["pool"], facts["lengths"]
    options = {k: v for k, v in facts.items() if k not in ("pool", "lengths")}
    return StepPlan(pool, table_lengths, **options), facts


def plan_of(rows: int, **options: Any) -> StepPlan:
    defaults: dict[str, Any] = {
        "batch_size": 4, "batch_tokens": None, "epochs": 1, "max_steps": None, "seed": 42,
    }  # fmt: skip
    lengths = np.ones(rows, dtype=np.int64)
    return StepPlan(np.arange(rows), lengths, **{**defaults, **options})


@given(plans(max_steps=None))
def test_every_epoch_holds_every_row_of_the_pool_once(made: tuple[StepPlan, Any]) -> None:
    plan, facts = made
    for epoch in range(int(facts["epochs"])):
        rows = [step.rows for step in plan.steps() if step.epoch == epoch]
        assert sorted(np.concatenate(rows)) == sorted(facts["pool"])


@given(plans(batch_tokens=None))
def test_steps_have_batch_size_rows_but_for_the_last_of_an_epoch(
    made: tuple[StepPlan, Any],
) -> None:
    plan, facts = made
    size, count = facts["batch_size"], len(facts["pool"])
    for step in plan.steps():
        assert 1 <= len(step.rows) <= size
        assert len(step.rows) in (size, count % size)


@given(plans(batch_size=1, max_steps=None, epochs=2))
def test_steps_by_tokens_keep_the_budget_and_are_as_full_as_their_order_allows(
    made: tuple[StepPlan, Any],
) -> None:
    plan, facts = made
    if facts["batch_tokens"] is None:
        return
    lengths, budget = facts["lengths"], facts["batch_tokens"]
    steps = list(plan.steps())
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        tokens = int(lengths[step.rows].sum())
        assert tokens <= budget or len(step.rows) == 1
        if following is not None and following.epoch == step.epoch:
            assert tokens + int(lengths[following.rows[0]]) > budget


@given(plans())
def test_a_resumed_plan_is_the_tail_of_the_whole(made: tuple[StepPlan, Any]) -> None:
    plan, facts = made
    whole = list(plan.steps())
    assert [step.number for step in whole] == list(range(1, plan.total_steps + 1))
    options = {k: v for k, v in facts.items() if k not in ("pool", "lengths")}
    same = StepPlan(facts["pool"], facts["lengths"], **options)
    for after in {0, 1, len(whole) // 2, len(whole) - 1, len(whole)}:
        tail = list(same.steps(after=after))
        assert [s.number for s in tail] == [s.number for s in whole[after:]]
        for one, other in zip(tail, whole[after:], strict=True):
            assert one.epoch == other.epoch
            assert np.array_equal(one.rows, other.rows)


@given(plans())
def test_progress_climbs_to_the_number_of_epochs(made: tuple[StepPlan, Any]) -> None:
    plan, facts = made
    course = [plan.progress(step) for step in plan.steps()]
    assert all(a < b for a, b in pairwise(course))
    if facts["max_steps"] is None:
        per_epoch = plan.total_steps / facts["epochs"]
        assert facts["epochs"] - 1e-9 <= course[-1] < facts["epochs"] + 2 / per_epoch
    assert all(step.epoch <= plan.progress(step) <= step.epoch + 1 for step in plan.steps())


@pytest.mark.parametrize(
    ("rows", "epochs", "steps"),
    [
        (40, 1, 10),
        (41, 1, 11),
        (40, 0.5, 5),
        (40, 0.01, 1),
        (40, 1.1, 11),
        (40, 2.3, 23),
        (3, 3, 3),
    ],
)
def test_epochs_may_be_fractions(rows: int, epochs: float, steps: int) -> None:
    plan = plan_of(rows, epochs=epochs)
    assert plan.total_steps == steps
    assert len(list(plan.steps())) == steps
    assert plan.num_epochs == math.ceil(epochs)


def test_progress_counts_fractions_of_an_epoch() -> None:
    plan = plan_of(40, epochs=1.5)
    course = [plan.progress(step) for step in plan.steps()]
    assert course[0] == pytest.approx(0.1)
    assert course[9] == pytest.approx(1)
    assert course[-1] == pytest.approx(1.5)


def test_max_steps_cuts_the_plan() -> None:
    assert plan_of(40, max_steps=7).total_steps == 7
    assert plan_of(40, max_steps=70).total_steps == 10


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    plan = plan_of(50, epochs=2)
    assert not np.array_equal(plan.order(0), plan.order(1))
    assert not np.array_equal(plan.order(0), plan_of(50, seed=43).order(0))
    assert np.array_equal(plan.order(1), plan_of(50, epochs=5, batch_size=9).order(1))


def test_the_order_is_the_same_on_every_machine_and_version() -> None:
    """Resuming on another machine depends on it; a change here breaks every paused run."""
    assert plan_of(8).order(0).tolist() == [7, 0, 4, 2, 1, 3, 5, 6]
    assert order_hash(plan_of(8), [0])[:8] == "e4253639"
    assert order_hash(plan_of(8), [0]) != order_hash(plan_of(8), [1])


def test_rows_are_cut_by_tokens_as_documented() -> None:
    assert borders_by_tokens(np.array([4, 4, 4, 9, 1]), 8) == [0, 2, 3, 4, 5]


@given(lengths_of_rows, st.integers(1, 120), st.randoms(use_true_random=False))
def test_micro_batches_hold_every_row_once_within_the_budget(
    lengths: Any, budget: int, random: Any
) -> None:
    rows = np.array([random.randrange(len(lengths)) for _ in range(random.randint(1, 60))])
    groups = micro_batches(rows, lengths, budget)
    assert sorted(np.concatenate(groups)) == sorted(rows)
    for group in groups:
        assert int(lengths[group].sum()) <= budget or len(group) == 1
    # First-fit decreasing: two groups never fit into one.
    sizes = sorted(int(lengths[group].sum()) for group in groups)
    assert len(sizes) < 2 or sizes[0] + sizes[1] > budget


@given(lengths_of_rows, st.integers(1, 120))
def test_micro_batches_keep_the_order_of_the_step(lengths: Any, budget: int) -> None:
    rows = np.arange(len(lengths))[::-1].copy()
    for group in micro_batches(rows, lengths, budget):
        assert list(group) == sorted(group, reverse=True)
    if lengths.sum() <= budget:
        assert len(micro_batches(rows, lengths, budget)) == 1


@given(lengths_of_rows, st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_shares_of_all_processes_are_the_step(
    lengths: Any, world_size: int, random: Any
) -> None:
    rows = np.array([random.randrange(len(lengths)) for _ in range(random.randint(1, 60))])
    shares = [share_of_rank(rows, lengths, rank, world_size) for rank in range(world_size)]
    assert sorted(np.concatenate(shares)) == sorted(rows)
    loads = [int(lengths[share].sum()) for share in shares]
    assert max(loads) - min(loads) <= int(lengths[rows].max())
