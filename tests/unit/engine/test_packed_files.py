"""Checkpoints of GPTQ and AWQ: weights packed by the published layouts come back to the bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunesmith.engine.adapter import known_notices
from tunesmith.engine.generate import load_for_inference
from tunesmith.engine.methods.packed_files import Packing
from tunesmith.engine.models import load_config, load_model, load_reward_model
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.train import train
from tunesmith.errors import ModelError, RecipeError
from tunesmith.models.facts import layer_names, read_facts
from tunesmith.models.files import check_model_files
from tunesmith.recipe import load_recipe
from tunesmith.runs import EventWriter, RunDir

TinyModel = Callable[[str], Path]
CPU = torch.device("cpu")
IDS = torch.tensor([[5, 60, 70, 80, 90, 100, 33, 44]])
GROUP = 8
FORMATS: dict[str, dict[str, Any]] = {
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "checkpoint_format": "gptq"},
    "gptq-8": {"quant_method": "gptq", "bits": 8, "group_size": GROUP},
    "gptq-2": {"quant_method": "gptq", "bits": 2, "group_size": GROUP},
    "gptq-act-order": {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": True},
    "gptq_v2": {"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2", "group_size": 8},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm"},
}


def packed(rows: list[list[int]], bits: int, order: list[int]) -> Tensor:
    """Numbers of each row in int32s, by plain whole numbers: the place n holds number order[n]."""
    many = len(order)
    found: list[list[int]] = []
    for row in rows:
        words: list[int] = []
        for start in range(0, len(row), many):
            word = sum(row[start + order[n]] << (bits * n) for n in range(many))
            words.append(word - (1 << 32) if word >= 1 << 31 else word)
        found.append(words)
    return torch.tensor(found, dtype=torch.int32)


def pack(weight_OI: Tensor, told: dict[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
    """The tensors of a layer, and the weight that they stand for."""
    bits, most = told["bits"], (1 << told["bits"]) - 1
    generator = torch.manual_seed(weight_OI.shape[0])
    inputs = weight_OI.shape[1]
    groups = torch.arange(inputs) // GROUP
    if told.get("desc_act"):
        groups = groups[torch.randperm(inputs, generator=generator)]
    zeros = torch.randint(1, most + 1, (inputs // GROUP, len(weight_OI)), generator=generator)
    scales = (torch.rand(zeros.shape, generator=generator) * 0.02 + 0.01).half()
    numbers = torch.randint(0, most + 1, (inputs, len(weight_OI)), generator=generator)
    weight = ((numbers - zeros[groups]).float() * scales[groups].float()).t()
    in_order = list(range(32 // bits))
    if told["quant_method"] == "awq":
        order = [0, 2, 4, 6, 1, 3, 5, 7]
        parts = {
            "qweight": packed(numbers.tolist(), 4, order),
            "qzeros": packed(zeros.tolist(), 4, order),
        }
        return {**parts, "scales": scales}, weight
    stored = zeros if told.get("checkpoint_format") == "gptq_v2" else zeros - 1
    return {
        "qweight": packed(numbers.t().tolist(), bits, in_order).t().contiguous(),
        "qzeros": packed(stored.tolist(), bits, in_order),
        "scales": scales,
        "g_idx": groups.int(),
    }, weight


def checkpoints(base: Path, folder: Path, told: dict[str, Any]) -> tuple[Path, Path]:
    """The same model packed and plain."""
    places = folder / "packed", folder / "plain"
    for place in places:
        shutil.copytree(base, place)
    state = load_file(base / "model.safetensors")
    small, plain = dict(state), dict(state)
    for name, weight in state.items():
        if name.endswith("_proj.weight"):
            parts, plain[name] = pack(weight, told)
            layer = name.removesuffix(".weight")
            small |= {f"{layer}.{part}": tensor for part, tensor in parts.items()}
            del small[name]
    for place, tensors in zip(places, (small, plain), strict=True):
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((base / "config.json").read_bytes())
    text = json.dumps({**settings, "quantization_config": told})
    (places[0] / "config.json").write_text(text, encoding="utf-8")
    return places


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("family", ["llama", "qwen2"])  # tied and not, without and with biases
def test_packed_weights_come_back_to_the_bit(
    tiny_model_dir: TinyModel, tmp_path: Path, name: str, family: str
) -> None:
    small, plain = checkpoints(tiny_model_dir(family), tmp_path, FORMATS[name])
    found, wanted = load_model(small).state_dict(), load_model(plain).state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[each], wanted[each]) for each in wanted)


@pytest.mark.parametrize("name", FORMATS)
def test_a_packed_model_has_as_many_weights_as_the_plain_one(
    tiny_model_dir: TinyModel, tmp_path: Path, name: str
) -> None:
    small, plain = checkpoints(tiny_model_dir("llama"), tmp_path, FORMATS[name])
    found, wanted = (read_facts(check_model_files(place)) for place in (small, plain))
    assert found.parameters == wanted.parameters
    assert found.weight_bytes < wanted.weight_bytes
    assert found.quantised == FORMATS[name]["quant_method"]
    assert layer_names(small) == layer_names(plain)


def test_biases_of_zeros_mean_nothing_and_other_strange_weights_are_never_dropped(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    small, plain = checkpoints(tiny_model_dir("llama"), tmp_path, FORMATS["gptq"])
    file = small / "model.safetensors"
    for value in (0.0, 1.0):
        bias = {"model.layers.0.self_attn.q_proj.bias": torch.full((32,), value)}
        save_file({**load_file(file), **bias}, file, metadata={"format": "pt"})
        if not value:
            wanted = load_model(plain).state_dict()
            found = load_model(small).state_dict()
            assert all(torch.equal(found[each], wanted[each]) for each in wanted)
    with pytest.raises(ModelError, match=r"q_proj\.bias"):
        load_model(small)
    state = load_file(file)
    experts = {"model.layers.0.mlp.experts.0.up_proj.qweight": torch.ones(1)}
    save_file({**state, **experts}, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="packed experts"):
        load_model(small)
    del state["model.layers.0.self_attn.q_proj.scales"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"but scales of it is missing"):
        load_model(small)


@pytest.fixture
def run_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunDir]:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "cache"))

    def build(base: Path, adapter: dict[str, Any], stage: str = "sft", **model: Any) -> RunDir:
        data = tmp_path / "rows.jsonl"
        rows = [{"question": f"Number {n}?", "answer": f"It is {n * n}."} for n in range(6)]
        if stage == "rm":
            rows = [
                {"question": "?", "chosen": "It is.", "rejected": f"No, {n}."} for n in range(6)
            ]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        recipe = {
            "model": {"base": str(base), **model},
            "adapter": adapter,
            "stage": {"kind": stage},
            "data": {
                **{"train": [{"dataset": str(data)}], "validation": {"kind": "none"}},
                "allow_small": True,
            },
            "training": {
                **{"max_steps": 3, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"},
                "schedule": {"warmup_ratio": 0},
            },
            "report": {"tensorboard": False, "curves": False},
            "export": {"merge": adapter["kind"] == "lora"},
        }
        run = RunDir.create(tmp_path / f"run-{base.name}", json.dumps(recipe), recipe_name="test")
        with EventWriter(run, 1) as writer:
            loaded = load_recipe(run.recipe_path)
            assert train(loaded, run, Reporter(writer), Ranks(), CPU).status == "finished"
        return run

    return build


@pytest.mark.parametrize("name", ["gptq", "awq"])
def test_lora_learns_beside_it_as_beside_the_plain_weights(
    tiny_model_dir: TinyModel, tmp_path: Path, run_of: Callable[..., RunDir], name: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    small, plain = checkpoints(tiny_model_dir("llama"), tmp_path, FORMATS[name])
    adapter = {"kind": "lora", "rank": 4}
    runs = [run_of(base, adapter) for base in (small, plain)]
    states = [load_file(r.artifacts_dir / "adapter" / "adapter_model.safetensors") for r in runs]
    assert all(torch.equal(states[0][each], states[1][each]) for each in states[1])
    with torch.no_grad(), known_notices():
        merged = AutoModelForCausalLM.from_pretrained(runs[0].artifacts_dir / "model").eval()
        beside = PeftModel.from_pretrained(load_model(plain), runs[0].artifacts_dir / "adapter")
        expected = beside.eval()(IDS).logits
        assert torch.allclose(merged(IDS).logits, expected, atol=1e-5)
        answering = load_for_inference(str(runs[0].artifacts_dir / "adapter"), device="cpu").model
        assert torch.allclose(answering(IDS).logits, expected, atol=1e-5)
    config = json.loads((runs[0].artifacts_dir / "model" / "config.json").read_bytes())
    assert "quantization_config" not in config


def test_what_cannot_be_trained_is_refused_before_weights_are_read(
    tiny_model_dir: TinyModel, tmp_path: Path, run_of: Callable[..., RunDir]
) -> None:
    small, _ = checkpoints(tiny_model_dir("llama"), tmp_path, FORMATS["gptq"])
    with pytest.raises(RecipeError, match="too few to be trained themselves") as caught:
        run_of(small, {"kind": "full"})
    assert caught.value.code == "packed_base_needs_adapter"
    again = small.rename(tmp_path / "again")
    with pytest.raises(RecipeError, match="a second time") as caught:
        run_of(again, {"kind": "oft"}, quantization="int8")
    assert caught.value.code == "packed_twice"
    last = again.rename(tmp_path / "last")
    with pytest.raises(RecipeError) as caught:
        run_of(last, {"kind": "lora"}, stage="rm")
    assert caught.value.code == "reward_base_is_packed"
    with pytest.raises(ModelError, match="starts from a whole model"):
        load_reward_model(last, seed=1, dtype=torch.float32, attention="sdpa", device=CPU)


@pytest.mark.parametrize(
    "changes", [{"bits": 3}, {"checkpoint_format": "marlin"}, {"quant_method": "awq", "bits": 8}]
)
def test_layouts_that_are_not_read_are_refused(
    tiny_model_dir: TinyModel, tmp_path: Path, changes: dict[str, Any]
) -> None:
    small, _ = checkpoints(tiny_model_dir("llama"), tmp_path, FORMATS["gptq"])
    config = load_config(small)
    config.quantization_config = {**FORMATS["gptq"], **changes}
    with pytest.raises(ModelError) as caught:
        Packing.of(config)
    assert caught.value.code == "packing_not_read"
