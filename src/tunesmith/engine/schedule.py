"""The course of the learning rate, as a pure function of the step."""

from __future__ import annotations

import math

from tunesmith.recipe import Schedule


def learning_rate_factor(schedule: Schedule, step: int, total_steps: int) -> float:
    """Share of the full rate at a step (from 1): linear warm-up, then down to `min_ratio`.

    With w warm-up steps the rate of step i is i/w for i <= w; the last step has the floor.
    """
    warmup = math.ceil(schedule.warmup_ratio * total_steps)
    if step <= warmup:
        return step / warmup
    if schedule.kind == "constant":
        return 1.0
    done = (step - warmup) / max(total_steps - warmup, 1)
    falling = (1 + math.cos(math.pi * done)) / 2 if schedule.kind == "cosine" else 1 - done
    return schedule.min_ratio + (1 - schedule.min_ratio) * falling
