"""Loss scaling: small gradients of float16 are made large enough to be kept.

The smallest number of float16 is 6e-8, and many gradients are smaller. So the loss is multiplied by
a large number, which every gradient then carries, and the sums of gradients, in float32, are
divided by it (Micikevicius and others 2018, arXiv 1710.03740, section 3.2). Where a gradient has
become too large for float16, the weights stay as they are and the number is halved; after a while
without that it is doubled. Powers of two, so that scaling itself rounds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.recipe import LossScaling

LARGEST = 2.0**24
LEAST = 1.0  # gradients that overflow without any scaling are wrong, not small


@dataclass
class LossScale:
    """The factor of the losses of a training; always 1 where `growth_steps` is 0."""

    value: float = 1.0
    growth_steps: int = 0
    clean_steps: int = 0  # updates since the factor last changed
    skipped_steps: int = 0

    @classmethod
    def of(cls, settings: LossScaling, dtype: torch.dtype) -> LossScale:
        """That of a recipe; float16 alone needs one."""
        if dtype != torch.float16:
            return cls()
        return cls(settings.initial, settings.growth_steps)

    @property
    def is_on(self) -> bool:
        """Whether losses are scaled."""
        return self.growth_steps > 0

    @property
    def can_fall(self) -> bool:
        """Whether a smaller factor may help."""
        return self.is_on and self.value > LEAST

    def backward(self, loss: Tensor) -> None:
        """Make the gradients of a loss, each `value` times too large."""
        loss.backward(torch.full_like(loss, self.value) if self.is_on else None)

    def passed(self) -> None:
        """A step with finite gradients has moved the weights."""
        self.clean_steps += 1
        if self.clean_steps == self.growth_steps:
            self.value, self.clean_steps = min(2 * self.value, LARGEST), 0

    def overflowed(self) -> None:
        """A step had gradients that are not finite, and has been skipped."""
        self.value, self.clean_steps = max(self.value / 2, LEAST), 0
        self.skipped_steps += 1

    def state(self) -> dict[str, float] | None:
        """For a checkpoint."""
        if not self.is_on:
            return None
        names = ("value", "clean_steps", "skipped_steps")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: Mapping[str, float] | None) -> None:
        """Go on from what a checkpoint holds."""
        if state is not None and self.is_on:
            self.value = float(state["value"])
            self.clean_steps = int(state["clean_steps"])
            self.skipped_steps = int(state["skipped_steps"])
