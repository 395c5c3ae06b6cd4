"""Adapters of a batch: each token gets its own, whichever way is cheapest; others are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.unit.serving.conftest import running, write_adapter

from tunesmith.errors import ModelError
from tunesmith.models.adapters import scale_of_layer
from tunesmith.serving import lora
from tunesmith.serving.errors import AdapterMismatch
from tunesmith.serving.lora import Adapter, Joint, Lineup, Mix

SharpModel = Callable[..., Path]
WAYS = {
    "one for all": ([0] * 5, 1),
    "one each": ([0, 1, 2], 3),
    "some without": ([0, -1, 0], 1),
    "grouped": ([2, 0, 1, 1, -1, 2], 3),
    "unused beside used": ([0, 0, 1], 3),
    "a long prompt beside single tokens": ([1] * 300 + [0, 2, -1], 3),
}


def made(rank: int, generator: torch.Generator) -> Adapter:
    joint = Joint(
        torch.randn(rank, 12, generator=generator), torch.randn(rank, 7, generator=generator)
    )
    return Adapter(Path(), {3: joint}, 0)


@pytest.mark.parametrize("way", WAYS)
def test_each_token_gets_what_its_own_adapter_adds(way: str) -> None:
    numbers, count = WAYS[way]
    generator = torch.Generator().manual_seed(1)
    adapters = [made(rank, generator) for rank in (4, 2, 9)[:count]]
    x = torch.randn(len(numbers), 12, generator=generator)
    out = torch.randn(len(numbers), 7, generator=generator)
    expected = out.clone()
    for token, number in enumerate(numbers):
        if number >= 0:
            joint = adapters[number].joints[3]
            expected[token] += x[token] @ joint.a_RD.t() @ joint.b_RO
    mix = Mix(Lineup(adapters), numbers, x)
    mix.add(out, x, 3)
    assert torch.allclose(out, expected, atol=1e-5)
    untouched = out.clone()
    mix.add(out, x, 4)  # a product that no adapter is on
    assert torch.equal(out, untouched)


def test_all_ways_are_taken() -> None:
    """Guards the test above against a change of the rule that chooses."""
    like = torch.zeros(1)
    lineup = Lineup([made(2, torch.Generator()) for _ in range(3)])
    one = Lineup(lineup.adapters[:1])
    ways = [
        type(Mix(one if count == 1 else lineup, numbers, like)._add).__name__
        for numbers, count in WAYS.values()
    ]
    assert ways == ["function", "function", "_Grouped", "_Grouped", "_Grouped", "_Segments"]
    assert lora.SMALL > 0


def test_an_adapter_of_another_base_is_refused_with_the_shapes(
    sharp_model_dir: SharpModel, tmp_path: Path
) -> None:
    other = write_adapter(sharp_model_dir("llama", hidden_size=64), tmp_path / "other", seed=1)
    with (
        running(sharp_model_dir("llama")) as bench,
        pytest.raises(
            AdapterMismatch, match=r"A \[4, 64\] and B \[64, 4\].* 64 inputs and 32 outputs"
        ),
    ):
        bench.engine.load_adapter(other)


def test_an_adapter_of_a_deeper_base_is_refused(
    sharp_model_dir: SharpModel, tmp_path: Path
) -> None:
    deep = write_adapter(sharp_model_dir("llama", num_hidden_layers=3), tmp_path / "deep", seed=1)
    with (
        running(sharp_model_dir("llama")) as bench,
        pytest.raises(AdapterMismatch, match=r"model\.layers\.2\..* this base has not"),
    ):
        bench.engine.load_adapter(deep)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"peft_type": "IA3"}, "the kind IA3"),
        ({"bias": "all"}, "biases"),
        ({"modules_to_save": ["lm_head"]}, "whole layers"),
    ],
)
def test_other_kinds_of_adapters_are_refused(
    sharp_model_dir: SharpModel, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    base = sharp_model_dir("llama")
    folder = write_adapter(base, tmp_path / "a", seed=1)
    config = folder / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    with running(base) as bench, pytest.raises(AdapterMismatch, match=reason):
        bench.engine.load_adapter(folder)


def test_only_safetensors_are_read(sharp_model_dir: SharpModel, tmp_path: Path) -> None:
    base = sharp_model_dir("llama")
    folder = write_adapter(base, tmp_path / "a", seed=1)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with running(base) as bench:
        with pytest.raises(ModelError, match="is a pickle"):
            bench.engine.load_adapter(folder)
        (folder / "adapter_model.bin").unlink()
        save_file({"strange": torch.zeros(2)}, folder / "adapter_model.safetensors")
        with pytest.raises(AdapterMismatch, match="holds strange"):
            bench.engine.load_adapter(folder)


@pytest.mark.parametrize("settings", [{"use_rslora": True}, {"alpha_pattern": {"q_proj": 40}}])
def test_the_scale_is_that_of_peft(
    sharp_model_dir: SharpModel, tmp_path: Path, settings: dict[str, Any]
) -> None:
    from peft import PeftModel

    from tunesmith.engine.adapter import known_notices, lora_layers
    from tunesmith.engine.models import load_model

    base = sharp_model_dir("llama")
    folder = write_adapter(base, tmp_path / "a", seed=1)
    config = folder / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **settings}))
    with known_notices():
        tuned = PeftModel.from_pretrained(load_model(base), str(folder))
    said = json.loads(config.read_text())
    layers: list[tuple[str, Any]] = list(lora_layers(tuned.get_base_model()))
    assert layers
    for name, layer in layers:
        assert scale_of_layer(name, 4, said) == pytest.approx(layer.scaling["default"])
