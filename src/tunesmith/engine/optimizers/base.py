"""What the update rules share: moments their corrections, decay apart from gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Rule(torch.optim.Optimizer):
    """An update rule that looks at one tensor at a time."""

    def __init__(self, groups: Iterable[dict[str, Any]], **defaults: Any) -> None:
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0, **defaults})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every tensor by its gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.zeros(())
                    self.begin(parameter, state, group)
                state["step"] += 1
                if group["weight_decay"]:
                    parameter.mul_(1 - float(group["lr"]) * group["weight_decay"])
                self.update(parameter, parameter.grad, state, group)

    def begin(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Make the state of a tensor that is met for the first time."""
        raise NotImplementedError

    def update(
        self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """Move a tensor; its decay is done."""
        raise NotImplementedError


def moments(grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Adam's two moments with a new gradient, and corrected: (mean, root of the mean square)."""
    beta1, beta2 = group["betas"]
    state["exp_avg"].lerp_(grad, 1 - beta1)
    state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    step = float(state["step"])
    mean = state["exp_avg"] / (1 - beta1**step)
    root = (state["exp_avg_sq"] / (1 - beta2**step)).sqrt_()
    return mean, root
