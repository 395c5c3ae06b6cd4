"""Rotations are PEFT's own, and merged they are the same model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.engine.adapter import (
    apply_adapter,
    known_notices,
    merged_state,
    trainable_parameters,
)
from tunesmith.engine.fused import why_not_fused
from tunesmith.engine.models import load_model
from tunesmith.engine.weights import write_adapter
from tunesmith.errors import RecipeError
from tunesmith.recipe.adapters import Oft
from tunesmith.serving.loading import load_served
from tunesmith.serving.options import Options

TinyModel = Callable[[str], Path]
TOKENS = torch.tensor([[5, 6, 7, 8, 9, 10]])


def turn(model: Any) -> Any:
    """Give every rotation an angle; at the start there is none."""
    generator = torch.Generator().manual_seed(7)
    for _, parameter in trainable_parameters(model):
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return model


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(TOKENS).logits


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text", "phi3"])
@pytest.mark.parametrize(
    "adapter",
    [
        Oft(block_size=8),
        Oft(block_size=4, block_share=True),
        Oft(block_size=8, exact_rotation=True),
    ],
    ids=["series", "shared", "exact"],
)
def test_weights_and_forward_are_those_of_peft(
    tiny_model_dir: TinyModel, family: str, adapter: Oft
) -> None:
    from peft import OFTConfig, get_peft_model

    ours: Any = apply_adapter(load_model(tiny_model_dir(family)), adapter, seed=1)
    config = OFTConfig(
        task_type="CAUSAL_LM",
        target_modules="all-linear",
        oft_block_size=adapter.block_size,
        block_share=adapter.block_share,
        use_cayley_neumann=not adapter.exact_rotation,
    )
    with known_notices():
        theirs = get_peft_model(load_model(tiny_model_dir(family)), config)
    own = trainable_parameters(ours)
    peft = trainable_parameters(theirs)
    assert [name for name, _ in own] == [name for name, _ in peft]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(own, peft, strict=True))
    # Nothing is turned yet, so nothing has changed.
    assert torch.allclose(logits(ours), logits(load_model(tiny_model_dir(family))), atol=1e-6)
    expected = logits(turn(theirs))
    assert torch.equal(logits(turn(ours)), expected)

    merged = load_model(tiny_model_dir(family))
    assert not torch.allclose(expected, logits(merged), atol=1e-3)
    merged.load_state_dict(merged_state(ours))
    assert torch.allclose(logits(merged), expected, atol=1e-5)
    assert torch.equal(logits(ours), expected)


def test_rotations_stay_in_float32_over_a_shorter_base(tiny_model_dir: TinyModel) -> None:
    model = load_model(tiny_model_dir("llama"), dtype=torch.bfloat16)
    tuned = apply_adapter(model, Oft(block_size=8), seed=1)
    assert {part.dtype for _, part in trainable_parameters(tuned)} == {torch.float32}


def test_the_decoder_by_hand_leaves_rotations_to_the_modules(tiny_model_dir: TinyModel) -> None:
    tuned: Any = apply_adapter(load_model(tiny_model_dir("llama")), Oft(block_size=8), seed=1)
    why = why_not_fused(tuned, tuned.get_base_model().get_decoder())
    assert why is not None
    assert "rotation" in why


@pytest.mark.parametrize(
    ("family", "adapter", "code", "said"),
    [
        ("llama", Oft(block_size=12), "uneven_blocks", "8"),
        ("llama", Oft(block_size=64, targets=["q_proj"]), "uneven_blocks", "32"),
        ("gpt2", Oft(block_size=8), "layer_not_turned", "lora"),
        ("llama", Oft(targets=["lm_head"]), "head_target_module", "head"),
        ("llama", Oft(targets=["nothing"]), "unknown_target_module", "q_proj"),
    ],
)
def test_what_cannot_be_turned_is_refused_with_what_can(
    tiny_model_dir: TinyModel, family: str, adapter: Oft, code: str, said: str
) -> None:
    family = "mistral" if code == "head_target_module" else family  # its head is not tied
    with pytest.raises(RecipeError) as caught:
        apply_adapter(load_model(tiny_model_dir(family)), adapter, seed=1)
    assert caught.value.code == code
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_a_rotated_model_is_served_as_one_with_its_base(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    base = tiny_model_dir("llama")
    tuned: Any = turn(apply_adapter(load_model(base), Oft(block_size=8), seed=1))
    tuned.peft_config["default"].base_model_name_or_path = str(base)
    write_adapter(tuned, tmp_path / "turned")
    served = load_served(Options(str(tmp_path / "turned"), device="cpu"))
    try:
        assert [voice.name for voice in served.voices] == ["turned"]
        assert served.about["decoder"] == "fast"
        answers = served.voices.base.adapter
        assert answers is None, "nothing is put on top of what is merged"
    finally:
        served.engine.close(1.0)
