"""Every method trains, stops and goes on alike, and its result is what plain PEFT or transformers
loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.engine.adapter import known_notices
from tunesmith.engine.generate import load_for_inference
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.train import train
from tunesmith.recipe import load_recipe
from tunesmith.runs import EventWriter, RunDir, latest_valid_checkpoint

TinyModel = Callable[[str], Path]
CPU = torch.device("cpu")
IDS = torch.tensor([[5, 60, 70, 80, 90, 100, 33, 44]])
ANSWERS = [{"question": f"Number {n}?", "answer": f"It is {n * n}."} for n in range(6)]
PAIRS = [
    {"question": f"Number {n}?", "chosen": f"It is {n * n}.", "rejected": f"No idea, {n}."}
    for n in range(6)
]
TEXTS = [{"text": f"Row {n} of a book without an end."} for n in range(6)]
ROWS = {"sft": ANSWERS, "pt": TEXTS}

# Each method, and the fields that turn it on.
METHODS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "freeze": {"kind": "freeze", "layers": 1},
    "freeze-first": {"kind": "freeze", "layers": -1, "modules": ["mlp"], "extra_modules": ["norm"]},
    "expand": {"kind": "expand", "blocks": 2},
    "lora": {"kind": "lora", "rank": 4},
    "rslora": {"kind": "lora", "rank": 4, "rslora": True},
    "dora": {"kind": "lora", "rank": 4, "dora": True},
    "pissa": {"kind": "lora", "rank": 4, "init": "pissa", "pissa_iterations": 0},
    "pissa-fast": {"kind": "lora", "rank": 4, "init": "pissa", "rslora": True},
    "oft": {"kind": "oft", "block_size": 8},
    "oft-shared": {"kind": "oft", "block_size": 4, "block_share": True, "exact_rotation": True},
    "prompt": {"kind": "prompt", "virtual_tokens": 5},
    "p_tuning": {"kind": "p_tuning", "virtual_tokens": 5, "encoder_width": 16},
    "prefix": {"kind": "prefix", "virtual_tokens": 5},
    "prefix-network": {"kind": "prefix", "virtual_tokens": 5, "projection": True},
    "adapter": {"kind": "adapter", "virtual_tokens": 5},
    "adapter-last": {"kind": "adapter", "virtual_tokens": 3, "layers": 1},
    "lora+": {"kind": "lora", "rank": 4, "loraplus_lr_ratio": 8},
    "modules_to_save": {"kind": "lora", "rank": 4, "modules_to_save": ["lm_head", "norm"]},
    "patterns": {
        **{"kind": "lora", "rank": 4, "alpha": 8},
        **{"rank_pattern": ["q_proj=2", "layers.0.mlp.up_proj=6"], "alpha_pattern": ["q_proj=3"]},
    },
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


def new_run(
    folder: Path, base: Path, method: dict[str, Any], stage: str = "sft", **training: Any
) -> RunDir:
    rows = ROWS.get(stage, PAIRS)
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {
        "model": {"base": str(base), **training.pop("model", {})},
        "adapter": method,
        "stage": {"kind": stage, **training.pop("stage_settings", {})},
        "data": {
            "train": [{"dataset": str(data)}],
            "validation": {"kind": "none"},
            "allow_small": True,
        },
        "training": {
            **{"max_steps": 3, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"},
            **{"checkpoint": {"every_steps": 2}, "schedule": {"warmup_ratio": 0}, **training},
        },
        "report": {"tensorboard": False},
    }
    return RunDir.create(folder / "run", json.dumps(recipe), recipe_name="test")


def trained(run: RunDir, attempt: int = 1) -> RunDir:
    """Train to the end, from the newest checkpoint if there is one."""
    found = latest_valid_checkpoint(run, lambda *_: None)
    path = run.resolved_path if run.resolved_path.exists() else run.recipe_path
    with EventWriter(run, attempt) as writer:
        outcome = train(load_recipe(path), run, Reporter(writer), Ranks(), CPU, found)
    assert outcome.status == "finished"
    return run


def result(run: RunDir, base: Path) -> Any:
    """The result as a program without tunesmith loads it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    artifacts = run.artifacts_dir
    if (artifacts / "adapter").is_dir():
        model = AutoModelForCausalLM.from_pretrained(base)
        with known_notices():
            return PeftModel.from_pretrained(model, artifacts / "adapter")
    return AutoModelForCausalLM.from_pretrained(artifacts / "model")


@torch.no_grad()
def logits(model: Any) -> Tensor:
    # Vectors in front of the text have logits too, which mean nothing.
    return model.eval()(IDS).logits[:, -IDS.shape[1] :]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*.safetensors"))
    }


@pytest.mark.parametrize("name", METHODS)
def test_a_result_computes_as_it_was_trained_and_going_on_changes_nothing(
    tmp_path: Path, tiny_model_dir: TinyModel, name: str
) -> None:
    base = tiny_model_dir("mistral")  # its head is not tied
    run = trained(new_run(tmp_path, base, METHODS[name]))
    made = logits(result(run, base))
    from transformers import AutoModelForCausalLM

    before = logits(AutoModelForCausalLM.from_pretrained(base))
    assert float((made - before).abs().max()) > 1e-3, "nothing was learned"

    # The last checkpoint, through our own loader, is the same model.
    newest = sorted(run.checkpoints_dir.iterdir())[-1]
    kind = "adapter" if (newest / "adapter").is_dir() else "model"
    loaded = load_for_inference(str(newest / kind), device="cpu").model
    assert torch.allclose(logits(loaded), made, atol=2e-5)

    # Killed behind step 2 and gone on with, the end is the same to the last bit.
    again = shutil.copytree(run.path, tmp_path / "again")
    shutil.rmtree(again / "checkpoints" / "step-000003")
    shutil.rmtree(again / "artifacts")
    resumed = trained(RunDir.open(again), attempt=2)
    assert files(resumed.artifacts_dir) == files(run.artifacts_dir)
    assert files(resumed.artifacts_dir)
