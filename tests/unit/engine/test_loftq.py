"""LoftQ: nearer to the whole weights than packing alone, saved as an ordinary adapter for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tunesmith.engine.adapter import apply_adapter, known_notices, lora_layers
from tunesmith.engine.methods.loftq import halves, pack_with_adapters
from tunesmith.engine.methods.quantised import is_quantised, packed
from tunesmith.engine.models import load_model
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.train import train
from tunesmith.errors import TunesmithError
from tunesmith.recipe import Lora, load_recipe, parse_recipe
from tunesmith.runs import EventWriter, RunDir, latest_valid_checkpoint

pytest.importorskip("bitsandbytes", reason="the extra `quantization` is not installed")
TinyModel = Callable[[str], Path]
CPU = torch.device("cpu")
IDS = torch.tensor([[5, 60, 70, 80, 90, 100, 33, 44]])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


def begun(folder: Path, kind: str, rounds: int, **adapter: Any) -> Any:
    tuned = apply_adapter(load_model(folder), Lora(init="loftq", **adapter), seed=1)
    pack_with_adapters(tuned, kind, CPU, rounds=rounds)
    return tuned


@torch.no_grad()
def errors(tuned: Any, folder: Path, kind: str) -> dict[str, tuple[float, float]]:
    """|W - (Q + s B A)| of LoftQ, and |W - Q| of packing alone, by layer."""
    whole = dict(load_model(folder).named_modules())
    found: dict[str, tuple[float, float]] = {}
    for name, layer in lora_layers(tuned.get_base_model()):
        original: Any = whole[name]
        weight = original.weight.data.clone()
        assert is_quantised(layer.get_base_layer())
        packed_alone: Any = packed(original, kind, CPU)
        near = layer.get_base_layer().weight + layer.get_delta_weight("default")
        found[name] = (float((weight - near).norm()), float((weight - packed_alone.weight).norm()))
    return found


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_every_layer_begins_nearer_to_its_weight(
    tiny_model_dir: TinyModel, family: str, kind: str
) -> None:
    base = tiny_model_dir(family)
    once = errors(begun(base, kind, 1, rank=8, alpha=12), base, kind)
    often = errors(begun(base, kind, 5, rank=8, alpha=12), base, kind)
    assert once
    for name, (near, alone) in once.items():
        assert near < 0.9 * alone, name
        assert often[name][0] <= near * (1 + 1e-5), name
    assert sum(near for near, _ in often.values()) < sum(near for near, _ in once.values())


@torch.no_grad()
def test_the_first_round_is_the_best_of_its_rank_for_what_is_lost(
    tiny_model_dir: TinyModel,
) -> None:
    base = tiny_model_dir("llama")
    tuned = begun(base, "nf4", 1, rank=4, alpha=4)
    whole: dict[str, Any] = dict(load_model(base).named_modules())
    for name, layer in lora_layers(tuned.get_base_model()):
        alone: Any = packed(whole[name], "nf4", CPU)
        assert torch.equal(layer.get_base_layer().weight, alone.weight)
        lost = whole[name].weight.data - alone.weight
        near = torch.linalg.svdvals(lost)[4:].square().sum().sqrt()
        left = (lost - layer.get_delta_weight("default")).norm()
        assert float(left) == pytest.approx(float(near), rel=1e-4)


def test_halves_of_a_small_matrix_are_filled_up() -> None:
    matrix = torch.randn(3, 5, generator=torch.manual_seed(0))
    b, a = halves(matrix, 8)
    assert (b.shape, a.shape) == ((3, 8), (8, 5))
    assert torch.allclose(b @ a, matrix, atol=1e-5)


def new_run(folder: Path, base: Path, **adapter: Any) -> RunDir:
    folder.mkdir(exist_ok=True)
    rows = [{"question": f"Number {n}?", "answer": f"It is {n * n}."} for n in range(6)]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {
        "model": {"base": str(base), "quantization": "nf4"},
        "adapter": {"kind": "lora", "rank": 4, "init": "loftq", **adapter},
        "data": {
            **{"train": [{"dataset": str(data)}], "validation": {"kind": "none"}},
            "allow_small": True,
        },
        "training": {
            **{"max_steps": 3, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"},
            **{"checkpoint": {"every_steps": 2}, "schedule": {"warmup_ratio": 0}},
        },
        "report": {"tensorboard": False, "curves": False},
    }
    return RunDir.create(folder / "run", json.dumps(recipe), recipe_name="test")


def finished(run: RunDir, attempt: int = 1) -> RunDir:
    found = latest_valid_checkpoint(run, lambda *_: None)
    path = run.resolved_path if run.resolved_path.exists() else run.recipe_path
    with EventWriter(run, attempt) as writer:
        outcome = train(load_recipe(path), run, Reporter(writer), Ranks(), CPU, found)
    assert outcome.status == "finished"
    return run


def weights(run: RunDir) -> dict[str, Tensor]:
    return load_file(run.artifacts_dir / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize("dora", [False, True])
def test_a_result_is_an_ordinary_adapter_of_twice_the_rank_and_going_on_changes_nothing(
    tiny_model_dir: TinyModel, tmp_path: Path, dora: bool
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = tiny_model_dir("mistral")
    run = finished(new_run(tmp_path, base, dora=dora))
    found = weights(run)
    ranks = {len(value) for name, value in found.items() if ".lora_A." in name}
    assert ranks == {8}
    with torch.no_grad(), known_notices():
        whole = AutoModelForCausalLM.from_pretrained(base).eval()
        before = whole(IDS).logits
        after = PeftModel.from_pretrained(whole, run.artifacts_dir / "adapter").eval()(IDS).logits
    assert float((after - before).abs().max()) > 1e-3, "nothing was learned"

    again = shutil.copytree(run.path, tmp_path / "again")
    shutil.rmtree(again / "checkpoints" / "step-000003")
    shutil.rmtree(again / "artifacts")
    resumed = weights(finished(RunDir.open(again), attempt=2))
    assert all(torch.equal(resumed[name], found[name]) for name in found)


def test_an_adapter_that_has_learned_nothing_adds_nothing_to_the_whole_base(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    from peft import PeftModel

    from tunesmith.engine.weights import write_adapter

    base = tiny_model_dir("llama")
    write_adapter(begun(base, "nf4", 2, rank=4), tmp_path / "adapter")
    with torch.no_grad(), known_notices():
        whole: nn.Module = load_model(base).eval()
        before = whole(IDS).logits
        after = PeftModel.from_pretrained(load_model(base), tmp_path / "adapter").eval()(IDS).logits
    assert torch.allclose(before, after, atol=1e-5)


def test_it_needs_a_packed_base() -> None:
    recipe = {"model": "starter", "data": {"train": "rows.jsonl"}}
    with pytest.raises(TunesmithError) as caught:
        parse_recipe({**recipe, "adapter": {"kind": "lora", "init": "loftq"}})
    assert [each["code"] for each in caught.value.details["problems"]] == ["loftq_needs_quantised"]
