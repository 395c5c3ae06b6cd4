"""Whole runs on the GPU, in processes that are killed and resumed. The starter model learns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tunesmith.examples import example_directory
from tunesmith.runs import RunDir, read_events

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE, DTYPE = "cuda", "bfloat16"
ADAPTERS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "lora": {"kind": "lora", "rank": 8, "dropout": 0.1},
}


def recipe_of(adapter: str) -> dict[str, Any]:
    """Eight steps, a checkpoint every third."""
    return {
        "name": adapter,
        "model": {"base": "starter", "dtype": DTYPE},
        "adapter": ADAPTERS[adapter],
        "data": {
            "train": [{"dataset": str(example_directory("customer-service") / "train.jsonl")}],
            "max_length": 256,
        },
        "training": {
            "max_steps": 8,
            "learning_rate": 1e-3,
            "device": DEVICE,
            "checkpoint": {"every_steps": 3},
            "stop": {"restore_best": False},
        },
        "report": {"tensorboard": False},
    }


def new_run(folder: Path, adapter: str) -> RunDir:
    text = yaml.safe_dump(recipe_of(adapter), sort_keys=False)
    return RunDir.create(folder, text, recipe_name=adapter)


def engine(data_dir: Path, *arguments: str, fault: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TUNESMITH_DATA_DIR": str(data_dir), "TUNESMITH_FAULT": fault}
    return subprocess.run(
        [sys.executable, "-m", "tunesmith.engine", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def events(run: RunDir, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(run)[0] if event["type"] == kind]


def losses(run: RunDir) -> list[float]:
    """The loss of each step; of one that was computed twice, the last."""
    return list({event["step"]: event["loss"] for event in events(run, "step")}.values())


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_run_finishes_and_a_killed_one_ends_alike(tmp_path: Path, adapter: str) -> None:
    whole = new_run(tmp_path / "whole", adapter)
    done = engine(tmp_path, "train", str(whole.path))
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(whole.resolved_path.read_text(encoding="utf-8"))
    assert (resolved["training"]["device"], resolved["model"]["dtype"]) == (DEVICE, DTYPE)
    assert losses(whole)[-1] < losses(whole)[0]
    assert all(event["memory_bytes"] > 0 for event in events(whole, "step"))

    cut = new_run(tmp_path / "cut", adapter)
    killed = engine(tmp_path, "train", str(cut.path), fault="kill@step:5")
    assert killed.returncode == -signal.SIGKILL
    resumed = engine(tmp_path, "train", str(cut.path), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert events(cut, "started")[-1]["resumed_from_step"] == 3
    assert losses(cut) == pytest.approx(losses(whole), rel=1e-2)
    assert [e["rows"] for e in events(cut, "step")][-1] == events(whole, "step")[-1]["rows"]


def test_a_checkpoint_of_full_tuning_holds_the_exact_weights(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", "full")
    assert engine(tmp_path, "train", str(run.path)).returncode == 0
    last = max(run.checkpoints_dir.iterdir())
    tensors = load_file(last / "optimizer.safetensors")
    exact = [value for name, value in tensors.items() if name.endswith(".exact")]
    assert exact
    assert all(value.dtype == torch.float32 for value in exact)
    weights = load_file(run.artifacts_dir / "model" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}


def test_the_plan_measures_the_gpu(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(recipe_of("lora")), encoding="utf-8")
    done = engine(tmp_path, "plan", str(recipe), "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["fits"]
    assert plan["tokens_per_second"] > 0
