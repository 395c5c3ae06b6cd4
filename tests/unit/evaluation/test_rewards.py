"""Sources of rewards: what they say about answers, and about those that they cannot judge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from tunesmith.errors import RecipeError
from tunesmith.evaluation.rewards import Answered, Judge, Judged, build_judge
from tunesmith.recipe.rewards import AnyReward, ModelReward

REWARDS: TypeAdapter[list[AnyReward]] = TypeAdapter(list[AnyReward])
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def no_model(reward: ModelReward) -> Any:
    raise AssertionError(reward)


def judge(*rewards: Any, base_dir: Path = Path()) -> Judge:
    return build_judge(REWARDS.validate_python(list(rewards)), base_dir, no_model)


def judged(
    *rewards: Any, texts: Sequence[str], base_dir: Path = Path(), **fields: Any
) -> list[Judged]:
    asked = [{"role": "user", "content": "?"}]
    with judge(*rewards, base_dir=base_dir) as made:
        return made.judge([Answered(asked, fields, text) for text in texts])


def test_json_counts_whole_answers_that_fit_the_schema() -> None:
    found = judged(
        {"kind": "json", "json_schema": SCHEMA}, texts=['{"n": 1}', '{"n": "1"}', 'so {"n": 1}']
    )
    assert [each.reward for each in found] == [1.0, 0.0, 0.0]
    assert [each.reward for each in judged("json", texts=["[]", "oh"])] == [1.0, 0.0]
    of_row = judged("json", texts=["{}", '{"n": 2}'], json_schema=SCHEMA)
    assert [each.reward for each in of_row] == [0.0, 1.0]


def test_several_are_added_up_by_weight_under_their_names() -> None:
    check = {
        "type": "string_check", "name": "right", "operation": "eq",
        "input": "{{sample.output_text}}", "reference": "{{item.reference}}",
    }  # fmt: skip
    (found,) = judged(
        {"kind": "grader", "grader": check, "weight": 2, "name": "right"},
        '{"kind": "json", "weight": 0.5}',
        texts=["7"],
        reference="7",
    )
    assert found == Judged(2.5, {"right": 1.0, "json": 1.0})


def test_a_program_that_raises_hangs_or_returns_nan_gives_no_reward(tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text(
        "import time\n"
        "def score(row):\n"
        "    text = row['prediction']\n"
        "    if text == 'nan': return float('nan')\n"
        "    if text == 'hang': time.sleep(30)\n"
        "    if text == 'none': return None\n"
        "    if text == 'two': return {'a': 1, 'b': 0.5}\n"
        "    return 1 / len(text)\n"
    )
    source = {"kind": "python", "file": "reward.py", "seconds": 1}
    texts = ["ab", "nan", "", "hang", "two", "none", "abcd"]
    found = judged(source, texts=texts, base_dir=tmp_path)
    assert [each.reward for each in found] == [0.5, None, None, None, 1.5, None, 0.25]
    assert "nan" in found[1].why
    assert "ZeroDivisionError" in found[2].why
    assert "longer than 1 s" in found[3].why


def test_a_grader_that_is_a_program_runs_in_its_own_process() -> None:
    source = "def grade(sample, item):\n    return sample['output_json']['n'] + item['more']\n"
    grader = {"type": "python", "name": "sum", "source": source}
    found = judged({"kind": "grader", "grader": grader}, texts=['{"n": 1}', "no"], more=2)
    assert found[0].reward == 3.0
    assert found[1].reward is None


def test_a_query_is_worth_what_it_returns() -> None:
    script = "CREATE TABLE t(a INTEGER); INSERT INTO t VALUES (1), (2);"
    texts = ["SELECT max(a) FROM t", "SELECT 2", "SELECT b FROM t", "hello"]
    told = {"fixture": script, "reference": "SELECT max(a) FROM t"}
    found = judged({"kind": "sql"}, texts=texts, **told)
    assert [each.reward for each in found] == [1.0, 1.0, 0.0, 0.0]
    runs = judged({"kind": "sql"}, texts=["SELECT 5", "SELEC"], fixture=script)
    assert [each.reward for each in runs] == [1.0, 0.0]
    assert judged({"kind": "sql"}, texts=["SELECT 1"])[0].reward is None


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        ({"kind": "grader", "grader": {"type": "string_check", "name": "x"}}, "input"),
        ({"kind": "grader", "grader": {"type": "no", "name": "x"}}, "type"),
        (
            {"kind": "grader", "grader": {"type": "python", "name": "x", "source": "def ("}},
            "no Python",
        ),
        ({"kind": "python", "file": "missing.py"}, "missing.py"),
        ({"kind": "json", "json_schema": {"type": "objekt"}}, "no JSON schema"),
    ],
)
def test_a_source_that_cannot_work_is_refused(reward: Any, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        judge(reward)


def test_an_infinite_reward_is_none() -> None:
    class Infinite:
        def rewards(self, answers: Sequence[Answered]) -> list[Any]:
            return [math.inf for _ in answers]

        def close(self) -> None:
            pass

    (found,) = Judge(["x"], [1.0], [Infinite()]).judge([Answered([], {}, "a")])
    assert found.reward is None
