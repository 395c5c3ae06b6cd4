"""The course of the learning rate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.engine.schedule import learning_rate_factor
from tunesmith.recipe import Schedule

settings.register_profile("unhurried", deadline=None)  # a busy machine is not a mistake
settings.load_profile("unhurried")

KINDS = ("cosine", "linear", "constant")


def course(
    total: int, kind: str = "cosine", warmup: float = 0.0, floor: float = 0.0
) -> list[float]:
    schedule = Schedule.model_validate({"kind": kind, "warmup_ratio": warmup, "min_ratio": floor})
    return [learning_rate_factor(schedule, step, total) for step in range(1, total + 1)]


def test_warm_up_is_a_straight_line_to_the_full_rate() -> None:
    """D17: the share of steps in which the rate climbs."""
    assert course(10, "constant", warmup=0.4) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]
    assert course(3, "constant", warmup=0.1) == [1, 1, 1]


@pytest.mark.parametrize("kind", ["cosine", "linear"])
@pytest.mark.parametrize("floor", [0.0, 1e-5, 0.013, 0.1, 1.0])
def test_the_lowest_rate_is_the_rate_times_the_ratio(kind: str, floor: float) -> None:
    """D5, D12: lowest learning rate = learning rate x ratio, reached by the last step."""
    rates = course(20, kind, floor=floor)
    assert rates[-1] == pytest.approx(floor, abs=1e-12)
    assert min(rates) == rates[-1]


def test_linear_falls_in_equal_steps() -> None:
    assert course(4, "linear") == pytest.approx([0.75, 0.5, 0.25, 0])
    assert course(5, "linear", warmup=0.2, floor=0.2) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])


def test_cosine_falls_along_half_a_wave() -> None:
    assert course(4) == pytest.approx([(1 + math.cos(math.pi * i / 4)) / 2 for i in (1, 2, 3, 4)])
    assert course(2, floor=0.5) == pytest.approx([0.75, 0.5])


def test_warm_up_may_take_everything() -> None:
    assert course(4, warmup=1.0) == [0.25, 0.5, 0.75, 1]


def test_a_single_step_has_a_rate() -> None:
    assert course(1, warmup=0.1) == [1]
    assert course(1, "linear", floor=0.3) == [0.3]


@given(
    kind=st.sampled_from(KINDS),
    total=st.integers(1, 300),
    warmup=st.floats(0, 1),
    floor=st.floats(0, 1),
)
def test_the_rate_climbs_then_falls_between_floor_and_full(
    kind: str, total: int, warmup: float, floor: float
) -> None:
    rates = course(total, kind, warmup, floor)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert all(a >= b - 1e-12 for a, b in zip(rates[top:], rates[top + 1 :], strict=False))
    assert all(0 <= rate <= 1 + 1e-12 for rate in rates)
    assert all(rate >= floor - 1e-12 for rate in rates[top:])
