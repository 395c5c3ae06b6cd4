"""Every family that users ask for: the numbers of plain transformers, and it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from tunesmith.engine.adapter import trainable_parameters
from tunesmith.engine.backbone import decoder_of
from tunesmith.engine.fused import why_not_fused
from tunesmith.engine.optimizer import build_optimizer, set_rate
from tunesmith.recipe import Full, Lora, Optimizer

Build = Callable[..., Any]
FAMILIES = (
    "llama", "qwen2", "qwen3", "mistral", "gemma3_text",
    "phi3", "glm4", "qwen3_moe", "deepseek_v3", "olmo2", "gpt2",
)  # fmt: skip
FUSED = ("llama", "qwen2", "qwen3", "mistral")
ADAPTERS = {"full": Full(), "lora": Lora(rank=4, alpha=8)}
# Rows in one micro-batch, a row of one token and a row without a label among them.
LENGTHS = [9, 1, 70, 33, 140, 2]

every_family = pytest.mark.parametrize("family", FAMILIES)
every_adapter = pytest.mark.parametrize("adapter", ADAPTERS)


def assert_close(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Equal to 1e-5 of the largest value of each tensor."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(float(value.abs().max()), 1e-3)
        difference = float((actual[name] - value).abs().max()) / scale
        assert difference < 1e-5, f"{name}: {difference:.1e} of {scale:.1e}"


@every_adapter
@every_family
def test_loss_and_every_gradient_are_those_of_plain_transformers(
    bench: Build, plain: Build, reference: Build, table_of: Build, family: str, adapter: str
) -> None:
    table = table_of(LENGTHS)
    rows = list(range(len(LENGTHS)))
    ours = bench(family, ADAPTERS[adapter])
    loss, gradients = ours.loss_and_gradients(table, [rows])
    expected_loss, expected = reference(plain(family, ADAPTERS[adapter]), table, rows)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_close(gradients, expected)
    assert sum(float(g.square().sum()) for g in gradients.values()) > 0


@every_family
def test_the_flat_layout_gives_the_logits_of_separate_documents(
    bench: Build, plain: Build, table_of: Build, family: str
) -> None:
    table = table_of(LENGTHS)
    rows = list(range(len(LENGTHS)))
    packed = bench(family).logits(table, rows)
    model = plain(family)
    for row in rows:
        ids = torch.from_numpy(table.row(row)[0].astype("int64"))
        with torch.no_grad():
            expected = model(ids[None]).logits[0]
        assert torch.allclose(packed[row], expected, atol=1e-5), f"row {row}"


@every_family
def test_a_document_never_sees_another_one(bench: Build, table_of: Build, family: str) -> None:
    ours = bench(family)
    first = table_of([40, 50])
    ids = first.ids.copy()
    ids[:40] = ids[:40][::-1]
    second = replace(first, ids=ids)
    before, after = ours.logits(first, [0, 1]), ours.logits(second, [0, 1])
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


@every_adapter
@every_family
def test_three_steps_bring_the_loss_down(
    bench: Build, table_of: Build, family: str, adapter: str
) -> None:
    ours = bench(family, ADAPTERS[adapter])
    table = table_of([30, 40, 50])
    optimizer = build_optimizer(ours.arena, Optimizer())
    losses: list[float] = []
    for step in range(1, 5):
        loss, _ = ours.loss_and_gradients(table, [[0, 1], [2]], step)
        losses.append(loss)
        assert float(ours.arena.clip(1.0)) > 0
        set_rate(optimizer, 1e-3)
        optimizer.step()
        ours.arena.publish()
        ours.backbone.refresh()
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.01


@every_adapter
@every_family
def test_packed_rows_have_the_gradients_of_separate_micro_batches(
    bench: Build, table_of: Build, family: str, adapter: str
) -> None:
    ours = bench(family, ADAPTERS[adapter])
    table = table_of(LENGTHS)
    packed_loss, packed = ours.loss_and_gradients(table, [[0, 1, 2, 3, 4, 5]])
    loss, separate = ours.loss_and_gradients(table, [[0], [1], [2], [3], [4], [5]])
    assert packed_loss == pytest.approx(loss, rel=1e-6)
    assert_close(packed, separate)


@every_family
def test_the_fused_decoder_serves_the_llama_shaped_families(plain: Build, family: str) -> None:
    model = plain(family, Lora(rank=2))
    assert (why_not_fused(model, decoder_of(model)) is None) == (family in FUSED)


@every_family
def test_every_weight_is_trained(plain: Build, family: str) -> None:
    model = plain(family)
    assert len(trainable_parameters(model)) == len(list(model.parameters()))
