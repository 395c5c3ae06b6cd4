"""Flat memory: parameters and gradients are views, and one long tensor acts for all of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tunesmith.engine.arena import Arena, ParameterGroup, gradient_of, join_rows, joined
from tunesmith.engine.optimizer import parameter_groups


def small_model(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype)


def arena_of(model: nn.Module, weight_decay: float = 0.1) -> Arena:
    return Arena(
        parameter_groups(model.named_parameters(), weight_decay=weight_decay, loraplus_ratio=1.0)
    )


def backward(model: nn.Module, scale: float = 1.0) -> None:
    x = torch.linspace(-1, 1, 20).view(5, 4).to(next(model.parameters()).dtype)
    (model(x).square().sum() * scale).backward()


def gradients_without(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    model = small_model(dtype)
    backward(model)
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def test_values_stay_and_become_views_of_flat_memory() -> None:
    model, same = small_model(), small_model()
    arena = arena_of(model)
    for (name, mine), theirs in zip(model.named_parameters(), same.parameters(), strict=True):
        assert torch.equal(mine, theirs), name
    matrices = next(group for group in arena.groups if group.name == "matrices")
    matrices.flat.fill_(7)
    assert bool((model[0].weight == 7).all())
    assert bool((model[2].weight == 7).all())
    assert not bool((model[0].bias == 7).any())


def test_gradients_of_autograd_land_in_flat_memory_and_add_up() -> None:
    model = small_model()
    arena = arena_of(model)
    backward(model)
    backward(model)
    expected = gradients_without()
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, 2 * expected[name])
    total = torch.cat([group.grad for group in arena.groups])
    assert float(total.norm()) == pytest.approx(
        float(torch.cat([2 * g.flatten() for g in expected.values()]).norm())
    )
    arena.zero_grad()
    assert all(not p.grad.any() for p in model.parameters())


def test_matrices_decay_and_vectors_never_do() -> None:
    arena = arena_of(small_model(), weight_decay=0.1)
    assert {g.name: g.weight_decay for g in arena.groups} == {"matrices": 0.1, "vectors": 0.0}
    assert arena.layout() == [
        [("0.weight", (6, 4)), ("2.weight", (3, 6))],
        [("0.bias", (6,)), ("2.bias", (3,))],
    ] or arena.layout() == [
        [("0.bias", (6,)), ("2.bias", (3,))],
        [("0.weight", (6, 4)), ("2.weight", (3, 6))],
    ]


@pytest.mark.parametrize("max_norm", [0.5, 1e6, 0.0])
def test_clipping_is_that_of_torch(max_norm: float) -> None:
    model, same = small_model(), small_model()
    arena = arena_of(model)
    backward(model)
    backward(same)
    norm = arena.clip(max_norm)
    expected = nn.utils.clip_grad_norm_(same.parameters(), max_norm or float("inf"))
    assert float(norm) == pytest.approx(float(expected), rel=1e-6)
    for mine, theirs in zip(model.parameters(), same.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-6)


def test_a_rounded_model_has_exact_values_and_gradients_beside_it() -> None:
    model = small_model(torch.bfloat16)
    arena = arena_of(model)
    assert all(group.is_rounded and group.flat.dtype == torch.float32 for group in arena.groups)
    backward(model)
    backward(model)
    expected = gradients_without(torch.bfloat16)
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.bfloat16
        assert torch.equal(gradient_of(parameter), 2 * expected[name].float())
        assert parameter.grad is None
    # Updates smaller than a rounding step add up instead of getting lost.
    before = model[0].weight.detach().float()
    for _ in range(100):
        for group in arena.groups:
            group.flat.add_(1e-5)
        arena.publish()
    assert float((model[0].weight.detach().float() - before).mean()) == pytest.approx(1e-3, rel=0.5)


def test_neighbours_in_memory_are_one_matrix_without_a_copy() -> None:
    whole = torch.arange(20.0).view(10, 2)
    first, second = whole[:4], whole[4:7]
    view = joined([first, second])
    assert view is not None
    assert torch.equal(view, whole[:7])
    view.zero_()
    assert not whole[:7].any()
    assert joined([second, first]) is None
    assert joined([first, whole[5:6]]) is None
    assert joined([first, second.clone()]) is None
    assert joined([first, whole[4:7].t()]) is None


def test_strangers_are_moved_together() -> None:
    parameters = [nn.Parameter(torch.full((rows, 3), float(rows))) for rows in (2, 4)]
    whole = join_rows(parameters)
    assert whole.shape == (6, 3)
    whole.add_(1)
    assert [float(p[0, 0].detach()) for p in parameters] == [3, 5]
    assert join_rows(parameters).data_ptr() == whole.data_ptr()


def test_groups_without_parameters_are_left_out() -> None:
    parameter: Any = nn.Parameter(torch.ones(2, 2))
    arena = Arena(
        [ParameterGroup("a", (("x", parameter),), 1.0, 0.0), ParameterGroup("b", (), 1.0, 0.0)]
    )
    assert [group.name for group in arena.groups] == ["a"]
