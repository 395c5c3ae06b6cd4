"""Stretched contexts: as transformers' own configuration has them, in the result as in training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.engine.conftest import tiny_config
from tests.unit.engine.test_methods import trained

from tunesmith.engine.generate import load_for_inference
from tunesmith.engine.methods.rope import Rope
from tunesmith.engine.models import context_length, load_model
from tunesmith.errors import DataError, RecipeError
from tunesmith.recipe import load_recipe
from tunesmith.runs import RunDir, read_events

TinyModel = Callable[[str], Path]
CPU = torch.device("cpu")
# The models were made for 512 tokens.
IDS = torch.arange(3, 253).repeat(4)[None, :900]
LORA = {"kind": "lora", "rank": 4}


@pytest.fixture(autouse=True)
def own_surroundings(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path_factory.getbasetemp() / "rope-cache"))


def new_run(
    folder: Path, base: Path, method: dict[str, Any], *, length: int = 1000, **model: Any
) -> RunDir:
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "rows.jsonl"
    rows = [{"question": f"Number {n}?" + "x" * (length - 200), "answer": "y"} for n in range(4)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {
        "model": {"base": str(base), **model},
        "adapter": method,
        "data": {
            **{"train": [{"dataset": str(data)}], "validation": {"kind": "none"}},
            **{"allow_small": True, "max_length": length},
        },
        "training": {
            **{"max_steps": 3, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"},
            **{"checkpoint": {"every_steps": 2}, "schedule": {"warmup_ratio": 0}},
        },
        "report": {"tensorboard": False, "curves": False},
    }
    return RunDir.create(folder / "run", json.dumps(recipe), recipe_name="test")


def warned(run: RunDir) -> list[str]:
    return [e["code"] for e in read_events(run.events_path)[0] if e["type"] == "warning"]


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(IDS).logits


@pytest.mark.parametrize("kind", ["linear", "yarn", "llama3"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "glm4"])
def test_frequencies_are_those_that_transformers_makes_of_the_configuration(
    family: str, kind: str
) -> None:
    from transformers import AutoModelForCausalLM

    config = tiny_config(family)
    plain = AutoModelForCausalLM.from_config(tiny_config(family)).get_decoder().rotary_emb
    Rope(kind, 4.0).apply(config)
    assert config.max_position_embeddings == context_length(config) == 2048
    scaled = AutoModelForCausalLM.from_config(config).get_decoder().rotary_emb
    assert not torch.equal(plain.inv_freq, scaled.inv_freq)
    assert bool((scaled.inv_freq <= plain.inv_freq).all())
    before = config.to_dict()
    Rope(kind, 4.0).apply(config)
    assert config.to_dict() == before


@pytest.mark.parametrize("method", [{"kind": "full"}, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("kind", ["linear", "yarn", "llama3"])
def test_longer_rows_are_learned_and_plain_transformers_computes_alike(
    tmp_path: Path, tiny_model_dir: TinyModel, kind: str, method: dict[str, Any]
) -> None:
    from transformers import AutoModelForCausalLM

    run = trained(new_run(tmp_path / "whole", tiny_model_dir("qwen3"), method, rope_scaling=kind))
    resolved = load_recipe(run.resolved_path).model
    assert (resolved.rope_scaling, resolved.rope_factor) == (kind, 2.0)
    report = json.loads((run.data_dir / "report.json").read_text())
    assert (report["context"], report["max_length"]) == (1024, 1000)
    assert not (run.artifacts_dir / "adapter").exists()
    made = AutoModelForCausalLM.from_pretrained(run.artifacts_dir / "model")
    assert made.config.max_position_embeddings == 1024
    assert made.config.rope_parameters["rope_type"] == kind
    ours = load_for_inference(str(sorted(run.checkpoints_dir.iterdir())[-1]))
    torch.testing.assert_close(logits(ours.model), logits(made), rtol=2e-5, atol=2e-5)
    unscaled = AutoModelForCausalLM.from_pretrained(
        run.artifacts_dir / "model", config=tiny_config("qwen3")
    )
    assert (logits(unscaled) - logits(made)).abs().max() > 1e-3

    other = trained(new_run(tmp_path / "parts", tiny_model_dir("qwen3"), method, rope_scaling=kind))
    newest = sorted(other.checkpoints_dir.iterdir())[-1]
    (newest / "manifest.json").unlink()  # as after a crash
    trained(other, attempt=2)
    file = "model/model.safetensors"
    assert (run.artifacts_dir / file).read_bytes() == (other.artifacts_dir / file).read_bytes()


def test_dynamic_scaling_acts_beyond_the_old_context_and_trains_within_it(
    tmp_path: Path, tiny_model_dir: TinyModel
) -> None:
    from transformers import AutoModelForCausalLM

    how: dict[str, Any] = {"rope_scaling": "dynamic", "rope_factor": 2}
    run = trained(new_run(tmp_path, tiny_model_dir("llama"), LORA, length=500, **how))
    made = AutoModelForCausalLM.from_pretrained(run.artifacts_dir / "model")
    assert (made.config.max_position_embeddings, context_length(made.config)) == (512, 1024)
    ours = load_model(sorted(run.checkpoints_dir.iterdir())[-1] / "adapter")
    torch.testing.assert_close(logits(ours), logits(made), rtol=2e-5, atol=2e-5)
    with pytest.raises(DataError) as caught:
        trained(new_run(tmp_path / "long", tiny_model_dir("llama"), LORA, **how))
    assert caught.value.code == "row_beyond_exact_context"


def test_rows_that_fit_anyway_scale_nothing(tmp_path: Path, tiny_model_dir: TinyModel) -> None:
    run = trained(new_run(tmp_path, tiny_model_dir("llama"), LORA, length=500, rope_scaling="yarn"))
    assert "rope_not_needed" in warned(run)
    assert load_recipe(run.resolved_path).model.rope_scaling == "none"
    assert (run.artifacts_dir / "adapter").is_dir()


@pytest.mark.parametrize("family", ["gpt2", "gemma3_text", "phi3"])
def test_families_whose_positions_are_others_are_refused_before_weights_are_read(
    tmp_path: Path, tiny_model_dir: TinyModel, family: str
) -> None:
    run = new_run(tmp_path, tiny_model_dir(family), LORA, rope_scaling="yarn")
    with pytest.raises(RecipeError) as caught:
        trained(run)
    assert caught.value.code == "rope_not_offered"
    assert not any(e.get("activity") == "load" for e in read_events(run.events_path)[0])


def test_a_model_that_is_stretched_already_is_refused() -> None:
    config = tiny_config("llama")
    Rope("linear", 2.0).apply(config)
    with pytest.raises(RecipeError) as caught:
        Rope("yarn", 2.0).apply(config)
    assert caught.value.code == "rope_scaled_already"
