"""Update rules follow their papers, and go on from what a checkpoint holds to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tunesmith.engine.arena import Arena, ParameterGroup
from tunesmith.engine.checkpoint import _load_states, _optimizer_tensors
from tunesmith.engine.optimizer import Optimizers, build_optimizer, is_hidden, set_rate
from tunesmith.engine.optimizers.adamw_8bit import BLOCK, dequantise, levels, quantise
from tunesmith.recipe import Optimizer

KINDS = ("adamw", "adamw_8bit", "adafactor", "adam_mini", "muon", "galore", "apollo")
RATE, BETA1, BETA2, EPSILON = 0.01, 0.9, 0.999, 1e-8
Build = Callable[..., tuple[Arena, Optimizers]]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def made(kind: str, decay: float = 0.0, **settings: Any) -> tuple[Arena, Optimizers]:
    """Two matrices of layers, a table of words and a vector."""
    shapes = {"layers.0.up": (6, 10), "layers.1.down": (300, 4), "embed_tokens": (8, 4)}
    matrices = [(n, nn.Parameter(random(*s, seed=1))) for n, s in shapes.items()]
    vectors = [("layers.0.norm", nn.Parameter(torch.ones(10)))]
    groups = [
        ParameterGroup("matrices", tuple(matrices), 1.0, decay),
        ParameterGroup("vectors", tuple(vectors), 2.0, 0.0),
    ]
    arena = Arena(groups)
    chosen = Optimizer.model_validate({"kind": kind, "projection_rank": 2, **settings})
    return arena, build_optimizer(arena, chosen, seed=7)


def step(arena: Arena, optimizer: Optimizers, number: int, rate: float = RATE) -> None:
    for place, group in enumerate(arena.groups):
        group.grad.copy_(random(len(group.grad), seed=100 * number + place))
    set_rate(optimizer, rate)
    optimizer.step()


def weights(arena: Arena) -> Tensor:
    return torch.cat([group.flat for group in arena.groups])


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_goes_on_from_its_saved_state_as_if_never_stopped(kind: str) -> None:
    arena, optimizer = made(kind, 0.1, projection_gap=2)
    for number in (1, 2, 3):
        step(arena, optimizer, number)
    saved = {name: value.clone() for name, value in _optimizer_tensors(arena, optimizer).items()}
    other, again = made(kind, 0.1, projection_gap=2)
    for mine, theirs in zip(other.groups, arena.groups, strict=True):
        mine.flat.copy_(theirs.flat)
    _load_states(saved, again)
    for number in (4, 5):
        step(arena, optimizer, number)
        step(other, again, number)
    assert torch.equal(weights(arena), weights(other))


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_moves_down_and_the_rate_says_how_far(kind: str) -> None:
    small, large = made(kind), made(kind)
    before = weights(small[0]).clone()
    step(*small, 1, rate=1e-4)
    step(*large, 1, rate=2e-4)
    moved, twice = weights(small[0]) - before, weights(large[0]) - before
    assert float((moved * torch.cat([g.grad for g in small[0].groups])).sum()) < 0
    if kind != "adafactor":  # its own steps shrink with their number
        assert float((moved == 0).float().mean()) < 0.01
        assert torch.allclose(2 * moved, twice, rtol=2e-2, atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "adafactor"])
def test_decay_pulls_matrices_and_no_vector(kind: str) -> None:
    plain, decayed = made(kind), made(kind, 0.5)
    before = weights(plain[0]).clone()
    for arena, optimizer in (plain, decayed):
        step(arena, optimizer, 1)
    expected = weights(plain[0]) - RATE * 0.5 * before
    expected[-10:] = weights(plain[0])[-10:]
    assert torch.allclose(weights(decayed[0]), expected, atol=1e-6)


def test_galore_is_adam_in_the_strongest_directions() -> None:
    """Zhao and others 2024, algorithm 2."""
    arena, optimizer = made("galore", projection_gap=10, projection_scale=0.5)
    weight = dict(arena.groups[0].views())["layers.0.up"].clone()
    m = v = torch.zeros(2, 10)
    for number in (1, 2, 3):
        step(arena, optimizer, number)
        grad = arena.groups[0].grad[:60].view(6, 10)
        if number == 1:
            projection = torch.linalg.svd(grad).U[:, :2]
        low = projection.t() @ grad
        m, v = BETA1 * m + (1 - BETA1) * low, BETA2 * v + (1 - BETA2) * low**2
        mean, root = m / (1 - BETA1**number), (v / (1 - BETA2**number)).sqrt()
        weight -= RATE * 0.5 * (projection @ (mean / (root + EPSILON)))
    found = dict(arena.groups[0].views())["layers.0.up"]
    assert torch.allclose(found, weight, atol=1e-6)


def test_apollo_scales_each_channel_of_the_gradient_as_its_random_image() -> None:
    """Zhu and others 2024, algorithm 1, with the limit on growth."""
    arena, optimizer = made("apollo", projection_gap=10, projection_scale=4.0)
    weight = dict(arena.groups[0].views())["layers.0.up"].clone()
    m = v = torch.zeros(2, 10)
    size = 0.0
    for number in (1, 2, 3):
        step(arena, optimizer, number)
        if number == 1:
            state = optimizer.state_of(0, dict(arena.groups[0].views())["layers.0.up"])
            projection = state["projection"].clone()
        grad = arena.groups[0].grad[:60].view(6, 10)
        low = projection @ grad
        m, v = BETA1 * m + (1 - BETA1) * low, BETA2 * v + (1 - BETA2) * low**2
        mean, root = m / (1 - BETA1**number), (v / (1 - BETA2**number)).sqrt()
        scaled = grad * ((mean / (root + EPSILON)).norm(dim=0) / low.norm(dim=0)) * 2.0
        if size:
            scaled = scaled / max(float(scaled.norm()) / size, 1.01) * 1.01
        size = float(scaled.norm())
        weight -= RATE * scaled
    found = dict(arena.groups[0].views())["layers.0.up"]
    assert torch.allclose(found, weight, atol=1e-5)
    assert projection.std() == pytest.approx(2**-0.5, rel=0.5)  # variance 1 / rank


def test_adam_mini_shares_a_second_moment_in_each_row() -> None:
    """Zhang and others 2024, algorithm 1: the mean square of a block in place of each square."""
    arena, optimizer = made("adam_mini")
    weight = dict(arena.groups[0].views())["layers.0.up"].clone()
    m, v = torch.zeros(6, 10), torch.zeros(6)
    for number in (1, 2, 3):
        step(arena, optimizer, number)
        grad = arena.groups[0].grad[:60].view(6, 10)
        m = BETA1 * m + (1 - BETA1) * grad
        v = BETA2 * v + (1 - BETA2) * grad.square().mean(1)
        root = (v / (1 - BETA2**number)).sqrt() + EPSILON
        weight -= RATE * (m / (1 - BETA1**number)) / root[:, None]
    found = dict(arena.groups[0].views())["layers.0.up"]
    assert torch.allclose(found, weight, atol=1e-6)


def test_muon_takes_the_matrices_of_layers_and_adamw_the_rest() -> None:
    (arena, muon), (plain, adamw) = made("muon"), made("adamw")
    before = dict(arena.groups[0].views())["layers.0.up"].clone()
    step(arena, muon, 1)
    step(plain, adamw, 1)
    found, others = dict(arena.groups[0].views()), dict(plain.groups[0].views())
    assert torch.equal(found["embed_tokens"], others["embed_tokens"])
    assert torch.equal(arena.groups[1].flat, plain.groups[1].flat)
    sizes = torch.linalg.svdvals(found["layers.0.up"] - before)
    assert float(sizes.max() / sizes.min()) < 2  # even steps in all directions
    names = ("model.embed_tokens.weight", "lm_head.weight", "x.lora_A.default.weight")
    assert [is_hidden(name, torch.zeros(2, 2)) for name in names] == [False, False, True]


@pytest.mark.parametrize("signed", [True, False])
def test_eight_bits_keep_values_to_a_few_percent(signed: bool) -> None:
    """Dettmers and others 2021: 256 rising numbers, fine near zero; each block has a scale."""
    table = levels(signed)
    assert (len(table), float(table[-1])) == (256, 1.0)
    assert bool((table.diff() >= 0).all())
    assert float(table[0]) < -0.9 if signed else float(table[0]) == 0
    values = random(10 * BLOCK + 17) * torch.logspace(-6, 0, 10 * BLOCK + 17)
    values = values if signed else values.square()
    kept = dequantise(*quantise(values, signed=signed), signed=signed)
    scales = quantise(values, signed=signed)[1].repeat_interleave(BLOCK)[: len(values)]
    large = values.abs() > 0.01 * scales
    assert float(((kept - values).abs() / values.abs())[large].max()) < 0.12
    assert float(((kept - values).abs() / scales).max()) < 0.02


def test_eight_bits_train_nearly_as_thirty_two_do() -> None:
    (arena, small), (plain, adamw) = made("adamw_8bit"), made("adamw")
    before = weights(plain).clone()
    for number in range(1, 21):
        step(arena, small, number)
        step(plain, adamw, number)
    moved, expected = weights(arena) - before, weights(plain) - before
    assert float((moved - expected).norm() / expected.norm()) < 0.1
    state = small.state_of(0, arena.groups[0].flat)
    assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == torch.uint8
