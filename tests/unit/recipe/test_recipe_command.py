"""`tunesmith recipe`: recipes and fields on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tunesmith.cli.recipe import app
from tunesmith.recipe import PRESETS, catalog, parse_recipe


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text("model: starter\ndata: [a.jsonl]\npreset: 24gb-card\n", encoding="utf-8")
    return file


def test_show_prints_the_complete_recipe(path: Path) -> None:
    shown = yaml.safe_load(run("show", str(path), "学习率=1e-5"))
    assert shown["training"]["learning_rate"] == 1e-5
    assert parse_recipe(shown).training.batch_size == 16


def test_show_marks_what_differs_from_the_preset(path: Path) -> None:
    """D37-D42."""
    found = json.loads(run("show", str(path), "epochs=5", "--json"))
    (change,) = found["changed_from_preset"]
    assert change == {"path": "training.epochs", "preset": 3.0, "value": 5.0}


def test_explain_answers_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "inner dimension" in run("explain", "lora_rank")
    monkeypatch.setenv("TUNESMITH_LANG", "zh")
    assert "低秩矩阵" in run("explain", "LoRA秩")
    assert json.loads(run("explain", "学习率", "--json"))["path"] == "training.learning_rate"


def test_lists_are_complete() -> None:
    assert {field["path"] for field in json.loads(run("fields", "--json"))} == catalog().keys()
    assert "one of 8, 16, 32, 64" in run("fields", "--profile", "pangu-lora")
    assert {preset["name"] for preset in json.loads(run("presets", "--json"))} == PRESETS.keys()
    assert "learning_rate: 7.5e-5" in run("presets")
    assert json.loads(run("schema"))["title"] == "Recipe"
