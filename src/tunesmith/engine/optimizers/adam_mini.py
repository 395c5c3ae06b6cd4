"""Adam-mini: one second moment for a block of weights (Zhang and others 2024, arXiv 2406.16793).

Blocks are rows: an output neuron of a matrix, a token of the embeddings. Rows of queries and keys
are taken together by head, as the paper does, and a vector is one block. It keeps half of Adam's
state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tunesmith.engine.optimizers.base import Rule


class AdamMini(Rule):
    """Adam whose mean squares are means over blocks; a group says `rows` of each."""

    def begin(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """A whole first moment and a number for each block."""
        state["exp_avg"] = torch.zeros_like(parameter, dtype=torch.float32)
        state["exp_avg_sq"] = torch.zeros(
            len(_blocks(parameter, group["rows"])), device=parameter.device
        )

    def update(
        self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """Adam's, with the block's root in place of each weight's."""
        beta1, beta2 = group["betas"]
        square = _blocks(grad, group["rows"]).square().mean(1)
        state["exp_avg"].lerp_(grad, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).add_(square, alpha=1 - beta2)
        step = float(state["step"])
        root = (state["exp_avg_sq"] / (1 - beta2**step)).sqrt_().add_(group["eps"])
        mean = _blocks(state["exp_avg"], group["rows"]) / (1 - beta1**step)
        parameter.add_((mean / root[:, None]).view_as(parameter), alpha=-float(group["lr"]))


def _blocks(tensor: Tensor, rows: int) -> Tensor:
    """[blocks, values]; a vector is one block."""
    if tensor.ndim < 2:
        return tensor.reshape(1, -1)
    return tensor.reshape(len(tensor) // rows, -1)
