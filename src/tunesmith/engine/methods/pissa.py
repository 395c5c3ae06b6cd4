"""PiSSA: adapters that begin as the strongest part of the weights (Meng, Wang, Zhang 2024).

While training, the base has W - s B0 A0 and the adapter B A beside it. On disk there is an ordinary
adapter for the untouched W: its A is A above A0, its B is B beside -B0, so that
s (B A - B0 A0) is what it adds. So any program loads it, and training can go on from it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tunesmith.engine.methods.quantised import is_quantised

A, B = ".lora_A.", ".lora_B."


def keep_start(tuned: Any) -> None:
    """Remember the adapters as they begin."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(tuned, save_embedding_layers=False)
    tuned.pissa_start = {n: t.detach().clone() for n, t in state.items() if A in n or B in n}


def start_of(tuned: Any) -> dict[str, Tensor] | None:
    """The adapters as they began; None where they began with no effect."""
    return getattr(tuned, "pissa_start", None)


def as_ordinary(state: dict[str, Tensor], start: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of an adapter of twice the rank for the untouched base."""
    out = dict(state)
    for name, before in start.items():
        now = state[name]
        before = before.to(now)
        out[name] = torch.cat([now, before], 0) if A in name else torch.cat([now, -before], 1)
    return out


def from_ordinary(tuned: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The adapter within a saved one; the base is made the one that it was trained beside."""
    start = start_of(tuned)
    if start is None:
        return state
    out, saved = dict(state), dict[str, Tensor]()
    for name in start:
        axis = 0 if A in name else 1
        out[name], begun = state[name].chunk(2, axis)
        saved[name] = begun if A in name else -begun
    if any(not torch.equal(start[name].cpu(), saved[name].cpu()) for name in start):
        _move_base(tuned, start, saved)  # computed elsewhere: directions may differ in sign
        tuned.pissa_start = {name: value.to(start[name]) for name, value in saved.items()}
    return out


@torch.no_grad()
def _move_base(tuned: Any, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    from peft.tuners.lora import LoraLayer

    for name, layer in tuned.named_modules():
        key = f"{name}{A}weight"
        if not isinstance(layer, LoraLayer) or key not in ours:
            continue
        if is_quantised(layer.get_base_layer()):
            continue  # LoftQ: its weight is the nearest to pack, whatever signs the directions have
        weight, scale = layer.get_base_layer().weight, layer.scaling[tuned.active_adapter]
        for start, sign in ((ours, 1), (theirs, -1)):
            product = start[f"{name}{B}weight"] @ start[key]
            part = product.t() if getattr(layer, "fan_in_fan_out", False) else product
            weight.data += (sign * scale * part).to(weight)


def doubled(config: Any) -> dict[str, Any]:
    """What the configuration of the ordinary adapter says; `alpha / rank` stays as it is."""
    growth = 2**0.5 if config.use_rslora else 2
    return {
        "r": 2 * config.r,
        "lora_alpha": growth * config.lora_alpha,
        "rank_pattern": {name: 2 * rank for name, rank in config.rank_pattern.items()},
        "alpha_pattern": {name: growth * alpha for name, alpha in config.alpha_pattern.items()},
        "init_lora_weights": True,
    }
