"""What says which evaluation is the best."""

from __future__ import annotations

import math

import pytest

from tunesmith.recipe.training import Stop


@pytest.mark.parametrize(
    ("metric", "worse", "better"),
    [
        ("loss", 2.0, 1.5),
        ("kl", 0.3, 0.1),
        ("token_accuracy", 0.4, 0.6),
        ("reward_accuracy", 0.5, 0.75),
        ("reward_margin", -0.1, 0.2),
        ("chosen_log_prob", -30.0, -20.0),
    ],
)
def test_the_better_evaluation_has_the_lower_value(
    metric: str, worse: float, better: float
) -> None:
    stop = Stop(metric=metric)  # pyright: ignore[reportArgumentType]
    # Another metric that moves the other way has no say.
    first = stop.value_of({"other": 1.0, metric: worse})
    second = stop.value_of({"other": 9.0, metric: better})
    assert second < first


@pytest.mark.parametrize("metrics", [{}, {"reward_margin": math.nan}])
def test_a_metric_that_was_not_measured_is_never_the_best(metrics: dict[str, float]) -> None:
    assert Stop(metric="reward_margin").value_of(metrics) == math.inf
