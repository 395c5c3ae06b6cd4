"""Every training type goes with every method: three steps, and the result loads elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.engine.adapter import known_notices
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.train import train
from tunesmith.recipe import load_recipe
from tunesmith.recipe.capabilities import Choice, refusal
from tunesmith.runs import EventWriter, RunDir, read_events

TinyModel = Callable[[str], Path]
IDS = torch.tensor([[5, 60, 70, 80, 90, 100, 33, 44]])
PAIR = {"question": "Number {n}?", "chosen": "It is {n}.", "rejected": "No idea, {n}."}
STAGES: dict[str, dict[str, str]] = {
    "sft": {"question": "Number {n}?", "answer": "It is {n}."},
    "pt": {"text": "Row {n} of a book without an end."},
    "grpo": {"question": "Number {n}?", "answer": "It is {n}."},
    **dict.fromkeys(("dpo", "simpo", "orpo", "cpo", "kto", "rm"), PAIR),
}
LETTERS = {
    **{"type": "python", "name": "letters"},
    "source": "def grade(sample, item):\n"
    "    return sum(c.isascii() and c.isalnum() for c in sample['output_text']) / 10\n",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "grpo": {
        **{"group_size": 3, "max_answer_tokens": 10, "beta": 0.05},
        "rewards": [{"kind": "grader", "grader": LETTERS}],
    }
}
METHODS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "freeze": {"kind": "freeze", "layers": 1},
    "expand": {"kind": "expand", "blocks": 2},
    "lora": {"kind": "lora", "rank": 4, "dropout": 0.1},
    "dora": {"kind": "lora", "rank": 4, "dora": True},
    "pissa": {"kind": "lora", "rank": 4, "init": "pissa", "pissa_iterations": 0},
    "oft": {"kind": "oft", "block_size": 8},
    "oft-nf4": {"kind": "oft", "block_size": 8},
    "prompt": {"kind": "prompt", "virtual_tokens": 4},
    "p_tuning": {"kind": "p_tuning", "virtual_tokens": 4, "encoder_width": 8},
    "prefix": {"kind": "prefix", "virtual_tokens": 4},
    "prompt-int8": {"kind": "prompt", "virtual_tokens": 4, "init": "random"},
    "adapter": {"kind": "adapter", "virtual_tokens": 4},
    "adapter-nf4": {"kind": "adapter", "virtual_tokens": 4, "layers": 1},
}
# Of the model, beside the method.
MODELS: dict[str, dict[str, Any]] = {
    "qlora-nf4": {"quantization": "nf4"},
    "qlora-int8": {"quantization": "int8"},
}
METHODS.update({name: {"kind": "lora", "rank": 4} for name in MODELS})
METHODS["loftq"] = {"kind": "lora", "rank": 4, "init": "loftq", "loftq_iterations": 2}
MODELS["loftq"] = {"quantization": "nf4"}
MODELS.update({"oft-nf4": {"quantization": "nf4"}, "prompt-int8": {"quantization": "int8"}})
MODELS["adapter-nf4"] = {"quantization": "nf4"}
# Each method in the shorter number formats once.
SHORT = [("sft", name, dtype) for name in METHODS for dtype in ("bfloat16", "float16")]
EVERY = [
    (stage, name, "float32")
    for stage in STAGES
    for name, method in METHODS.items()
    if refusal(Choice(stage=stage, method=method["kind"])) is None
] + SHORT


# Without exact copies of weights in bfloat16: each method with the usual rule, and each rule once.
PURE = [(method, "adamw") for method in ("full", "freeze", "expand")] + [
    ("full", rule) for rule in ("adamw_8bit", "adam_mini", "galore", "apollo")
]


@pytest.fixture(autouse=True)
def plain_surroundings(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path_factory.getbasetemp() / "pairs-cache"))


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "method", "dtype"), EVERY)
def test_three_steps_of_a_stage_with_a_method_give_a_result_that_loads(
    tmp_path: Path, tiny_model_dir: TinyModel, stage: str, method: str, dtype: str
) -> None:
    three_steps(tmp_path, tiny_model_dir, stage, method, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "rm"])
def test_three_steps_of_layers_that_learn_in_turn_give_a_result_that_loads(
    tmp_path: Path, tiny_model_dir: TinyModel, stage: str
) -> None:
    settings = {"optimizer": {"kind": "badam", "block_switch_steps": 1}}
    three_steps(tmp_path, tiny_model_dir, stage, "full", "float32", settings)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "rule"), PURE)
def test_three_steps_in_pure_bfloat16_give_a_result_that_loads(
    tmp_path: Path, tiny_model_dir: TinyModel, method: str, rule: str
) -> None:
    settings = {"master_weights": False, "optimizer": {"kind": rule, "projection_rank": 4}}
    three_steps(tmp_path, tiny_model_dir, "sft", method, "bfloat16", settings)


def three_steps(
    tmp_path: Path,
    tiny_model_dir: TinyModel,
    stage: str,
    method: str,
    dtype: str,
    training: dict[str, Any] | None = None,
) -> None:
    """Train, and load what came of it."""
    base = tiny_model_dir("llama")
    rows = [{k: v.format(n=n) for k, v in STAGES[stage].items()} for n in range(4)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {
        "model": {"base": str(base), "dtype": dtype, **MODELS.get(method, {})},
        "adapter": METHODS[method],
        "stage": {"kind": stage, **SETTINGS.get(stage, {})},
        "data": {
            **{"train": [{"dataset": str(data)}], "validation": {"kind": "none"}},
            **{"allow_small": True, "max_length": 256},
        },
        "training": {
            **{"max_steps": 3, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"},
            "schedule": {"warmup_ratio": 0},
            **(training or {}),
        },
        "report": {"tensorboard": False, "curves": False},
    }
    run = RunDir.create(tmp_path / "run", json.dumps(recipe), recipe_name="test")
    with EventWriter(run, 1) as writer:
        loaded = load_recipe(run.recipe_path)
        assert train(loaded, run, Reporter(writer), Ranks(), torch.device("cpu")).state.step == 3
    steps = [event for event in read_events(run.events_path)[0] if event["type"] == "step"]
    # A step of float16 whose gradients overflowed has no norm, and moves nothing.
    norms = [event["grad_norm"] for event in steps if event["grad_norm"] is not None]
    assert norms
    assert all(norm > 0 for norm in norms)
    assert dtype == "float16" or len(norms) == 3
    with torch.no_grad():
        made = reloaded(run, base, rewards=stage == "rm").eval()(IDS).logits
    assert bool(torch.isfinite(made).all())


def reloaded(run: RunDir, base: Path, *, rewards: bool) -> Any:
    """The result by plain PEFT or transformers; a reward model as a sequence classifier."""
    import transformers
    from peft import PeftModel

    name = "AutoModelForSequenceClassification" if rewards else "AutoModelForCausalLM"
    automatic = getattr(transformers, name)
    if (run.artifacts_dir / "model").is_dir():
        return automatic.from_pretrained(run.artifacts_dir / "model")
    with known_notices():
        return PeftModel.from_pretrained(
            automatic.from_pretrained(base), run.artifacts_dir / "adapter"
        )
