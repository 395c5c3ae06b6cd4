"""The decoder written by hand is the decoder of transformers, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.engine import attention
from tunesmith.engine.adapter import trainable_parameters
from tunesmith.engine.attention import Documents
from tunesmith.engine.backbone import decoder_of
from tunesmith.engine.fused import FusedDecoder, why_not_fused
from tunesmith.recipe import Full, Lora

Build = Callable[..., Any]
LENGTHS = [9, 1, 140, 33, 2]
ROWS = [0, 1, 2, 3, 4]
ADAPTERS = {
    "full": Full(),
    "lora": Lora(rank=4, alpha=8),
    "some": Lora(rank=3, alpha=5, targets=["v_proj", "q_proj", "down_proj"]),
}
# Family and what differs from its tiny model.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-tied": ("llama", {}),
    "llama-untied": ("llama", {"tie_word_embeddings": False}),
    "llama-one-group": ("llama", {"num_key_value_heads": 4}),
    "llama-one-kv-head": ("llama", {"num_key_value_heads": 1}),
    "llama-wide-heads": ("llama", {"head_dim": 16}),
    "llama-scaled-rope": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "rope_theta": 10000.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "qwen2-bias": ("qwen2", {}),
    "qwen2-window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1},
    ),
    "qwen3-norms": ("qwen3", {}),
    "qwen3-untied": ("qwen3", {"tie_word_embeddings": False}),
    "mistral": ("mistral", {}),
    "mistral-window": ("mistral", {"sliding_window": 20}),
}


def assert_close(actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(float(value.abs().max()), 1e-3)
        difference = float((actual[name] - value).abs().max()) / scale
        assert difference < tolerance, f"{name}: {difference:.1e}"


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_and_every_gradient_are_those_of_transformers(
    bench: Build, plain: Build, reference: Build, table_of: Build, variant: str, adapter: str
) -> None:
    family, changes = VARIANTS[variant]
    ours = bench(family, ADAPTERS[adapter], **changes)
    assert isinstance(ours.backbone, FusedDecoder)
    table = table_of(LENGTHS)
    loss, gradients = ours.loss_and_gradients(table, [ROWS])
    model = plain(family, ADAPTERS[adapter], **changes)
    expected_loss, expected = reference(model, table, ROWS)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    # The truth is transformers in float64. Where a key is close to zero, its norm enlarges every
    # rounding before it: there, ours may be as far from the truth as transformers in float32 is.
    _, exact = reference(model.double(), table, ROWS)
    for name, value in exact.items():
        scale = max(float(value.abs().max()), 1e-3)
        theirs = float((expected[name] - value).abs().max()) / scale
        error = float((gradients[name] - value).abs().max()) / scale
        assert error < max(1e-5, 3 * theirs), f"{name}: {error:.1e}, transformers {theirs:.1e}"


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_activation_checkpointing_changes_not_one_bit(
    bench: Build, table_of: Build, family: str, adapter: str, every: int
) -> None:
    """PERFORMANCE 6: AC on = off."""
    table = table_of(LENGTHS)
    kept = bench(family, ADAPTERS[adapter]).loss_and_gradients(table, [ROWS])
    again = bench(family, ADAPTERS[adapter], checkpointing=every).loss_and_gradients(table, [ROWS])
    assert kept[0] == again[0]
    assert all(torch.equal(kept[1][name], again[1][name]) for name in kept[1])


def in_double(model: Any) -> Any:
    """Float64 parameters with gradients, each beside the next in memory, as the arena lays them."""
    model = model.double()
    trained = sorted((p for _, p in trainable_parameters(model)), key=lambda p: -p.ndim)
    values = torch.cat([p.detach().flatten() for p in trained])
    gradients, start = torch.zeros_like(values), 0
    for parameter in trained:
        end = start + parameter.numel()
        parameter.data = values[start:end].view(parameter.shape)
        parameter.grad = gradients[start:end].view(parameter.shape)
        start = end
    return model


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of four queries, so that short documents have several."""
    monkeypatch.setattr(attention, "BLOCK", 4)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("adapter", ["full", "lora"])
