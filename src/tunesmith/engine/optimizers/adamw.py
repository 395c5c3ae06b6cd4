"""AdamW in float32 on weights that may be kept in bfloat16 (Loshchilov 2019, arXiv 1711.05101)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tunesmith.engine.optimizers.base import Rule, moments


class AdamW(Rule):
    """Value by value, so that no more than a stretch of a tensor is ever held in float32."""

    is_elementwise = True

    def begin(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Both moments zero, in float32."""
        del group
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = torch.zeros(parameter.shape, device=parameter.device)

    def update(
        self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """Adam's, its decay done."""
        mean, root = moments(grad, state, group)
        parameter.addcdiv_(mean, root.add_(group["eps"]), value=-float(group["lr"]))
