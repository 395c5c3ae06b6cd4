"""QLoRA is LoRA on the base that bitsandbytes' dequantised weights are, in a fraction of memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.engine.test_methods import trained
from torch import Tensor, nn

from tunesmith.engine.adapter import known_notices
from tunesmith.engine.methods import quantised
from tunesmith.engine.methods.quantised import (
    is_quantised,
    num_packed,
    num_parameters,
    packed,
    quantise,
    require_library,
)
from tunesmith.engine.models import load_model
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.setup import load_trainable, memory_of, open_base
from tunesmith.errors import RecipeError, TunesmithError
from tunesmith.models.memory import PACKED_BYTES
from tunesmith.recipe import Lora, parse_recipe
from tunesmith.runs import RunDir

library = pytest.importorskip("bitsandbytes", reason="the extra `quantization` is not installed")
Build = Callable[..., Any]
CPU = torch.device("cpu")
KINDS = ("nf4", "int8")
# The hand-written decoder, transformers' modules, transposed weights, a mixture of experts.
FAMILIES = ("qwen2", "gemma3_text", "gpt2", "qwen3_moe")
LENGTHS = [9, 5, 12, 7]
IDS = torch.tensor([[5, 60, 70, 80, 90, 100, 33, 44]])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


# ---------------------------------------------------------------- references by the library alone


def dequantised(weight_OI: Tensor, kind: str) -> Tensor:
    """A weight as bitsandbytes rounds it, by nothing but its own functions."""
    functional = library.functional
    if kind == "nf4":
        codes, state = functional.quantize_4bit(
            weight_OI.contiguous(), compress_statistics=True, quant_type="nf4"
        )
        return functional.dequantize_4bit(codes, state)
    codes, scales, _ = functional.int8_vectorwise_quant(weight_OI.contiguous().half())
    return functional.int8_vectorwise_dequant(codes, scales).to(weight_OI.dtype)


def rounded(model: Any, kind: str) -> None:
    """Put the dequantised weights into plain layers: those between embeddings and head."""
    from transformers.pytorch_utils import Conv1D

    for layer in model.get_decoder().modules():
        if type(layer) is nn.Linear:
            layer.weight.data = dequantised(layer.weight.data, kind)
        elif type(layer) is Conv1D:
            layer.weight.data = dequantised(layer.weight.data.t(), kind).t().contiguous()


def layers_of(model: nn.Module) -> dict[str, Any]:
    return {name: part for name, part in model.named_modules() if is_quantised(part)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_products_are_those_of_the_library(kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    layer = nn.Linear(96, 40, dtype=dtype).requires_grad_(False)
    mine: Any = packed(layer, kind, CPU)
    weight = dequantised(layer.weight, kind)
    assert mine.weight.dtype == dtype
    assert torch.equal(mine.weight, weight)
    assert not torch.equal(weight, layer.weight)
    x = torch.randn(2, 5, 96, dtype=dtype, requires_grad=True)
    plain = x.detach().clone().requires_grad_(True)
    made, wanted = mine(x), torch.nn.functional.linear(plain, weight, layer.bias)
    assert torch.equal(made, wanted)
    grad = torch.randn_like(made)
    made.backward(grad)
    wanted.backward(grad)
    assert x.grad is not None
    assert plain.grad is not None
    assert torch.allclose(x.grad, plain.grad, rtol=1e-5 if dtype == torch.float32 else 1e-2)


def test_weights_are_those_of_the_librarys_own_layers() -> None:
    torch.manual_seed(3)
    layer = nn.Linear(128, 64, bias=False)
    theirs = library.nn.Params4bit(
        layer.weight.data.clone(), requires_grad=False, quant_type="nf4", compress_statistics=True
    ).to("cpu")
    mine: Any = packed(layer, "nf4", CPU)
    unpacked = library.functional.dequantize_4bit(theirs.data, theirs.quant_state)
    assert torch.equal(mine.weight, unpacked)
    eight = library.nn.Int8Params(layer.weight.data.clone(), requires_grad=False).to("cpu")
    mine = packed(layer, "int8", CPU)
    assert torch.equal(mine.codes.codes, eight.CB if eight.CB is not None else eight.data)
    assert torch.equal(mine.codes.scales, eight.SCB)


# ---------------------------------------------------------------- numeric laws


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_lora_on_the_dequantised_base(
    bench: Build, plain: Build, reference: Build, table_of: Build, family: str, kind: str
) -> None:
    adapter, table = Lora(rank=4), table_of(LENGTHS)
    mine = bench(family, adapter, prepare=partial(quantise, kind=kind, device=CPU))
    assert layers_of(mine.model)
    loss, gradients = mine.loss_and_gradients(table, [[0, 1], [2, 3]])
    other = bench(family, adapter, prepare=partial(rounded, kind=kind))
    same, wanted = other.loss_and_gradients(table, [[0, 1], [2, 3]])
    assert loss == pytest.approx(same, rel=1e-6)
    assert_near(gradients, wanted)
    # And those of transformers, PEFT and torch alone, a row at a time.
    model = plain(family, adapter, prepare=partial(rounded, kind=kind))
    slow, wanted = reference(model, table, range(len(LENGTHS)))
    assert loss == pytest.approx(slow, rel=1e-5)
    assert_near(gradients, wanted, 5e-5)


def assert_near(
    gradients: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float = 1e-5
) -> None:
    assert gradients.keys() == wanted.keys()
    largest = max(float(each.abs().max()) for each in wanted.values())
    assert largest > 0
    for name, gradient in gradients.items():
        assert float((gradient - wanted[name]).abs().max()) <= tolerance * largest, name


@pytest.mark.parametrize(
    ("adapter", "checkpointing"),
    [
        (Lora(rank=4, dropout=0.3), False),
        (Lora(rank=4, dropout=0.3), True),
        (Lora(rank=4), True),
        (Lora(rank=4, rslora=True), False),
        (Lora(rank=4, dora=True), False),
        (Lora(rank=4, modules_to_save=["norm"]), False),
        (Lora(rank=4, targets=["q_proj", "v_proj"]), False),
    ],
    ids=["dropout", "dropout-again", "again", "rslora", "dora", "whole-norm", "few"],
)
def test_every_setting_of_lora_is_what_it_is_on_the_dequantised_base(
    bench: Build, table_of: Build, adapter: Lora, checkpointing: bool
) -> None:
    table, how = table_of(LENGTHS), {"checkpointing": checkpointing}
    mine = bench("llama", adapter, prepare=partial(quantise, kind="nf4", device=CPU), **how)
    other = bench("llama", adapter, prepare=partial(rounded, kind="nf4"), **how)
    loss, gradients = mine.loss_and_gradients(table, [[0, 2], [1, 3]])
    same, wanted = other.loss_and_gradients(table, [[0, 2], [1, 3]])
    assert loss == pytest.approx(same, rel=1e-6)
    assert_near(gradients, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_rows_and_accumulation_change_nothing(
    bench: Build, table_of: Build, kind: str
) -> None:
    table = table_of(LENGTHS)
    mine = bench("llama", Lora(rank=4), prepare=partial(quantise, kind=kind, device=CPU))
    loss, gradients = mine.loss_and_gradients(table, [[0, 1, 2, 3]])
    same, wanted = mine.loss_and_gradients(table, [[0], [1], [2], [3]])
    assert loss == pytest.approx(same, rel=1e-6)
    assert_near(gradients, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_computes_with_the_same_weights(bench: Build, table_of: Build, kind: str) -> None:
    table, how = table_of(LENGTHS), {"dtype": torch.bfloat16}

    def in_short(change: Build) -> Build:
        return lambda model: change(model.to(torch.bfloat16))

    mine = bench(
        "llama", Lora(rank=4), prepare=in_short(partial(quantise, kind=kind, device=CPU)), **how
    )
    other = bench("llama", Lora(rank=4), prepare=in_short(partial(rounded, kind=kind)), **how)
    weights = dict(other.model.named_parameters())
    for name, layer in layers_of(mine.model).items():
        assert torch.equal(layer.weight, weights[f"{name}.weight"])
    loss, gradients = mine.loss_and_gradients(table, [[0, 1, 2, 3]])
    same, wanted = other.loss_and_gradients(table, [[0, 1, 2, 3]])
    assert loss == pytest.approx(same, rel=1e-3)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, wanted[name], rtol=0.1, atol=1e-3), name


# ---------------------------------------------------------------- what is packed, and how small


def bytes_of(layer: Any) -> int:
    return sum(b.nbytes for b in layer.codes.buffers()) + sum(
        p.nbytes for p in layer.codes.parameters()
    )


@pytest.mark.parametrize(("kind", "bits"), [("nf4", 4.13), ("int8", 8.2)])
def test_a_packed_layer_holds_so_many_bits_a_weight_and_nothing_else(
    kind: str, bits: float
) -> None:
    layer = nn.Linear(512, 384, bias=False)
    mine: Any = packed(layer, kind, CPU)
    assert 8 * bytes_of(mine) / (512 * 384) == pytest.approx(bits, rel=0.02)
    assert not list(mine.parameters())
    assert not mine.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_head_embeddings_norms_and_whole_parts_stay_as_they_are(
    tiny_model_dir: Build, kind: str
) -> None:
    model: Any = load_model(tiny_model_dir("mistral"))
    quantise(model, kind, CPU, whole=["layers.0.mlp", "v_proj"])
    kept = layers_of(model)
    assert len(kept) == 2 * 6 - 3
    assert not any("v_proj" in name or "layers.0.mlp" in name or "head" in name for name in kept)
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_counts_packed_weights_in_bits(
    tmp_path: Path, tiny_model_dir: Build, kind: str
) -> None:
    base, sizes = tiny_model_dir("llama"), {}
    for quantization in ("none", kind):
        recipe = parse_recipe(described(base, tmp_path, {"quantization": quantization}))
        run = RunDir(tmp_path)
        opened = open_base(recipe, run, Reporter(None), CPU)
        model: Any = load_trainable(recipe, run, opened, Reporter(None))
        sizes[quantization] = memory_of(recipe, opened, model, micro_batch_tokens=0).weights
        assert num_parameters(model) == sum(p.numel() for p in load_model(base).parameters()) + sum(
            p.numel() for p in model.parameters() if p.requires_grad
        )
    packed_bytes = sum(bytes_of(layer) for layer in layers_of(model).values())
    scratch = 32 * 64 * 4
    saved = sizes["none"] - sizes[kind] + scratch
    assert saved == pytest.approx(4 * num_packed(model) - packed_bytes, rel=0.02)
    assert packed_bytes >= PACKED_BYTES[kind] * num_packed(model) * 0.99


# ---------------------------------------------------------------- whole trainings


def described(base: Path, folder: Path, model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    answers = [{"question": f"Number {n}?", "answer": f"It is {n * n}."} for n in range(6)]
    rows = changes.pop("rows", answers)
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {
        "model": {"base": str(base), **model},
        "adapter": {"kind": "lora", "rank": 4, **changes.pop("adapter", {})},
        "data": {
            **{"train": [{"dataset": str(data)}], "validation": {"kind": "none"}},
            "allow_small": True,
        },
        "training": {
            **{"max_steps": 3, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"},
            **{"checkpoint": {"every_steps": 2}, "schedule": {"warmup_ratio": 0}},
            "activation_checkpointing": "off",
        },
        "report": {"tensorboard": False},
        **changes,
    }


def new_run(folder: Path, base: Path, kind: str, **changes: Any) -> RunDir:
    folder.mkdir(parents=True, exist_ok=True)
    recipe = described(base, folder, {"quantization": kind}, **changes)
    return RunDir.create(folder / "run", json.dumps(recipe), recipe_name="test")


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model.eval()(IDS).logits


def with_adapter(base: Any, run: RunDir) -> Any:
    from peft import PeftModel

    with known_notices():
        return PeftModel.from_pretrained(base, run.artifacts_dir / "adapter")


def files(folder: Path) -> dict[str, bytes]:
    found = sorted(folder.rglob("*.safetensors"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_is_an_ordinary_adapter_and_going_on_changes_nothing(
    tmp_path: Path, tiny_model_dir: Build, kind: str
) -> None:
    base = tiny_model_dir("mistral")
    run = trained(new_run(tmp_path, base, kind, adapter={"dropout": 0.1, "loraplus_lr_ratio": 4}))
    settings = json.loads((run.artifacts_dir / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(base)
    saved = files(run.artifacts_dir / "adapter")["adapter_model.safetensors"]
    assert len(saved) < 60_000, "nothing of the base is in it"

    # What was trained: the same adapter by PEFT, on the rounded base, and on our packed one.
    round_trip, mine = load_model(base), load_model(base)
    rounded(round_trip, kind)
    quantise(mine, kind, CPU)
    made = logits(with_adapter(round_trip, run))
    assert torch.allclose(logits(with_adapter(mine, run)), made, atol=1e-5)
    untrained = load_model(base)
    rounded(untrained, kind)
    assert float((made - logits(untrained)).abs().max()) > 1e-3, "nothing was learned"

    again = shutil.copytree(run.path, tmp_path / "again")
    shutil.rmtree(again / "checkpoints" / "step-000003")
    shutil.rmtree(again / "artifacts")
    resumed = trained(RunDir.open(again), attempt=2)
    assert files(resumed.artifacts_dir) == files(run.artifacts_dir)
    assert files(resumed.artifacts_dir)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_programs_load_the_result_beside_their_own_quantised_base(
    tmp_path: Path, tiny_model_dir: Build, kind: str
) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    base = tiny_model_dir("mistral")
    run = trained(new_run(tmp_path, base, kind))
    settings = BitsAndBytesConfig(load_in_8bit=True)
    if kind == "nf4":
        settings = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
        )
    theirs = AutoModelForCausalLM.from_pretrained(base, quantization_config=settings)
    mine = load_model(base)
    quantise(mine, kind, CPU)
    # The library's 8-bit product rounds the inputs too.
    tolerance = 1e-4 if kind == "nf4" else 0.05
    made = logits(with_adapter(mine, run))
    assert torch.allclose(logits(with_adapter(theirs, run)).float(), made, atol=tolerance)


def test_a_merged_result_is_the_whole_base_with_the_adapter_added(
    tmp_path: Path, tiny_model_dir: Build
) -> None:
    from transformers import AutoModelForCausalLM

    base = tiny_model_dir("llama")
    run = trained(new_run(tmp_path, base, "nf4", export={"merge": True}))
    merged = AutoModelForCausalLM.from_pretrained(run.artifacts_dir / "model")
    wanted = logits(with_adapter(AutoModelForCausalLM.from_pretrained(base), run))
    assert torch.allclose(logits(merged), wanted, atol=1e-5)
    assert not hasattr(merged.config, "quantization_config")
    passport = json.loads((run.artifacts_dir / "passport.json").read_bytes())
    assert passport["base"]["quantization_in_training"] == "nf4"
    assert passport["versions"]["bitsandbytes"] == library.__version__
    card = (run.artifacts_dir / "README.md").read_text(encoding="utf-8")
    assert "on a base in 4 bits (QLoRA, NF4 with double quantisation)" in card
    assert "基座以 4 位（NF4，双重量化）保存（QLoRA）" in card


def test_a_reward_model_keeps_the_score_that_it_learned(
    tmp_path: Path, tiny_model_dir: Build
) -> None:
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoModelForSequenceClassification

    base = tiny_model_dir("llama")
    pairs = [
        {"question": f"Number {n}?", "chosen": f"It is {n}.", "rejected": f"No idea, {n}."}
        for n in range(6)
    ]
    run = trained(new_run(tmp_path, base, "nf4", stage={"kind": "rm"}, rows=pairs))
    alone = AutoModelForSequenceClassification.from_pretrained(run.artifacts_dir / "model")
    with known_notices():
        beside = AutoPeftModelForSequenceClassification.from_pretrained(
            run.artifacts_dir / "adapter", num_labels=1, pad_token_id=alone.config.pad_token_id
        )
    assert alone.config.architectures == ["LlamaForSequenceClassification"]
    assert torch.allclose(logits(alone), logits(beside), atol=1e-5)
    assert float(logits(alone).abs().max()) > 1e-3


def test_an_adapter_is_gone_on_with_beside_a_quantised_base(
    tmp_path: Path, tiny_model_dir: Build
) -> None:
    base = tiny_model_dir("mistral")
    whole = {"modules_to_save": ["lm_head", "v_proj"], "targets": ["q_proj", "o_proj"]}
    first = trained(new_run(tmp_path / "first", base, "none", adapter=whole))
    adapter = {"continue_from": str(first.path)}
    recipe = parse_recipe(described(base, tmp_path, {"quantization": "int8"}, adapter=adapter))
    run = RunDir(tmp_path)
    model = load_trainable(recipe, run, open_base(recipe, run, Reporter(None), CPU), Reporter(None))
    assert len(layers_of(model)) == 2 * 6
    trains = {
        n.split(".")[-2] if "lora" not in n else "lora"
        for n, p in model.named_parameters()
        if p.requires_grad
    }
    assert trains == {"default", "lora"}
    second = trained(new_run(tmp_path / "second", base, "int8", adapter=adapter))
    before, after = (files(each.artifacts_dir / "adapter") for each in (first, second))
    assert before != after


# ---------------------------------------------------------------- refusals


def test_a_model_without_linear_layers_left_is_refused(tiny_model_dir: Build) -> None:
    model = load_model(tiny_model_dir("llama"))
    with pytest.raises(RecipeError) as caught:
        quantise(model, "nf4", CPU, whole=["layers"])
    assert caught.value.code == "nothing_to_quantise"


def test_without_the_library_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda _: None)
    require_library("none")
    with pytest.raises(TunesmithError) as caught:
        require_library("nf4")
    assert caught.value.code == "quantisation_missing"
    assert "tunesmith[quantization]" in caught.value.hint


def test_a_device_that_was_found_to_be_mps_is_refused(
    tmp_path: Path, tiny_model_dir: Build
) -> None:
    recipe = parse_recipe(described(tiny_model_dir("llama"), tmp_path, {"quantization": "nf4"}))
    with pytest.raises(RecipeError) as caught:
        open_base(recipe, RunDir(tmp_path), Reporter(None), torch.device("mps"))
    assert caught.value.code == "quantised_not_on_mps"