@pytest.mark.parametrize("variant", ["llama-tied", "qwen2-bias", "qwen3-norms", "mistral-window"])
def test_every_gradient_is_that_of_finite_differences(
    plain: Build, variant: str, adapter: str
) -> None:
    """PERFORMANCE 6: the layer, the final norm and the embeddings, checked in fp64."""
    family, changes = VARIANTS[variant]
    if "sliding_window" in changes:
        changes = {"sliding_window": 3}
    model = in_double(plain(family, ADAPTERS[adapter], **changes))
    decoder = FusedDecoder(decoder_of(model))
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 259, (11,), generator=generator)
    positions = torch.tensor([0, 1, 2, 3, 4, 5, 0, 0, 1, 2, 3])
    documents = Documents((0, 6, 7, 11))
    direction = torch.randn(11, 32, dtype=torch.float64, generator=generator)

    def loss() -> Tensor:
        decoder.refresh()
        return (decoder(ids, positions, documents) * direction).sum()

    loss().backward()
    step = 1e-6
    for name, parameter in trainable_parameters(model):
        if "lm_head" in name:
            continue
        nudge = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
        expected = float((parameter.grad * nudge).sum())
        with torch.no_grad():
            parameter.data += step * nudge
            above = float(loss())
            parameter.data -= 2 * step * nudge
            below = float(loss())
            parameter.data += step * nudge
        slope = (above - below) / (2 * step)
        assert slope == pytest.approx(expected, rel=1e-5, abs=1e-5), name


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_layer_passes_gradcheck(plain: Build, family: str) -> None:
    """PERFORMANCE 6: gradcheck of the custom function by its input, in fp64."""
    model = plain(family).double().requires_grad_(False)
    decoder = FusedDecoder(decoder_of(model))
    from tunesmith.engine.fused import Rotation, _FinalNorm, _LayerFunction

    positions = torch.tensor([[0, 1, 2, 3, 4, 0, 1]])
    hidden = torch.randn(7, 32, dtype=torch.float64, requires_grad=True)
    rotary = decoder_of(model).rotary_emb(hidden[None], positions)
    layer = decoder._layers[0]
    rotation = Rotation.of(*rotary, layer.scale)
    anchor = torch.zeros(0)

    def run(x: Tensor) -> Tensor:
        return _LayerFunction.apply(x, anchor, layer, rotation, Documents((0, 5, 7)))

    assert torch.autograd.gradcheck(run, hidden, fast_mode=True)
    norm = decoder_of(model).norm
    assert torch.autograd.gradcheck(lambda x: _FinalNorm.apply(x, norm), hidden, fast_mode=True)


def test_gradients_add_up_over_micro_batches(bench: Build, table_of: Build) -> None:
    ours = bench("qwen2", Lora(rank=4, alpha=8))
    table = table_of(LENGTHS)
    _, once = ours.loss_and_gradients(table, [ROWS])
    _, twice = ours.loss_and_gradients(table, [ROWS, ROWS])
    assert_close(twice, once, 1e-5)  # twice the rows over twice the targets


def test_nothing_is_kept_for_backward_without_gradients(bench: Build, table_of: Build) -> None:
    ours = bench("llama")
    before = {name: p.grad.clone() for name, p in trainable_parameters(ours.model)}
    ours.logits(table_of(LENGTHS), ROWS)
    assert all(torch.equal(p.grad, before[n]) for n, p in trainable_parameters(ours.model))


@pytest.mark.parametrize(
    ("family", "adapter", "changes", "reason"),
    [
        ("gemma3_text", Full(), {}, "family gemma3_text"),
        ("llama", Full(), {"mlp_bias": True}, "biases in the feed-forward part"),
        ("llama", Full(), {"attention_bias": True}, "a bias behind attention"),
        ("llama", Full(), {"hidden_act": "gelu"}, "another activation"),
        ("llama", Full(), {"attention_dropout": 0.1}, "attention dropout"),
        ("llama", Lora(rank=2, dropout=0.1), {}, "dropout in adapters"),
    ],
)
def test_models_of_another_shape_take_the_modules_of_transformers(
    plain: Build, family: str, adapter: Full | Lora, changes: dict[str, Any], reason: str
) -> None:
    model = plain(family, adapter, **changes)
    assert why_not_fused(model, decoder_of(model)) == reason


def test_other_types_take_the_modules_of_transformers(plain: Build) -> None:
    model = plain("llama").bfloat16()
    assert why_not_fused(model, decoder_of(model)) == "a type other than float32"
