"""Which parameters share a rate and a decay, and the update itself."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from tunesmith.engine.adapter import is_lora_b, takes_decay
from tunesmith.engine.arena import Arena, ParameterGroup
from tunesmith.recipe import Optimizer


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], *, weight_decay: float, loraplus_ratio: float
) -> list[ParameterGroup]:
    """Groups for the arena: A and B matrices of adapters, matrices, and vectors, which never decay.

    LoRA+ with ratio 8 trains A at the learning rate and B at eight times that rate. A and B are
    groups of their own in any case, so that the A matrices of q, k and v are neighbours in memory.
    """
    members: dict[str, list[tuple[str, nn.Parameter]]] = {"vectors": [], "matrices": [], "b": []}
    for name, parameter in parameters:
        kind = "matrices" if takes_decay(name, parameter) else "vectors"
        members["b" if is_lora_b(name) else kind].append((name, parameter))
    settings = {
        "matrices": (1.0, weight_decay),
        "b": (loraplus_ratio, weight_decay),
        "vectors": (1.0, 0.0),
    }
    return [
        ParameterGroup(name, tuple(members[name]), factor, decay)
        for name, (factor, decay) in settings.items()
    ]


def build_optimizer(arena: Arena, settings: Optimizer) -> torch.optim.Optimizer:
    """Fused AdamW over the flat groups of an arena (Loshchilov, Hutter 2019)."""
    groups = [
        {
            "params": [group.flat],
            "weight_decay": group.weight_decay,
            "rate_factor": group.rate_factor,
        }
        for group in arena.groups
    ]
    return torch.optim.AdamW(
        groups,
        lr=torch.tensor(0.0) if arena.groups[0].flat.is_cuda else 0.0,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=arena.groups[0].flat.device.type in ("cpu", "cuda"),
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of this step; groups of LoRA+ take their factor of it."""
    for group in optimizer.param_groups:
        value = rate * group["rate_factor"]
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value
