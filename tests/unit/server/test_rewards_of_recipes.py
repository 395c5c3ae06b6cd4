"""A server reads no file that a reward of a recipe names, and runs no program without leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.recipe import Grpo, Sft, parse_recipe
from tunesmith.server.services.estimates import learned_tokens
from tunesmith.server.services.recipes import refusals
from tunesmith.server.settings import Settings

PROGRAM = {"type": "python", "name": "p", "source": "def grade(sample, item):\n    return 1\n"}
PARTS = {"type": "multi", "name": "m", "graders": {"p": PROGRAM}, "calculate_output": "p"}

JUDGE = {
    "type": "score_model",
    "name": "j",
    "model": "m",
    "input": [{"role": "user", "content": "{{sample.output_text}}"}],
}


def codes(reward: Any, tmp_path: Path, **settings: Any) -> list[str]:
    recipe = parse_recipe(
        {
            "model": "starter",
            "stage": {"kind": "grpo", "rewards": [reward]},
            "data": {"train": ["questions"]},
        }
    )
    found = refusals(recipe, Settings(data_dir=tmp_path, **settings))
    return [problem.code for problem in found]


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        ("json", []),
        ({"kind": "python", "file": "/etc/passwd"}, ["reward_of_a_file"]),
        ({"kind": "sql", "fixtures": "/var/data"}, ["reward_of_a_file"]),
        ({"kind": "sql"}, []),
        ({"kind": "grader", "grader": PROGRAM}, ["reward_program_not_allowed"]),
        ({"kind": "grader", "grader": PARTS}, ["reward_program_not_allowed"]),
        ({"kind": "grader", "grader": {"type": "string_check"}}, ["reward_grader_not_valid"]),
        ({"kind": "grader", "grader": JUDGE}, ["reward_grader_not_valid"]),
    ],
)
def test_places_and_programs_are_refused(reward: Any, expected: list[str], tmp_path: Path) -> None:
    assert codes(reward, tmp_path) == expected


def test_an_administrator_may_allow_programs(tmp_path: Path) -> None:
    assert codes({"kind": "grader", "grader": PROGRAM}, tmp_path, python_graders=True) == []


def test_the_answers_of_a_group_count_in_the_estimate() -> None:
    stage = Grpo(group_size=4, max_answer_tokens=20)
    assert learned_tokens(stage, 10.0) == 4 * (10 + 10)
    assert learned_tokens(Sft(), 10.0) == 10
