"""Which parameters share a rate and a decay, and the update itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine.adapter import is_lora_b, takes_decay
from tunesmith.engine.arena import Arena, ParameterGroup, flattened
from tunesmith.engine.optimizers.adam_mini import AdamMini
from tunesmith.engine.optimizers.adamw import AdamW
from tunesmith.engine.optimizers.adamw_8bit import AdamW8bit
from tunesmith.engine.optimizers.low_rank import Apollo, Galore
from tunesmith.recipe import Optimizer


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], *, weight_decay: float, loraplus_ratio: float
) -> list[ParameterGroup]:
    """Groups for the arena: A and B matrices of adapters, matrices, and vectors, which never decay.

    LoRA+ with ratio 8 trains A at the learning rate and B at eight times that rate. A and B are
    groups of their own in any case, so that the A matrices of q, k and v are neighbours in memory.
    A group has one number format: parts trained whole beside adapters may have another.
    """
    members: dict[tuple[str, torch.dtype], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in parameters:
        kind = "matrices" if takes_decay(name, parameter) else "vectors"
        kind = "b" if is_lora_b(name) else kind
        members.setdefault((kind, parameter.dtype), []).append((name, parameter))
    settings = {
        "matrices": (1.0, weight_decay),
        "b": (loraplus_ratio, weight_decay),
        "vectors": (1.0, 0.0),
    }
    return [
        ParameterGroup(kind, tuple(found), factor, decay)
        for kind, (factor, decay) in settings.items()
        for (own, _), found in members.items()
        if own == kind
    ]


def build_optimizer(
    arena: Arena, settings: Optimizer, *, model: Any = None, seed: int = 0
) -> Optimizers:
    """The update rule of a recipe; AdamW is fused and works on whole groups (Loshchilov 2019).

    Rules that look at the shape of a matrix get views of it; `model` says which rows are heads.
    """
    flat, views = partial(_flat, arena), partial(_views, arena, seed=seed)
    if arena.is_rounded_by_chance:
        flat = partial(_pieces, arena, seed)
    match settings.kind:
        case "adamw" | "badam":
            return Optimizers([_adamw(flat(), settings)])
        case "adamw_8bit":
            betas = (settings.beta1, settings.beta2)
            return Optimizers([AdamW8bit(flat(), betas=betas, eps=settings.epsilon)])
        case "adafactor":
            # Its own defaults of the squares' memory: beta2 has no part in it.
            return Optimizers([torch.optim.Adafactor(views(lambda *_: True))])
        case "adam_mini":
            return Optimizers([_adam_mini(views, settings, model)])
        case "muon":
            muon = torch.optim.Muon(views(is_hidden), adjust_lr_fn="match_rms_adamw")
            return Optimizers([muon, _adamw(views(_is_other), settings)])
        case "galore" | "apollo":
            rule = Galore if settings.kind == "galore" else Apollo
            low_rank = rule(
                views(is_hidden),
                betas=(settings.beta1, settings.beta2),
                eps=settings.epsilon,
                rank=settings.projection_rank,
                gap=settings.projection_gap,
                scale=settings.projection_scale,
            )
            return Optimizers([low_rank, _adamw(views(_is_other), settings)])


Pick = Callable[[str, Tensor], bool]


class Optimizers:
    """One rule, or one for the matrices and another for the rest; no rule is without tensors."""

    def __init__(self, rules: Sequence[torch.optim.Optimizer]) -> None:
        self.rules = [rule for rule in rules if rule.param_groups]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of all rules, in order."""
        return [group for rule in self.rules for group in rule.param_groups]

    def state_of(self, group: int, parameter: Tensor) -> dict[str, Any]:
        """What a rule remembers of a tensor of a group; may be filled."""
        for rule in self.rules:
            if group < len(rule.param_groups):
                return rule.state[parameter]
            group -= len(rule.param_groups)
        raise IndexError(group)

    def step(self) -> None:
        """Update all weights."""
        for rule in self.rules:
            rule.step()


def is_hidden(name: str, value: Tensor) -> bool:
    """True for a matrix within the layers: neither a table of words nor a head."""
    return value.ndim == 2 and not any(part in name for part in _TABLES)


def _is_other(name: str, value: Tensor) -> bool:
    return not is_hidden(name, value)


_TABLES = ("embed", "wte", "wpe", "lm_head", "score", "output_layer", "prompt_encoder")


def _flat(arena: Arena) -> list[dict[str, Any]]:
    return [
        {
            "params": [group.flat],
            "weight_decay": group.weight_decay,
            "rate_factor": group.rate_factor,
        }
        for group in arena.groups
    ]


def _pieces(arena: Arena, seed: int) -> list[dict[str, Any]]:
    """The same with each parameter by itself, still flat: its rounding depends on its name."""
    found = _views(arena, lambda *_: True, seed=seed)
    for group in found:
        group["params"] = [flattened(view) for view in group["params"]]
    return found


def _views(arena: Arena, pick: Pick, *, seed: int) -> list[dict[str, Any]]:
    """The same groups with each tensor by itself, as far as `pick` takes it."""
    found: list[dict[str, Any]] = []
    for group in arena.groups:
        chosen = [(name, view) for name, view in group.views() if pick(name, view)]
        if chosen:
            found.append(
                {
                    "params": [view for _, view in chosen],
                    "names": [name for name, _ in chosen],
                    "weight_decay": group.weight_decay,
                    "rate_factor": group.rate_factor,
                    "seed": seed,
                }
            )
    return found


def _adamw(groups: list[dict[str, Any]], settings: Optimizer) -> torch.optim.Optimizer:
    if not groups:
        return _Nothing()
    first = groups[0]["params"][0]
    if any(p.dtype != torch.float32 for group in groups for p in group["params"]):
        return AdamW(groups, betas=(settings.beta1, settings.beta2), eps=settings.epsilon)
    return torch.optim.AdamW(
        groups,
        lr=torch.tensor(0.0) if first.is_cuda else 0.0,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=first.device.type in ("cpu", "cuda"),
    )


class _Nothing(torch.optim.Optimizer):
    """The rule of no tensors, which torch refuses to make."""

    def __init__(self) -> None:
        self.param_groups = []


def _adam_mini(
    views: Callable[[Pick], list[dict[str, Any]]], settings: Optimizer, model: Any
) -> torch.optim.Optimizer:
    """Queries and keys by head, all else by row."""
    config = None if model is None else model.config.get_text_config()
    width = int(getattr(config, "head_dim", None) or 0)
    if config is not None and not width:
        width = config.hidden_size // config.num_attention_heads

    def by_head(name: str, value: Tensor) -> bool:
        is_one = name.endswith(("q_proj.weight", "k_proj.weight"))
        return is_one and value.ndim == 2 and bool(width) and len(value) % width == 0

    groups = [group | {"rows": width} for group in views(by_head)]
    groups += [group | {"rows": 1} for group in views(lambda n, v: not by_head(n, v))]
    return AdamMini(groups, betas=(settings.beta1, settings.beta2), eps=settings.epsilon)


def set_rate(optimizer: Optimizers, rate: float) -> None:
    """Set the learning rate of this step; groups of LoRA+ take their factor of it."""
    for group in optimizer.param_groups:
        value = rate * group["rate_factor"]
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value
