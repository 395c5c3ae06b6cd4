"""What `tunesmith plan` says before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.engine import plan as plan_module
from tunesmith.engine.memory import Room
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

    def plan(
        stage: dict[str, Any], method: str = "lora", attention: str = "auto", **training: Any
    ) -> Plan:
        base = {"base": str(tiny_model_dir("llama")), "attention": attention}
        recipe = {
            "model": {**base, "dtype": "float32"},
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


def with_room(monkeypatch: pytest.MonkeyPatch, num_bytes: float) -> None:
    """As if a device had so much memory free."""
    monkeypatch.setattr(
        plan_module, "room_of", lambda _: Room(round(num_bytes / 0.94), round(num_bytes))
    )


def test_activations_are_computed_twice_only_where_they_do_not_fit(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(kind: str, method: str = "lora") -> Plan:
        how = {"activation_checkpointing": kind, "micro_batch_tokens": 2048}
        return planned({"kind": "sft"}, method, **how)

    sizes = {kind: of(kind).memory.total for kind in ("off", "selective", "full")}
    assert sizes["off"] > sizes["selective"] > sizes["full"]
    for kind, size in sizes.items():
        with_room(monkeypatch, size)
        plan = of("auto")
        assert (plan.activation_checkpointing, plan.fits) == (kind, True)
        assert plan.memory.total == size
        assert plan.document()["activation_checkpointing"] == kind
        assert f"activation_checkpointing: {kind}, chosen by auto" in show(plan)
    with_room(monkeypatch, sizes["full"] / 2)
    plan = of("auto")
    assert (plan.activation_checkpointing, plan.fits) == ("full", False), "the most, and it tells"
    assert "Does not fit." in show(plan)
    assert not [each for each in plan.advice() if "activation_checkpointing" in each]
    asked = of("off")
    assert asked.activation_checkpointing == "off", "what a recipe says is not overruled"
    assert not asked.fits
    assert [each for each in asked.advice() if "activation_checkpointing: full" in each]


def test_a_smaller_micro_batch_comes_before_computing_twice(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = planned({"kind": "sft"})
    assert whole.micro_batch_tokens == 2048
    with_room(monkeypatch, whole.memory.total * 0.75)
    plan = planned({"kind": "sft"})
    assert plan.activation_checkpointing == "off"
    assert 128 < plan.micro_batch_tokens < 2048
    # Below a sixteenth of what the device likes, computing twice comes first.
    kept = planned({"kind": "sft"}, micro_batch_tokens=128, activation_checkpointing="off")
    with_room(monkeypatch, kept.memory.total * 0.95)
    plan = planned({"kind": "sft"})
    assert plan.activation_checkpointing != "off"
    assert plan.fits


def test_where_layers_cannot_run_again_auto_means_off(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_room(monkeypatch, 1)
    alone = planned({"kind": "sft"}, "prefix", attention="sdpa")
    assert (alone.activation_checkpointing, alone.fits) == ("off", False)
    assert planned({"kind": "sft"}, "prefix").activation_checkpointing == "full"
