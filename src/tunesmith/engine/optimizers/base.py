"""What the update rules share: moments, their corrections, decay apart from gradients.

Weights in bfloat16 without exact copies are updated in float32, a tensor or a stretch of it at a
time, and rounded by chance; see rounding.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from tunesmith.engine.arena import gradient_of
from tunesmith.engine.optimizers.rounding import round_stochastically, rounding_key

STRETCH = 1 << 20  # values of a tensor that are worked on at once, where each is by itself


class Rule(torch.optim.Optimizer):
    """An update rule that looks at one tensor at a time."""

    is_elementwise = False  # whether `update` may be given a part of a tensor and of its state

    def __init__(self, groups: Iterable[dict[str, Any]], **defaults: Any) -> None:
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0, **defaults})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every tensor by its gradient."""
        assert closure is None
        for group in self.param_groups:
            for place, parameter in enumerate(group["params"]):
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.zeros(())
                    self.begin(parameter, state, group)
                state["step"] += 1
                grad = gradient_of(parameter)
                if parameter.dtype == torch.float32:
                    self._decay_and_update(parameter, grad, state, group)
                else:
                    key = rounding_key(group["seed"], int(state["step"]), group["names"][place])
                    self._update_rounded(parameter, grad, state, group, key)

    def _decay_and_update(
        self, parameter: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        if group["weight_decay"]:
            parameter.mul_(1 - float(group["lr"]) * group["weight_decay"])
        self.update(parameter, grad, state, group)

    def _update_rounded(
        self,
        parameter: Tensor,
        grad: Tensor,
        state: dict[str, Any],
        group: dict[str, Any],
        key: int,
    ) -> None:
        if not self.is_elementwise:
            exact = parameter.float()
            self._decay_and_update(exact, grad, state, group)
            parameter.copy_(round_stochastically(exact, key))
            return
        values, grads = parameter.view(-1), grad.view(-1)
        for start in range(0, len(values), STRETCH):
            part = slice(start, start + STRETCH)
            of_part = {n: v.view(-1)[part] if v.ndim else v for n, v in state.items()}
            exact = values[part].float()
            self._decay_and_update(exact, grads[part], of_part, group)
            values[part] = round_stochastically(exact, key, start)

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
