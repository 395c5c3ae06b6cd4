"""The scale of the loss keeps the small gradients of float16, and changes nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from tunesmith.engine.batch import flat_batch
from tunesmith.engine.head import Head, language_loss, token_log_probs
from tunesmith.engine.loss_scale import LARGEST, LossScale
from tunesmith.engine.stages import LanguageStage
from tunesmith.engine.stages.stage import Totals
from tunesmith.recipe import LossScaling

Build = Callable[..., Any]
MANY = 10**6  # targets of a step: each gradient is about a millionth


def gradients(ours: Any, table: Any, scale: LossScale) -> dict[str, torch.Tensor]:
    """Of a step with very many targets, unscaled."""
    ours.arena.zero_grad()
    batch = flat_batch(table, [0, 1], torch.device("cpu"))
    head, totals = replace(ours.head, loss_scale=scale), Totals(rows=2, targets=MANY)
    scale.backward(LanguageStage().loss(ours.backbone, head, batch, totals).loss)
    ours.arena.divide(scale.value)
    return ours.gradients()


def test_scaled_gradients_are_those_of_float32_and_unscaled_ones_are_lost(
    bench: Build, table_of: Build
) -> None:
    table = table_of([30, 25])
    exact = gradients(bench("llama"), table, LossScale())

    def error(scale: LossScale) -> float:
        found = gradients(bench("llama", dtype=torch.float16), table, scale)
        norms = [float((found[name] - exact[name]).norm()) for name in exact]
        return sum(norms) / sum(float(value.norm()) for value in exact.values())

    assert error(LossScale(2.0**16, 2000)) < 0.01
    assert error(LossScale(1.0, 2000)) > 0.1  # the same in float16 without a scale


@pytest.mark.parametrize("powers", [(0, 10), (4, 14)])
def test_a_power_of_two_rounds_nothing_itself(
    bench: Build, table_of: Build, powers: tuple[int, int]
) -> None:
    """In float32, where nothing under- or overflows, scaled and divided gradients are the same."""
    table = table_of([30, 25])
    one, other = (gradients(bench("gpt2"), table, LossScale(2.0**power, 2000)) for power in powers)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_both_ways_through_the_head_carry_the_same_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(11, 6, generator=generator), requires_grad=False)
    head = Head(weight, loss_scale=LossScale(8.0, 2000))
    labels_N = torch.tensor([3, 5, 7])
    found: list[torch.Tensor] = []
    for direct in (True, False):
        hidden_ND = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
        hidden_ND.requires_grad_()
        if direct:
            loss, _ = language_loss(hidden_ND, labels_N, head, num_targets=3)
        else:
            loss = -token_log_probs(hidden_ND, labels_N, head).log_probs_N.sum() / 3
        head.loss_scale.backward(loss)
        assert hidden_ND.grad is not None
        found.append(hidden_ND.grad)
    plain = torch.randn(3, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    torch.nn.functional.cross_entropy(plain @ weight.t(), labels_N).backward()
    assert plain.grad is not None
    for grad in found:
        assert torch.allclose(grad, 8 * plain.grad, atol=1e-5)


def test_the_scale_falls_at_once_and_rises_slowly() -> None:
    scale = LossScale.of(LossScaling(initial=8, growth_steps=3), torch.float16)
    scale.passed()
    scale.overflowed()
    assert (scale.value, scale.clean_steps, scale.skipped_steps) == (4, 0, 1)
    for _ in range(3):
        scale.passed()
    assert (scale.value, scale.clean_steps) == (8, 0)
    again = LossScale(1.0, 3)
    again.restore(scale.state())
    assert again == scale
    for _ in range(100):
        scale.passed()
    assert scale.value == LARGEST
    for _ in range(30):
        scale.overflowed()
    assert (scale.value, scale.can_fall) == (1.0, False)


def test_other_formats_have_no_scale() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        scale = LossScale.of(LossScaling(), dtype)
        assert not scale.is_on
        assert scale.state() is None
        scale.passed()
        assert scale.value == 1.0
