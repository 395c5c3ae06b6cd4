"""One optimizer step in bfloat16 on the GPU: exact weights, float32 adapters, any micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.data.table import TokenTable
from tunesmith.engine.batch import flat_batch
from tunesmith.engine.dropout import DropoutKeys, RowDropout
from tunesmith.engine.offload import Offload
from tunesmith.recipe import Full, Lora

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = "cuda"
ADAPTERS = [Full(), Lora(rank=4, alpha=8), Lora(rank=4, alpha=8, dropout=0.2)]
NAMES = ["full", "lora", "lora with dropout"]
Build = Callable[..., Any]


def relative_error(one: Tensor, other: Tensor) -> float:
    one, other = one.double().cpu(), other.double().cpu()
    return float((one - other).norm() / other.norm())


def frozen_weights(model: Any) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}


def test_adapters_stay_in_float32_over_a_bfloat16_base(bench: Build, table: TokenTable) -> None:
    tuned = bench(Lora(rank=4, alpha=8), device=DEVICE)
    before = frozen_weights(tuned.model)
    assert {p.dtype for p in before.values()} == {torch.bfloat16}
    assert {p.dtype for p in tuned.model.parameters() if p.requires_grad} == {torch.float32}
    losses = [tuned.step(table, 0.01, number) for number in (1, 2, 3)]
    assert losses[2] < losses[0]
    after = frozen_weights(tuned.model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_full_tuning_keeps_exact_weights_and_computes_with_their_image(
    bench: Build, table: TokenTable
) -> None:
    tuned = bench(Full(), device=DEVICE)
    losses = [tuned.step(table, 0.003, number) for number in (1, 2, 3)]
    assert losses[2] < losses[0]
    for group in tuned.arena.groups:
        assert group.is_rounded
        assert group.flat.dtype == torch.float32
        parameters = dict(tuned.model.named_parameters())
        image = torch.cat([parameters[name].flatten() for name, _ in group.entries])
        assert image.dtype == torch.bfloat16
        assert torch.equal(image, group.flat.to(torch.bfloat16))
        assert not torch.equal(image.float(), group.flat)


def test_updates_too_small_for_bfloat16_add_up(bench: Build, table: TokenTable) -> None:
    tuned = bench(Full(), device=DEVICE)
    start = [group.flat.clone() for group in tuned.arena.groups]
    for number in range(1, 4):
        tuned.step(table, 1e-7, number)
    moved = [
        float((group.flat - before).abs().max())
        for group, before in zip(tuned.arena.groups, start, strict=True)
    ]
    assert 1e-7 < max(moved) < 1e-6


@pytest.mark.parametrize("adapter", ADAPTERS, ids=NAMES)
def test_micro_batches_do_not_change_the_step(
    bench: Build, table: TokenTable, adapter: Full | Lora
) -> None:
    tuned = bench(adapter, device=DEVICE)
    loss, gradient = tuned.loss_and_gradients(table, [[0, 1, 2, 3]])
    for groups in ([[0], [1], [2], [3]], [[2, 0], [3, 1]]):
        other_loss, other = tuned.loss_and_gradients(table, groups)
        assert other_loss == pytest.approx(loss, rel=2e-3)
        assert relative_error(other, gradient) < 2e-2


@pytest.mark.parametrize("adapter", ADAPTERS, ids=NAMES)
def test_the_gpu_computes_what_the_cpu_computes(
    bench: Build, table: TokenTable, adapter: Full | Lora
) -> None:
    groups = [[0, 1, 2, 3]]
    cpu = bench(adapter, dtype=torch.float32, device="cpu")
    loss, expected = cpu.loss_and_gradients(table, groups)
    for dtype, tolerance in ((torch.float32, 1e-3), (torch.bfloat16, 5e-2)):
        gpu_loss, gradient = bench(adapter, dtype=dtype, device=DEVICE).loss_and_gradients(
            table, groups
        )
        assert gpu_loss == pytest.approx(loss, rel=tolerance)
        assert relative_error(gradient, expected) < tolerance


def test_activation_checkpointing_changes_nothing(bench: Build, table: TokenTable) -> None:
    adapter = Lora(rank=4, alpha=8, dropout=0.2)
    groups = [[0, 1], [2, 3]]
    plain = bench(adapter, device=DEVICE).loss_and_gradients(table, groups)
    saving = bench(adapter, device=DEVICE, checkpointing=1).loss_and_gradients(table, groups)
    assert saving[0] == pytest.approx(plain[0], rel=1e-4)
    assert relative_error(saving[1], plain[1]) < 1e-2


@pytest.mark.parametrize("checkpointing", [0, 1], ids=["kept", "computed twice"])
@pytest.mark.parametrize("adapter", ADAPTERS, ids=NAMES)
def test_activations_in_main_memory_take_less_of_the_gpu_and_change_nothing(
    bench: Build, table: TokenTable, adapter: Full | Lora, checkpointing: int
) -> None:
    groups = [[0, 1, 2, 3] * 16]
    how = {"device": DEVICE, "layers": 16, "checkpointing": checkpointing}

    def measured(**more: Any) -> tuple[float, Tensor, int]:
        tuned = bench(adapter, **how, **more)
        tuned.loss_and_gradients(table, groups)  # libraries take memory of their own at first
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loss, gradient = tuned.loss_and_gradients(table, groups)
        return loss, gradient, torch.cuda.max_memory_allocated() - before

    loss, gradient, peak = measured()
    again = measured()[1]
    offload = Offload(least_bytes=1 << 14)
    other_loss, other, less = measured(offload=offload)
    assert other_loss == loss
    # The same bits, where the kernels give the same bits twice.
    assert relative_error(other, gradient) <= 2 * relative_error(again, gradient)
    inputs = 16 * sum(table.lengths) * 64 * 2  # of one layer
    left = offload.num_bytes / 2  # in each of the two passes
    assert left >= 16 * inputs
    assert peak - less > (0.5 if checkpointing else 0.7) * 16 * inputs


def test_dropout_has_the_same_masks_as_on_the_cpu(table: TokenTable) -> None:
    masks: list[Tensor] = []
    for device in ("cpu", DEVICE):
        batch = flat_batch(table, [2, 0], torch.device(device))
        keys = DropoutKeys(7)
        keys.set(3, batch)
        layer = RowDropout(0.25, 5, keys).train()
        masks.append(layer(torch.ones(1, batch.num_tokens, 64, device=device)).cpu())
    assert torch.equal(*masks)
    assert 0.2 < float((masks[0] == 0).float().mean()) < 0.3
