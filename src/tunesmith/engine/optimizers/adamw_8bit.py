"""AdamW whose moments are kept in 8 bits (Dettmers and others 2021, arXiv 2110.02861).

Each block of 256 values has its own scale and is stored as the nearest of 256 numbers between 0 (or
-1) and 1, whose spacing is fine near zero ("dynamic tree"). Updates are computed in float32, a
stretch of the flat memory at a time.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from tunesmith.engine.optimizers.base import Rule

BLOCK = 256  # values that share a scale
STRETCH = 1 << 20  # values that are worked on at once, in float32


@cache
def levels(signed: bool) -> Tensor:
    """The 256 numbers, rising: for each of seven powers of ten, evenly spaced fractions of it.

    The larger the power, the more of them. Without a sign there are twice as many.
    """
    found = [0.0, 1.0]
    for power in range(7):
        count = 2**power if signed else 2 ** (power + 1)
        borders = torch.linspace(0.1, 1, count + 1, dtype=torch.float64)
        means = ((borders[:-1] + borders[1:]) / 2 * 10.0 ** (power - 6)).tolist()
        found += means + ([-mean for mean in means] if signed else [])
    return torch.tensor(sorted(found), dtype=torch.float32)


def quantise(values: Tensor, *, signed: bool) -> tuple[Tensor, Tensor]:
    """Codes of values, and the scale of each block; the last block may be shorter."""
    table = levels(signed).to(values.device)
    padded = torch.nn.functional.pad(values, (0, -len(values) % BLOCK)).view(-1, BLOCK)
    scales = padded.abs().amax(1)
    unit = (padded / scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None]).flatten()
    borders = (table[1:] + table[:-1]) / 2
    codes = torch.bucketize(unit[: len(values)], borders)
    return codes.to(torch.uint8), scales


def dequantise(codes: Tensor, scales: Tensor, *, signed: bool) -> Tensor:
    """The values that codes and scales stand for."""
    values = levels(signed).to(codes.device)[codes.int()]
    return values * scales.repeat_interleave(BLOCK)[: len(codes)]


class AdamW8bit(Rule):
    """AdamW on flat tensors with moments of a byte each."""

    def begin(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """All moments zero."""
        del group
        size, device = parameter.numel(), parameter.device
        for name, signed in (("exp_avg", True), ("exp_avg_sq", False)):
            zero = int(torch.searchsorted(levels(signed), torch.zeros(1)))
            state[name] = torch.full((size,), zero, dtype=torch.uint8, device=device)
            state[f"{name}_scales"] = torch.zeros(-(-size // BLOCK), device=device)

    def update(
        self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """AdamW's, stretch by stretch."""
        for start in range(0, parameter.numel(), STRETCH):
            self._update(parameter, grad, state, group, slice(start, start + STRETCH))

    def _update(
        self,
        parameter: Tensor,
        grad: Tensor,
        state: dict[str, Any],
        group: dict[str, Any],
        part: slice,
    ) -> None:
        beta1, beta2 = group["betas"]
        blocks = slice(part.start // BLOCK, -(-part.stop // BLOCK))
        found: dict[str, Tensor] = {}
        g = grad[part]
        for name, beta, new, signed in (
            ("exp_avg", beta1, g, True),
            ("exp_avg_sq", beta2, g.square(), False),
        ):
            codes, scales = state[name][part], state[f"{name}_scales"][blocks]
            value = dequantise(codes, scales, signed=signed).mul_(beta).add_(new, alpha=1 - beta)
            found[name] = value
            kept, scale = quantise(value, signed=signed)
            codes.copy_(kept)
            scales.copy_(scale)
        step = float(state["step"])
        root = (found["exp_avg_sq"] / (1 - beta2**step)).sqrt_().add_(group["eps"])
        size = float(group["lr"]) / (1 - beta1**step)
        parameter[part].addcdiv_(found["exp_avg"], root, value=-size)
