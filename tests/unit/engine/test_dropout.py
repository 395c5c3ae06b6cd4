"""Dropout depends on seed, step, row, position and layer, and on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.engine.backbone import decoder_of
from tunesmith.engine.batch import FlatBatch, flat_batch
from tunesmith.engine.dropout import (
    DropoutKeys,
    RowDropout,
    RowNoise,
    add_row_noise,
    key_dropout_by_row,
    set_training,
)
from tunesmith.recipe import Lora

Build = Callable[..., Any]
CPU = torch.device("cpu")
DROPPED = Lora(rank=4, alpha=8, dropout=0.3)


def kept(keys: DropoutKeys, batch: FlatBatch, *, step: int = 1, number: int = 0) -> Tensor:
    """Which values of a row of ones are kept, [T, 64]."""
    keys.set(step, batch)
    dropout = RowDropout(0.3, number, keys)
    return dropout(torch.ones(1, batch.num_tokens, 64))[0] != 0


def test_masks_do_not_depend_on_how_rows_are_grouped(table_of: Build) -> None:
    table = table_of([5, 9, 3])
    keys = DropoutKeys(seed=42)
    together = kept(keys, flat_batch(table, [0, 1, 2], CPU))
    apart = [kept(keys, flat_batch(table, [row], CPU)) for row in (0, 1, 2)]
    assert torch.equal(together, torch.cat(apart))
    other_order = kept(keys, flat_batch(table, [2, 0, 1], CPU))
    assert torch.equal(other_order, torch.cat([apart[2], apart[0], apart[1]]))


def test_every_step_row_position_layer_and_seed_has_a_mask_of_its_own(table_of: Build) -> None:
    batch = flat_batch(table_of([9, 9]), [0, 1], CPU)
    keys = DropoutKeys(seed=42)
    mask = kept(keys, batch)
    assert not torch.equal(mask[:9], mask[9:])
    assert len({tuple(line.tolist()) for line in mask}) == 18
    assert torch.equal(mask, kept(keys, batch))
    assert not torch.equal(mask, kept(keys, batch, step=2))
    assert not torch.equal(mask, kept(DropoutKeys(seed=43), batch))
    # Numbers of layers as large models have them, products of which pass the end of int64.
    masks = [kept(keys, batch, number=number) for number in (0, 1, 2, 3, 400)]
    assert all(
        not torch.equal(mask, other) for mask in masks for other in masks if other is not mask
    )


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
def test_the_share_that_is_dropped_is_p_and_the_mean_stays(table_of: Build, p: float) -> None:
    batch = flat_batch(table_of([200, 300]), [0, 1], CPU)
    keys = DropoutKeys(seed=1)
    keys.set(3, batch)
    out = RowDropout(p, 7, keys)(torch.ones(1, 500, 256))
    assert float((out == 0).float().mean()) == pytest.approx(p, abs=0.01)
    assert float(out.mean()) == pytest.approx(1, abs=0.02 / (1 - p))
    # Nor is it more in some features than in others.
    by_feature = (out[0] == 0).float().mean(0)
    assert float(by_feature.std()) == pytest.approx((p * (1 - p) / 500) ** 0.5, rel=0.3)


def test_neighbours_are_independent(table_of: Build) -> None:
    batch = flat_batch(table_of([2000]), [0], CPU)
    values = kept(DropoutKeys(seed=9), batch).double() - 0.7
    for shifted in (values.roll(1, 0), values.roll(1, 1), values.roll((1, 1), (0, 1))):
        assert abs(float((values * shifted).mean())) < 0.005


def test_nothing_is_dropped_outside_of_training(bench: Build, table_of: Build) -> None:
    ours = bench("llama", DROPPED)
    table = table_of([12, 8])
    set_training(ours.model, False)
    before = ours.logits(table, [0, 1])
    ours.loss_and_gradients(table, [[0, 1]])
    set_training(ours.model, False)
    assert all(torch.equal(a, b) for a, b in zip(before, ours.logits(table, [0, 1]), strict=True))


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3"])
def test_a_step_with_dropout_has_the_same_gradients_however_it_is_cut(
    bench: Build, table_of: Build, family: str
) -> None:
    ours = bench(family, DROPPED)
    table = table_of([12, 8, 30])
    loss, together = ours.loss_and_gradients(table, [[0, 1, 2]], step=5)
    again, cut = ours.loss_and_gradients(table, [[2], [0, 1]], step=5)
    assert again == pytest.approx(loss, rel=1e-6)
    for name, gradient in together.items():
        scale = float(gradient.abs().max()) + 1e-3
        assert float((cut[name] - gradient).abs().max()) / scale < 1e-5
    other, _ = ours.loss_and_gradients(table, [[0, 1, 2]], step=6)
    assert other != pytest.approx(loss, rel=1e-4)


def test_a_model_has_no_other_dropout_left(plain: Build) -> None:
    model = plain("gpt2", DROPPED, attn_pdrop=0.5, resid_pdrop=0.5, embd_pdrop=0.5)
    model.train()
    key_dropout_by_row(model, seed=1)
    set_training(model, True)
    active = [m for m in model.modules() if isinstance(m, torch.nn.Dropout) and m.training]
    assert not [m for m in active if m.p > 0]
    masks = [m for m in model.modules() if isinstance(m, RowDropout)]
    assert len(masks) == 8  # four layers of weights in each of two blocks
    assert len({m.number for m in masks}) == len(masks)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_dropout_and_noise_are_the_same_one_document_at_a_time(
    bench: Build, table_of: Build, attention: str, checkpointing: bool
) -> None:
    """Attention functions that know no documents meet the same masks as the flat layout."""
    table = table_of([12, 8, 30])
    made: list[tuple[float, dict[str, Tensor]]] = []
    for how in ({}, {"attention": attention, "checkpointing": checkpointing}):
        ours = bench("llama", DROPPED, **how)
        add_row_noise(decoder_of(ours.model), 5.0, ours.dropout)
        made.append(ours.loss_and_gradients(table, [[0, 2], [1]], step=5))
    (loss, gradients), (other_loss, others) = made
    assert other_loss == pytest.approx(loss, rel=1e-6)
    for name, gradient in gradients.items():
        scale = float(gradient.abs().max()) + 1e-3
        assert float((others[name] - gradient).abs().max()) / scale < 1e-5


def test_noise_is_uniform_and_as_large_as_the_paper_says(table_of: Build) -> None:
    """Jain and others 2023: uniform in +-1, times alpha / sqrt(tokens of the row x width)."""
    batch = flat_batch(table_of([400, 100]), [0, 1], CPU)
    keys = DropoutKeys(seed=1)
    keys.set(3, batch)
    noise = RowNoise(5.0, keys)(torch.zeros(500, 64))
    for row, length in ((noise[:400], 400), (noise[400:], 100)):
        most = 5 / (length * 64) ** 0.5
        assert float(row.abs().max()) == pytest.approx(most, rel=0.01)
        assert float(row.abs().max()) <= most
        assert float(row.std()) == pytest.approx(most / 3**0.5, rel=0.02)
        assert abs(float(row.mean())) < 0.03 * most


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_noise_is_there_in_training_only_and_does_not_depend_on_grouping(
    bench: Build, table_of: Build, family: str
) -> None:
    table = table_of([12, 8])
    quiet, ours = bench(family), bench(family)
    add_row_noise(decoder_of(ours.model), 5.0, ours.dropout)
    loss, gradients = ours.loss_and_gradients(table, [[0, 1]], step=2)
    again, _ = ours.loss_and_gradients(table, [[1], [0]], step=2)
    assert again == pytest.approx(loss, rel=1e-6)
    assert loss != pytest.approx(quiet.loss_and_gradients(table, [[0, 1]])[0], rel=1e-5)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients.values())
    set_training(ours.model, False)
    for mine, theirs in zip(ours.logits(table, [0, 1]), quiet.logits(table, [0, 1]), strict=True):
        assert torch.equal(mine, theirs)
