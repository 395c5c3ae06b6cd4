"""How fast past trainings were: steps apart from the start, long runs before short ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tunesmith.server.services.paces import Run, pace_of, run_of, weighted_median

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def points(
    seconds: Sequence[float], tokens: int = 1000, pause: float = 0.0
) -> list[dict[str, Any]]:
    """Steps one after the other, each told at its end, with a pause (a save, say) before each."""
    now, made = BEGIN, list[dict[str, Any]]()
    for number, took in enumerate(seconds, 1):
        now += timedelta(seconds=took + pause)
        made.append({"step": number, "time": now.isoformat(), "seconds": took, "tokens": tokens})
    return made


def test_speed_is_that_of_the_steps_and_the_start_is_counted_apart() -> None:
    run = run_of(points([5.0, *[1.0] * 19]), 20, held_seconds=40.0, num_devices=1)
    assert run is not None
    assert run.tokens_per_second == 1000  # the slow first step is warm-up
    assert run.start_seconds == pytest.approx(40 - 24, abs=4)
    two = run_of(points([1.0] * 20), 20, held_seconds=40.0, num_devices=2)
    assert two is not None
    assert two.tokens_per_second == 500


def test_evaluations_and_saves_are_a_share_of_the_steps() -> None:
    run = run_of(points([1.0] * 20, pause=0.5), 20, held_seconds=40.0, num_devices=1)
    assert run is not None
    assert run.beside == pytest.approx(0.5)
    assert run.start_seconds == pytest.approx(10.0)


def test_some_steps_of_a_long_run_stand_for_all() -> None:
    every_tenth = points([1.0] * 1000)[9::10]
    run = run_of(every_tenth, 1000, held_seconds=1012.0, num_devices=1)
    assert run is not None
    assert (run.num_steps, run.tokens_per_second) == (1000, 1000)
    assert run.start_seconds == pytest.approx(12.0)


def test_a_run_without_times_says_nothing() -> None:
    assert run_of([], 5, held_seconds=3.0, num_devices=1) is None
    assert pace_of([]) is None


def test_many_tiny_runs_do_not_outvote_a_long_one() -> None:
    tiny = Run(num_steps=1, tokens_per_second=50.0, beside=0.0, start_seconds=9.0)
    long = Run(num_steps=300, tokens_per_second=2000.0, beside=0.1, start_seconds=5.0)
    pace = pace_of([tiny] * 10 + [long])
    assert pace is not None
    assert (pace.tokens_per_second, pace.beside, pace.num_runs) == (2000.0, 0.1, 11)
    assert pace.start_seconds == 9.0  # each start counts alike
    assert pace.seconds(200_000, num_devices=2) == pytest.approx(9 + 50 * 1.1)


def test_a_weighted_median_is_where_half_of_the_weight_lies() -> None:
    assert weighted_median([1, 2, 9], [1, 1, 8]) == 9
    assert weighted_median([3, 1, 2], [1, 1, 1]) == 2
    assert weighted_median([7], [0]) == 7
