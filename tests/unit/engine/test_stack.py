"""Several adapters: those below are merged before training, and the result holds all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tunesmith.engine.adapter import apply_adapter, known_notices, lora_layers
from tunesmith.engine.generate import load_for_inference
from tunesmith.engine.methods.stack import merge_adapters
from tunesmith.engine.models import load_model
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.setup import load_trainable, open_base
from tunesmith.engine.train import train
from tunesmith.engine.weights import write_adapter
from tunesmith.errors import ModelError, TunesmithError
from tunesmith.recipe import load_recipe, parse_recipe
from tunesmith.recipe.adapters import Lora
from tunesmith.runs import EventWriter, RunDir, latest_valid_checkpoint
from tunesmith.serving.lora import read_pairs

TinyModel = Callable[[str], Path]
IDS = torch.tensor([[5, 60, 70, 80, 90, 100, 33, 44]])
BELOW = {
    "a": Lora(rank=4, alpha=8, targets=["q_proj", "up_proj"]),
    "b": Lora(rank=3, alpha=5, targets=["q_proj", "down_proj"], rslora=True),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


def written(base: Path, folder: Path, adapter: Lora, seed: int = 1) -> Path:
    """An adapter that does something."""
    tuned: Any = apply_adapter(load_model(base), adapter, seed=seed)
    with torch.no_grad():
        for _, layer in lora_layers(tuned):
            layer.lora_B["default"].weight.normal_(generator=torch.manual_seed(seed))
    tuned.peft_config["default"].base_model_name_or_path = str(base)
    write_adapter(tuned, folder)
    return folder


@pytest.fixture
def below(tiny_model_dir: TinyModel, tmp_path: Path) -> list[Path]:
    base = tiny_model_dir("mistral")
    return [
        written(base, tmp_path / name, adapter, seed=number)
        for number, (name, adapter) in enumerate(BELOW.items())
    ]


def trained(folder: Path, base: Path, adapter: dict[str, Any], **model: Any) -> RunDir:
    """Three steps, with a checkpoint behind the second."""
    folder.mkdir(exist_ok=True)
    rows = [{"question": f"Number {n}?", "answer": f"It is {n * n}."} for n in range(6)]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {
        "model": {"base": str(base), **model},
        "adapter": {"kind": "lora", **adapter},
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
    return finished(RunDir.create(folder / "run", json.dumps(recipe), recipe_name="test"))


def finished(run: RunDir, attempt: int = 1) -> RunDir:
    """To the end, from the newest checkpoint if there is one."""
    found = latest_valid_checkpoint(run, lambda *_: None)
    path = run.resolved_path if run.resolved_path.exists() else run.recipe_path
    with EventWriter(run, attempt) as writer:
        outcome = train(
            load_recipe(path), run, Reporter(writer), Ranks(), torch.device("cpu"), found
        )
    assert outcome.status == "finished"
    return run


def by_peft(base: Path, *folders: Path) -> Any:
    """The base with adapters merged one after the other, by a program without tunesmith."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base)
    for folder in folders:
        with known_notices():
            model = PeftModel.from_pretrained(model, folder).merge_and_unload()
    return model


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model.eval()(IDS).logits


def weights(run: RunDir) -> dict[str, Tensor]:
    return load_file(run.artifacts_dir / "adapter" / "adapter_model.safetensors")


def test_merged_weights_are_those_of_peft(tiny_model_dir: TinyModel, below: list[Path]) -> None:
    base = tiny_model_dir("mistral")
    model = load_model(base)
    merge_adapters(model, below)
    assert torch.allclose(logits(model), logits(by_peft(base, *below)), atol=1e-5)
    gpt2 = tiny_model_dir("gpt2")
    other = written(gpt2, below[0].parent / "gpt2", Lora(targets=["c_attn"]))
    transposed = load_model(gpt2)
    merge_adapters(transposed, [other])
    assert torch.allclose(logits(transposed), logits(by_peft(gpt2, other)), atol=1e-5)


