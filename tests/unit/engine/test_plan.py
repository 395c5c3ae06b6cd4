"""What `tunesmith plan` says before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.engine.plan import Plan, make_plan, show
from tunesmith.recipe import parse_recipe
from tunesmith.runs import RunDir

Planned = Callable[..., Plan]


@pytest.fixture
def planned(
    tmp_path: Path, tiny_model_dir: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Planned:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "home"))
    data = tmp_path / "rows.jsonl"
    rows = [{"question": f"Number {n}?", "answer": "y" * 20} for n in range(8)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def plan(stage: dict[str, Any], method: str = "lora", **training: Any) -> Plan:
        recipe = {
            "model": {"base": str(tiny_model_dir("llama")), "dtype": "float32"},
            "adapter": {"kind": method},
            "stage": stage,
            "data": {
                **{"train": [{"dataset": str(data)}], "validation": {"kind": "none"}},
                **{"allow_small": True, "max_length": 256},
            },
            "training": {"max_steps": 6, "batch_size": 2, "device": "cpu", **training},
        }
        folder = tmp_path / f"run {len(list(tmp_path.iterdir()))}"
        run = RunDir.create(folder, json.dumps(recipe), recipe_name="test")
        return make_plan(parse_recipe(recipe), run)

    return plan


def test_a_plan_of_given_rows_has_no_time_of_writing(planned: Planned) -> None:
    plan = planned({"kind": "sft"})
    assert plan.seconds == pytest.approx(plan.tokens / plan.tokens_per_second, abs=0.1)
    assert plan.writing_seconds == 0
    assert "Writing" not in show(plan)


def test_a_plan_of_grpo_counts_the_writing_of_answers(planned: Planned) -> None:
    plan = planned({"kind": "grpo", "group_size": 4, "max_answer_tokens": 100, "rewards": ["json"]})
    learning = plan.tokens / plan.tokens_per_second
    assert plan.writing_seconds > 0
    assert plan.seconds == pytest.approx(learning + plan.writing_seconds, abs=0.2)
    assert "goes to writing answers" in show(plan)


def test_a_plan_of_updates_in_backward_is_of_whole_steps_and_less_memory(planned: Planned) -> None:
    rule = {"max_grad_norm": 0, "micro_batch_tokens": 400}
    behind = planned({"kind": "sft"}, "full", **rule)
    within = planned({"kind": "sft"}, "full", update_in_backward=True, **rule)
    assert within.micro_batch_tokens == 400
    assert within.tokens_per_second > 0
    layer = (behind.parameters - 264 * 32 - 32) // 2  # without the tables and the last norm
    assert behind.memory.optimizer - within.memory.optimizer == 4 * layer
    alone = planned({"kind": "sft"}, "full", update_in_backward=True, max_grad_norm=0)
    assert alone.tokens / alone.steps <= alone.micro_batch_tokens < 400


def test_a_plan_tells_of_layers_that_never_learn(planned: Planned) -> None:
    plan = planned({"kind": "sft"}, "full", optimizer={"kind": "badam", "block_switch_steps": 6})
    assert [each for each in plan.warnings if "layers never learn" in each]
