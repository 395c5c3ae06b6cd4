"""Every way through a model gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tunesmith.engine.backbone import ModuleDecoder, SeparateDecoder, decoder_of
from tunesmith.engine.fused import FusedDecoder
from tunesmith.recipe import Full, Lora

Build = Callable[..., Any]
LENGTHS = [9, 1, 70, 33]
ROWS = [0, 1, 2, 3]
MODULES = ("gemma3_text", "phi3", "glm4", "qwen3_moe", "deepseek_v3", "olmo2", "gpt2")


def assert_close(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, value in expected.items():
        scale = max(float(value.abs().max()), 1e-3)
        assert float((actual[name] - value).abs().max()) / scale < 1e-5, name


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt2"])
def test_other_attention_functions_see_one_document_at_a_time(
    bench: Build, table_of: Build, family: str, attention: str
) -> None:
    table = table_of(LENGTHS)
    flat, separate = bench(family), bench(family, attention=attention)
    assert isinstance(separate.backbone, SeparateDecoder)
    loss, gradients = flat.loss_and_gradients(table, [ROWS])
    other_loss, others = separate.loss_and_gradients(table, [ROWS])
    assert other_loss == pytest.approx(loss, rel=1e-6)
    assert_close(others, gradients)


def test_families_with_capped_scores_train_with_eager_attention(table_of: Build) -> None:
    """Gemma 2 caps its attention scores, which flat attention refuses."""
    import transformers

    from tunesmith.engine.backbone import build_backbone
    from tunesmith.engine.batch import flat_batch

    config = transformers.Gemma2Config(
        vocab_size=264, hidden_size=32, intermediate_size=64, num_hidden_layers=2, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, pad_token_id=0, attn_logit_softcapping=1.0,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    batch = flat_batch(table_of([5, 7]), [0, 1], torch.device("cpu"))
    backbone = build_backbone(model.eval(), attention="eager")
    with torch.no_grad():
        packed = backbone(batch.ids_T, batch.positions_T, batch.documents)
        alone = decoder_of(model)(batch.ids_T[None, 5:]).last_hidden_state[0]
    assert torch.allclose(packed[5:], alone, atol=1e-6)


def calls_of_the_first_attention(model: Any) -> list[int]:
    """Grows by one each time that the first layer attends."""
    calls: list[int] = []
    decoder = decoder_of(model)
    layer = decoder.h[0] if hasattr(decoder, "h") else decoder.layers[0]
    attention = layer.attn if hasattr(layer, "attn") else layer.self_attn
    attention.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_activation_checkpointing_works_with_other_attention_functions_too(
    bench: Build, table_of: Build
) -> None:
    ours = bench("llama", attention="sdpa", checkpointing=1)
    calls = calls_of_the_first_attention(ours.model)
    ours.loss_and_gradients(table_of([5, 9]), [[0, 1]])
    assert len(calls) == 4


@pytest.mark.parametrize("adapter", [Full(), Lora(rank=4, alpha=8)], ids=["full", "lora"])
@pytest.mark.parametrize("family", MODULES)
def test_activation_checkpointing_of_modules_saves_memory_and_changes_nothing(
    bench: Build, table_of: Build, family: str, adapter: Full | Lora
) -> None:
    """PERFORMANCE 6: AC on = off; and on is really on."""
    table = table_of(LENGTHS)
    kept = bench(family, adapter).loss_and_gradients(table, [ROWS])
    ours = bench(family, adapter, checkpointing=1)
    assert isinstance(ours.backbone, ModuleDecoder)
    calls = calls_of_the_first_attention(ours.model)
    loss, gradients = ours.loss_and_gradients(table, [ROWS])
    assert len(calls) == 2, "the forward pass of a layer runs again in backward"
    assert loss == kept[0]
    assert_close(gradients, kept[1])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_every_second_layer_keeps_its_activations_and_changes_nothing(
    bench: Build, table_of: Build, family: str
) -> None:
    """Fused and through modules: the same bits, with bytes for backward between none and all."""
    table, held, found = table_of(LENGTHS), [], []
    for every in (0, 2, 1):
        ours = bench(family, checkpointing=every)
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            found.append(ours.loss_and_gradients(table, [ROWS]))
        held.append(sum(kept.values()))
    assert held[0] > held[1] > held[2]
    for loss, gradients in found[1:]:
        assert loss == found[0][0]
        assert all(torch.equal(gradients[name], found[0][1][name]) for name in gradients)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_checkpointing_leaves_evaluation_alone(bench: Build, table_of: Build, family: str) -> None:
    table = table_of(LENGTHS)
    with_it, without = bench(family, checkpointing=1), bench(family)
    for a, b in zip(with_it.logits(table, ROWS), without.logits(table, ROWS), strict=True):
        assert torch.equal(a, b)


def test_the_fastest_exact_way_is_taken(bench: Build) -> None:
    assert isinstance(bench("llama").backbone, FusedDecoder)
    assert isinstance(bench("llama", Lora(rank=2)).backbone, FusedDecoder)
    assert isinstance(bench("llama", Lora(rank=2, dropout=0.1)).backbone, ModuleDecoder)
    assert isinstance(bench("gemma3_text").backbone, ModuleDecoder)


def test_fused_and_modules_agree(
    bench: Build, table_of: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.engine import backbone

    table = table_of(LENGTHS)
    fused_loss, fused = bench("qwen3").loss_and_gradients(table, [ROWS])
    monkeypatch.setattr(backbone, "why_not_fused", lambda *_: "for comparison")
    ours = bench("qwen3")
    assert isinstance(ours.backbone, ModuleDecoder)
    loss, gradients = ours.loss_and_gradients(table, [ROWS])
    assert loss == pytest.approx(fused_loss, rel=1e-6)
    assert_close(fused, gradients)
