"""The fused update over flat memory is torch's AdamW, whatever the micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.engine.adapter import is_lora_b, takes_decay, trainable_parameters
from tunesmith.engine.arena import Arena
from tunesmith.engine.optimizer import build_optimizer, parameter_groups, set_rate
from tunesmith.recipe import Full, Lora, Optimizer

Build = Callable[..., Any]
LENGTHS = [9, 1, 70, 33, 40, 2]
SETTINGS = Optimizer(weight_decay=0.1, beta1=0.8, beta2=0.95, epsilon=1e-7)


def trained(
    ours: Any, table: Any, groups: Sequence[Sequence[int]], *, steps: int = 3, clip: float = 1.0
) -> dict[str, Tensor]:
    """The weights after some steps over the same rows."""
    optimizer = build_optimizer(ours.arena, SETTINGS)
    for step in range(1, steps + 1):
        ours.loss_and_gradients(table, groups, step)
        ours.arena.clip(clip)
        set_rate(optimizer, 1e-3 * step)
        optimizer.step()
        ours.arena.publish()
        ours.backbone.refresh()
    return {name: p.detach().clone() for name, p in trainable_parameters(ours.model)}


@pytest.mark.parametrize("adapter", [Full(), Lora(rank=4, alpha=8)], ids=["full", "lora"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_three_steps_are_those_of_torch_on_plain_transformers(
    bench: Build, plain: Build, reference: Build, table_of: Build, family: str, adapter: Full | Lora
) -> None:
    """One step, then three: parameters as in a loop of nothing but torch and transformers."""
    table = table_of(LENGTHS)
    rows = list(range(len(LENGTHS)))
    found = trained(bench(family, adapter, weight_decay=0.1), table, [rows[:3], rows[3:]])
    model = plain(family, adapter)
    named = trainable_parameters(model)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in named if takes_decay(n, p)], "weight_decay": 0.1},
            {"params": [p for n, p in named if not takes_decay(n, p)], "weight_decay": 0.0},
        ],
        betas=(0.8, 0.95),
        eps=1e-7,
    )
    for step in (1, 2, 3):
        optimizer.zero_grad()
        reference(model, table, rows)
        torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * step
        optimizer.step()
    # Where a gradient is next to nothing, Adam turns its rounding into a step of its own.
    differences = torch.cat([(found[n] - p.detach()).abs().flatten() for n, p in named])
    assert float(differences.mean()) < 1e-7
    assert float((differences > 1e-5).float().mean()) < 0.01


@pytest.mark.parametrize("adapter", [Full(), Lora(rank=4, alpha=8)], ids=["full", "lora"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_accumulated_micro_batches_make_the_update_of_one_batch(
    bench: Build, table_of: Build, family: str, adapter: Full | Lora
) -> None:
    """bs1 x GA8 = bs8, to 1e-6 of the update."""
    table = table_of(LENGTHS)
    before = {n: p.detach().clone() for n, p in trainable_parameters(bench(family, adapter).model)}

    def update(groups: Sequence[Sequence[int]]) -> Tensor:
        after = sgd(bench(family, adapter), table, groups)
        return torch.cat([(after[name] - before[name]).flatten() for name in before])

    whole = update([[0, 1, 2, 3, 4, 5]])
    for groups in ([[row] for row in range(6)], [[5, 4], [0], [1, 2, 3]]):
        assert float((update(groups) - whole).norm() / whole.norm()) < 2e-6


def sgd(ours: Any, table: Any, groups: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """One step along the gradient itself: Adam would magnify the rounding of tiny gradients."""
    ours.loss_and_gradients(table, groups)
    for group in ours.arena.groups:
        group.flat.sub_(group.grad)
    return {name: p.detach().clone() for name, p in trainable_parameters(ours.model)}


def test_a_wrong_normalisation_would_be_seen(bench: Build, table_of: Build) -> None:
    """Negative control: the mean of the micro-batches' means is another number."""
    ours = bench("llama")
    table = table_of(LENGTHS)
    right, _ = ours.loss_and_gradients(table, [[0, 1, 2, 3, 4, 5]])
    means = [ours.loss_and_gradients(table, [[row]])[0] for row in (0, 2, 3, 4, 5)]
    assert abs(sum(means) / len(means) - right) > 1e-3


def test_groups_have_their_rate_and_their_decay(plain: Build) -> None:
    """B7: LoRA+ trains B at a multiple of the rate of A."""
    model = plain("llama", Lora(rank=4))
    groups = parameter_groups(trainable_parameters(model), weight_decay=0.1, loraplus_ratio=16)
    arena = Arena(groups)
    factors = {group.name: group.rate_factor for group in arena.groups}
    assert factors == {"matrices": 1.0, "b": 16.0}
    optimizer = build_optimizer(arena, SETTINGS)
    set_rate(optimizer, 1e-4)
    rates = {g["rate_factor"]: g["lr"] for g in optimizer.param_groups}
    assert rates == {1.0: pytest.approx(1e-4), 16.0: pytest.approx(16e-4)}
    for group in groups:
        assert all(is_lora_b(name) == (group.name == "b") for name, _ in group.parameters)
    assert sum(len(group.parameters) for group in groups) == len(trainable_parameters(model))


def test_vectors_do_not_decay_in_any_family(plain: Build, families: tuple[str, ...]) -> None:
    for family in families:
        groups = parameter_groups(
            trainable_parameters(plain(family)), weight_decay=0.1, loraplus_ratio=1
        )
        decays = {group.name: group.weight_decay for group in groups}
        assert decays["vectors"] == 0
        vectors = next(group for group in groups if group.name == "vectors")
        assert vectors.parameters
        assert all(p.ndim == 1 for _, p in vectors.parameters), family
        named = [name for group in groups for name, _ in group.parameters]
        assert len(named) == len(set(named)) == len(trainable_parameters(plain(family)))
