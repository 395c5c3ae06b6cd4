"""What the README promises, typed as a new user types it: whole programs, real training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunesmith.examples import example_directory

RECIPE = """
name: first
model: {base: starter}
adapter: {kind: lora, rank: 8, alpha: 16}
data:
  train: [TRAIN]
  validation: {kind: split, fraction: 0.1}
  max_length: 256
training: {epochs: 1, max_steps: 6, batch_size: 16, learning_rate: 1e-3}
"""


def tunesmith(*arguments: str, cwd: Path, timeout: int = 280) -> subprocess.CompletedProcess[str]:
    """`tunesmith ...` in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tunesmith", *arguments],
        cwd=cwd,
        env={**os.environ, "TUNESMITH_DATA_DIR": str(cwd / "home")},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document on standard output of a command that succeeded."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    train = example_directory("customer-service") / "train.jsonl"
    file.write_text(RECIPE.replace("TRAIN", str(train)), encoding="utf-8")
    return file


@pytest.mark.slow
def test_plan_then_train_then_chat_with_the_result(recipe: Path, tmp_path: Path) -> None:
    plan = document(tunesmith("plan", str(recipe), "--json", cwd=tmp_path))
    assert plan["fits"]
    assert plan["steps"] == 6
    assert plan["rows"] == {"train": 756, "validation": 84, "test": 0}

    done = tunesmith("train", str(recipe), "--run", "runs/first", "--json", cwd=tmp_path)
    result = document(done)
    assert (result["step"], result["status"]) == (6, "finished")
    run = tmp_path / "runs" / "first"
    for name in ("resolved.yaml", "events.jsonl", "loss.png", "loss.svg", "data/report.json"):
        assert (run / name).is_file(), name
    for name in ("adapter/adapter_model.safetensors", "README.md", "passport.json"):
        assert (run / "artifacts" / name).is_file(), name
    assert list((run / "tensorboard").iterdir())

    chat = document(
        tunesmith("chat", "runs/first", "--prompt", "Where is my parcel?", "--json", cwd=tmp_path)
    )
    assert chat


@pytest.mark.slow
def test_a_second_run_in_the_same_directory_is_refused(recipe: Path, tmp_path: Path) -> None:
    assert tunesmith("train", str(recipe), "--run", "run", cwd=tmp_path).returncode == 0
    again = tunesmith("train", str(recipe), "--run", "run", cwd=tmp_path)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    assert "Traceback" not in again.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_teaches_most_held_out_questions(tmp_path: Path) -> None:
    report = document(tunesmith("demo", "--json", "--run", "demo", cwd=tmp_path, timeout=1200))
    assert report["questions"] == 120
    assert report["accuracy_before"] < 0.05
    # Four of five here; other processors round otherwise, and the model is small.
    assert report["accuracy_after"] > 0.7
    assert report["validation_loss_after"] < report["validation_loss_before"]
    assert report["verdict"]["result"] == "promote"
    assert (
        Path(report["verdict"]["report"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    )


@pytest.mark.slow
def test_vectors_in_front_of_the_text_are_judged_and_evaluated_and_chat_says_the_same(
    recipe: Path, tmp_path: Path
) -> None:
    changes = (
        "adapter={kind: prompt, virtual_tokens: 6}",
        "training.learning_rate=0.05",
        "training.max_steps=3",
        "data.test={kind: split, fraction: 0.1, max_rows: 3}",
        "gate.general=none",
    )
    done = tunesmith("train", str(recipe), *changes, "--run", "run", "--json", cwd=tmp_path)
    assert document(done)["verdict"]["result"] in ("promote", "hold", "reject")
    judged = predictions(tmp_path / "run" / "verdict" / "tuned")
    base = predictions(tmp_path / "run" / "verdict" / "base")
    assert judged.keys() == base.keys()
    assert judged != base

    document(
        tunesmith("evaluate", "run", "--data", "run", "--out", "alone", "--json", cwd=tmp_path)
    )
    assert predictions(tmp_path / "alone") == judged
    question = max(judged, key=lambda asked: judged[asked] != base[asked])
    chat = document(tunesmith("chat", "run", "--prompt", question, "--json", cwd=tmp_path))
    assert chat["answer"] == judged[question]


def predictions(folder: Path) -> dict[str, str]:
    """What a model answered, by question."""
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert all(row["finish"] == "stop" for row in rows)
    return {row["messages"][-1]["content"]: row["prediction"] for row in rows}