@pytest.mark.parametrize(
    "adapter",
    [
        {"rank": 2, "alpha": 4},
        {"rank": 2, "alpha": 5, "targets": ["o_proj", "q_proj"], "rslora": True},
        {"rank": 2, "alpha": 4, "rank_pattern": ["q_proj=3"], "alpha_pattern": ["up_proj=7"]},
        {"rank": 2, "alpha": 4, "init": "pissa", "pissa_iterations": 0},
    ],
    ids=["all", "few", "patterns", "pissa"],
)
def test_the_result_is_one_adapter_of_the_bare_base_and_going_on_changes_nothing(
    tiny_model_dir: TinyModel, below: list[Path], tmp_path: Path, adapter: dict[str, Any]
) -> None:
    base = tiny_model_dir("mistral")
    names = [str(folder) for folder in below]
    run = trained(tmp_path / "top", base, {**adapter, "merge_first": names})
    result = run.artifacts_dir / "adapter"
    settings = json.loads((result / "adapter_config.json").read_bytes())
    assert settings["base_model_name_or_path"] == str(base)
    made = logits(by_peft(base, result))
    assert float((made - logits(by_peft(base, *below))).abs().max()) > 1e-3, "nothing was learned"

    # The very same training on a base that was merged by hand gives the same model.
    by_hand = tmp_path / "by-hand"
    shutil.copytree(base, by_hand)
    by_peft(base, *below).save_pretrained(by_hand)
    alone = trained(tmp_path / "alone", by_hand, adapter)
    told = logits(by_peft(by_hand, alone.artifacts_dir / "adapter"))
    assert torch.allclose(made, told, atol=2e-4)

    # So does the newest checkpoint, through our own loader.
    newest = sorted(run.checkpoints_dir.iterdir())[-1] / "adapter"
    loaded = load_for_inference(str(newest), device="cpu").model
    assert torch.allclose(logits(loaded), made, atol=2e-5)

    again = shutil.copytree(run.path, tmp_path / "again")
    shutil.rmtree(again / "checkpoints" / "step-000003")
    shutil.rmtree(again / "artifacts")
    resumed, first = weights(finished(RunDir.open(again), attempt=2)), weights(run)
    assert resumed.keys() == first.keys()
    assert all(torch.equal(resumed[name], first[name]) for name in first)


def test_the_last_of_several_is_gone_on_with_and_the_result_can_be_again(
    tiny_model_dir: TinyModel, below: list[Path], tmp_path: Path
) -> None:
    base = tiny_model_dir("mistral")
    first, last = map(str, below)
    run = trained(tmp_path / "top", base, {"merge_first": first, "continue_from": last})
    made = logits(by_peft(base, run.artifacts_dir / "adapter"))
    assert float((made - logits(by_peft(base, *below))).abs().max()) > 1e-3
    assert torch.equal(  # the first is in the result as it was
        weights(run)["base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"],
        load_file(below[0] / "adapter_model.safetensors")[
            "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
        ],
    )
    resolved = load_recipe(run.resolved_path).adapter
    assert isinstance(resolved, Lora)
    assert (resolved.merge_first, resolved.rank) == (first, 3)
    third = trained(tmp_path / "third", base, {"continue_from": str(run.path)})
    assert float((logits(by_peft(base, third.artifacts_dir / "adapter")) - made).abs().max()) > 1e-3
    # A serving process takes it beside its base.
    shapes = {n: tuple(p.shape[:2]) for n, p in load_model(base).named_parameters() if p.ndim == 2}
    linears: Any = {name.removesuffix(".weight"): shape for name, shape in shapes.items()}
    assert read_pairs(run.artifacts_dir / "adapter", linears)


def test_a_packed_base_has_them_in_it(
    tiny_model_dir: TinyModel, below: list[Path], tmp_path: Path
) -> None:
    base = tiny_model_dir("mistral")
    names = [str(folder) for folder in below]
    described = {
        "model": {"base": str(base), "quantization": "int8", "attention": "sdpa"},
        "adapter": {"kind": "lora", "merge_first": names},
        "data": {"train": "rows.jsonl"},
        "training": {"device": "cpu"},
    }
    recipe, run, reporter = parse_recipe(described), RunDir(tmp_path), Reporter(None)
    opened = open_base(recipe, run, reporter, torch.device("cpu"))
    before = logits(load_trainable(recipe, run, opened, reporter))
    assert torch.allclose(before, logits(by_peft(base, *below)), atol=0.05)
    assert not torch.allclose(before, logits(by_peft(base)), atol=0.05)


def test_what_is_no_plain_lora_of_this_base_is_refused(
    tiny_model_dir: TinyModel, below: list[Path], tmp_path: Path
) -> None:
    base = tiny_model_dir("mistral")
    dora = written(base, tmp_path / "dora", Lora(rank=2, dora=True))
    with pytest.raises(ModelError, match="has DoRA; only plain LoRA is merged") as caught:
        merge_adapters(load_model(base), [below[0], dora])
    assert caught.value.code == "merged_not_plain"
    with pytest.raises(ModelError, match="does not fit the base model") as caught:
        merge_adapters(load_model(tiny_model_dir("gpt2")), below)
    assert caught.value.code == "merged_of_another_base"
    with pytest.raises(ModelError) as caught:
        trained(tmp_path / "top", base, {"merge_first": str(below[0]), "continue_from": str(dora)})
    assert caught.value.code == "merged_below_dora"


@pytest.mark.parametrize(
    ("adapter", "code"),
    [
        ({"merge_first": ["a"], "dora": True}, "merged_below_dora"),
        ({"merge_first": "a, b", "continue_from": "b"}, "merged_twice"),
        ({"merge_first": ["a", "a"]}, "merged_twice"),
    ],
)
def test_wrong_stacks_are_refused_by_the_recipe(adapter: dict[str, Any], code: str) -> None:
    recipe = {"model": "starter", "data": {"train": "rows.jsonl"}}
    with pytest.raises(TunesmithError) as caught:
        parse_recipe({**recipe, "adapter": {"kind": "lora", **adapter}})
    assert [each["code"] for each in caught.value.details["problems"]] == [code]
