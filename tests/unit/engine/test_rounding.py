"""Weights in bfloat16 without exact copies: rounding is right on average, and can be repeated."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tunesmith.engine.arena import Arena, ParameterGroup, gradient_of
from tunesmith.engine.checkpoint import _load_states, _optimizer_tensors
from tunesmith.engine.optimizer import Optimizers, build_optimizer, set_rate
from tunesmith.engine.optimizers import base
from tunesmith.engine.optimizers.rounding import round_stochastically, rounding_key
from tunesmith.recipe import Optimizer

KINDS = ("adamw", "adamw_8bit", "adam_mini", "galore", "apollo")
SHAPES = {"layers.0.up": (6, 10), "layers.1.down": (300, 4), "embed_tokens": (8, 4)}
MANY = 1 << 20


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("value", [1.0, -1.0, 3e-30, -777.0])
def test_a_value_is_rounded_to_its_neighbours_as_often_as_it_is_near_them(
    value: float, share: float
) -> None:
    low = torch.tensor(value).to(torch.bfloat16)
    high = (low.view(torch.int16) + 1).view(torch.bfloat16)  # away from zero
    between = low.float() + share * (high.float() - low.float())
    rounded = round_stochastically(between.expand(MANY), rounding_key(1, 2, "weight"))
    assert rounded.dtype == torch.bfloat16
    is_high = rounded == high
    assert bool((is_high | (rounded == low)).all())
    deviation = (share * (1 - share) / MANY) ** 0.5
    assert abs(float(is_high.float().mean()) - share) < 5 * deviation


def test_numbers_of_bfloat16_stay_and_so_does_what_is_no_number() -> None:
    exact = random(10_000).to(torch.bfloat16)
    key = rounding_key(1, 1, "weight")
    assert torch.equal(round_stochastically(exact.float(), key), exact)
    odd = torch.tensor([float("inf"), float("-inf"), float("nan"), 0.0, -0.0])
    kept = round_stochastically(odd, key).float()
    assert torch.equal(kept[[0, 1, 3, 4]], odd[[0, 1, 3, 4]])
    assert bool(kept[2].isnan())


def test_chance_depends_on_seed_update_parameter_and_place() -> None:
    values = random(1000)
    first = round_stochastically(values, rounding_key(1, 1, "a"))
    assert torch.equal(first, round_stochastically(values, rounding_key(1, 1, "a")))
    others = [(2, 1, "a"), (1, 2, "a"), (1, 1, "b")]
    for other in others:
        assert not torch.equal(first, round_stochastically(values, rounding_key(*other)))
    assert not torch.equal(first, round_stochastically(values, rounding_key(1, 1, "a"), start=1))
    parts = [
        round_stochastically(values[at : at + 300], rounding_key(1, 1, "a"), start=at)
        for at in range(0, 1000, 300)
    ]
    assert torch.equal(torch.cat(parts), first)


def made(
    kind: str, *, exact: bool = False, names: tuple[str, ...] = tuple(SHAPES), **settings: Any
) -> tuple[Arena, Optimizers]:
    """Two matrices of layers, a table of words and a vector, in bfloat16."""

    def parameter(values: Tensor) -> nn.Parameter:
        return nn.Parameter(values.to(torch.bfloat16))

    matrices = [(n, parameter(random(*SHAPES[n], seed=1))) for n in names]
    vectors = [("layers.0.norm", parameter(torch.ones(10)))]
    groups = [
        ParameterGroup("matrices", tuple(matrices), 1.0, 0.1),
        ParameterGroup("vectors", tuple(vectors), 2.0, 0.0),
    ]
    arena = Arena(groups, exact=exact)
    chosen = Optimizer.model_validate({"kind": kind, "projection_rank": 2, **settings})
    return arena, build_optimizer(arena, chosen, seed=7)


def step(arena: Arena, optimizer: Optimizers, number: int, rate: float = 1e-4) -> None:
    for place, group in enumerate(arena.groups):
        for other, (name, _) in enumerate(sorted(group.views())):
            view = dict(group.views())[name]
            seed = 1000 * number + 10 * place + other
            gradient_of(view).copy_(random(*view.shape, seed=seed))
    set_rate(optimizer, rate)
    optimizer.step()


def weights(arena: Arena) -> dict[str, Tensor]:
    return {name: view for group in arena.groups for name, view in group.views()}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_have_no_exact_copy_and_go_on_from_a_checkpoint_to_the_last_bit(kind: str) -> None:
    arena, optimizer = made(kind, projection_gap=2)
    assert all(group.flat.dtype == torch.bfloat16 for group in arena.groups)
    assert not any(group.is_rounded for group in arena.groups)
    for number in (1, 2, 3):
        step(arena, optimizer, number)
    saved = {name: value.clone() for name, value in _optimizer_tensors(arena, optimizer).items()}
    assert not any(name.endswith(".exact") for name in saved)
    other, again = made(kind, projection_gap=2)
    for mine, theirs in zip(other.groups, arena.groups, strict=True):
        mine.flat.copy_(theirs.flat)
    _load_states(saved, again)
    for number in (4, 5):
        step(arena, optimizer, number)
        step(other, again, number)
    for mine, theirs in zip(other.groups, arena.groups, strict=True):
        assert torch.equal(mine.flat, theirs.flat)


@pytest.mark.parametrize("kind", ["adamw", "adam_mini"])
def test_what_lies_beside_a_parameter_changes_none_of_its_bits(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = made(kind)
    other = made(kind, names=tuple(reversed(SHAPES)))
    for number in (1, 2, 3):
        step(*one, number)
    monkeypatch.setattr(base, "STRETCH", 7)
    for number in (1, 2, 3):
        step(*other, number)
    mine, theirs = weights(one[0]), weights(other[0])
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("kind", KINDS)
def test_training_without_copies_is_that_with_copies_on_average(kind: str) -> None:
    """After some steps the weights differ by what rounding adds, and not to one side."""
    short, exact = made(kind), made(kind, exact=True)
    for number in range(1, 11):
        step(*short, number)
        step(*exact, number)
    mine, theirs = (
        torch.cat([view.flatten().float() for view in weights(each[0]).values()])
        for each in (short, exact)
    )
    spacing = theirs.abs() * 2.0**-7
    errors = (mine - theirs) / spacing
    assert float(errors.abs().max()) < 6
    assert abs(float(errors.mean())) < 5 * float(errors.std()) / len(errors) ** 0.5


def test_updates_that_rounding_to_nearest_loses_add_up() -> None:
    """At a weight of 1 the neighbours of bfloat16 are 0.0039 and 0.0078 away; a step is 0.0001."""
    weight = nn.Parameter(torch.ones(4096, 1, dtype=torch.bfloat16))
    arena = Arena([ParameterGroup("matrices", (("w", weight),), 1.0, 0.0)], exact=False)
    optimizer = build_optimizer(arena, Optimizer(), seed=1)
    nearest = torch.ones(1, dtype=torch.bfloat16)
    set_rate(optimizer, 1e-4)
    for _ in range(100):
        arena.groups[0].grad.fill_(-1.0)  # Adam's step is the rate itself
        optimizer.step()
        nearest += 1e-4
    assert float(nearest) == 1.0
    moved = weight.detach().float() - 1
    assert float(moved.mean()) == pytest.approx(0.01, rel=0.05)
    assert weight.data.data_ptr() == arena.groups[0].flat.data_ptr()
