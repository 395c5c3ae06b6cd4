"""Who comes in a step: first come, first served, and nobody waits for a long prompt."""

from __future__ import annotations

from tunesmith.serving.runs import plan_runs
from tunesmith.serving.scheduler import Limits, Plan, plan_step

LIMITS = Limits(max_rows=4, prompt_tokens=100)


def always(rows: int, longest: int) -> bool:
    return rows > 0 and longest > 0


def test_every_row_behind_its_prompt_gets_a_token() -> None:
    assert plan_step([(9, 1), (20, 1)], [], LIMITS, always) == Plan((1, 1), ())


def test_prompts_that_arrive_together_come_in_one_step() -> None:
    assert plan_step([(9, 1)], [(0, 30), (0, 40)], LIMITS, always) == Plan((1,), (30, 40))


def test_a_long_prompt_comes_in_parts_and_delays_nobody() -> None:
    assert plan_step([(9, 1)], [(0, 1000)], LIMITS, always) == Plan((1,), (100,))
    assert plan_step([(9, 1), (100, 900)], [(0, 5)], LIMITS, always) == Plan((1, 100), ())
    assert plan_step([(9, 1), (960, 40)], [(0, 5)], LIMITS, always) == Plan((1, 40), (5,))


def test_a_prompt_of_one_token_is_a_prompt() -> None:
    assert plan_step([(0, 1)], [], LIMITS, always) == Plan((1,), ())


def test_there_are_never_more_rows_than_slots() -> None:
    assert plan_step([(9, 1)] * 3, [(0, 5)] * 3, LIMITS, always).joining == (5,)
    assert plan_step([(9, 1)] * 4, [(0, 5)], LIMITS, always).joining == ()


def test_who_came_first_is_served_first_even_where_a_later_one_would_fit() -> None:
    def fits(rows: int, longest: int) -> bool:
        return rows * longest <= 200

    assert plan_step([(80, 1)], [(0, 150), (0, 5)], LIMITS, fits).joining == ()


def test_places_in_front_of_a_row_take_memory_and_no_part_of_a_step() -> None:
    def fits(rows: int, longest: int) -> bool:
        return rows * longest <= 200

    assert plan_step([(80, 1)], [(0, 90)], LIMITS, fits).joining == (90,)
    assert plan_step([(80, 1)], [(9, 90)], LIMITS, fits).joining == (90,)
    assert plan_step([(80, 1)], [(10, 90)], LIMITS, fits).joining == ()


def test_one_row_always_fits() -> None:
    assert plan_step([], [(0, 50)], LIMITS, lambda *_: False).joining == (50,)


def test_neighbours_of_similar_length_attend_together() -> None:
    [run] = plan_runs([(0, 90), (1, 100), (2, 80)])
    assert (run.first, run.slot, run.length) == (0, 0, 100)
    split = plan_runs([(0, 90), (1, 9000), (2, 80), (3, 85)])
    assert [r.lengths for r in split] == [(90,), (9000,), (80, 85)]
    assert [r.first for r in split] == [0, 1, 2]


def test_rows_whose_slots_are_no_neighbours_attend_apart() -> None:
    assert [r.slot for r in plan_runs([(0, 9), (2, 9)])] == [0, 2]
