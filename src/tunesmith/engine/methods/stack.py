"""Earlier adapters that are merged into the base before training, and saved with what is trained.

While training, the base has W + s1 B1 A1 + s2 B2 A2 and the adapter B A beside it. On disk there is
one ordinary adapter for the untouched W: its A is A above A1 and A2, its B is B beside s1/s B1 and
s2/s B2, so that it adds all of them, each with its own strength. So any program loads it, and
training can go on from it.

Shapes: R rank, D inputs, O outputs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tunesmith.errors import ModelError
from tunesmith.models.adapters import not_plain, scale_of_layer
from tunesmith.models.files import check_model_files

_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_NAME = "base_model.model.{layer}.lora_{half}.weight"


@dataclass(frozen=True)
class Stack:
    """What several adapters add to each layer together, by the name of the layer."""

    a_RD: dict[str, Tensor]
    b_OR: dict[str, Tensor]  # with the strength of each adapter

    def with_these(
        self, state: dict[str, Tensor], scales: dict[str, float], settings: dict[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """State and settings of one adapter that adds these and a trained one.

        Args:
            state: The trained adapter by PEFT's names, of the layers that it is on.
            scales: By which its products are multiplied, for each of these layers.
            settings: Its adapter_config.json.
        """
        out = dict(state)
        for layer, a in self.a_RD.items():
            names = [_NAME.format(layer=layer, half=half) for half in "AB"]
            b = self.b_OR[layer] / scales.get(layer, 1.0)
            if names[0] in state:
                a = torch.cat([state[names[0]], a.to(state[names[0]])], 0)
                b = torch.cat([state[names[1]], b.to(state[names[1]])], 1)
            out |= {names[0]: a.contiguous(), names[1]: b.contiguous()}
        ranks = {
            match[1]: len(tensor)
            for name, tensor in out.items()
            if (match := _KEY.fullmatch(name)) and match[2] == "A"
        }
        return out, settings | _strengths(ranks, scales, rslora=bool(settings.get("use_rslora")))

    def without_these(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The trained adapter within a saved one, to the last bit."""
        out: dict[str, Tensor] = {}
        for name, tensor in state.items():
            match = _KEY.fullmatch(name)
            axis = 0 if match and match[2] == "A" else 1
            theirs = len(self.a_RD[match[1]]) if match and match[1] in self.a_RD else 0
            own = tensor.shape[axis] - theirs if theirs else tensor.shape[0]
            if own:
                out[name] = tensor.narrow(axis, 0, own).contiguous() if theirs else tensor
        return out


def _strengths(ranks: dict[str, int], scales: dict[str, float], *, rslora: bool) -> dict[str, Any]:
    """Rank and alpha of each layer, so that alpha / rank is what its trained part was scaled by."""
    alphas = {
        layer: scales.get(layer, 1.0) * (math.sqrt(rank) if rslora else rank)
        for layer, rank in ranks.items()
    }
    usual = next(iter(ranks))
    return {
        "target_modules": sorted(ranks),
        "r": ranks[usual],
        "lora_alpha": alphas[usual],
        "rank_pattern": {n: rank for n, rank in ranks.items() if rank != ranks[usual]},
        "alpha_pattern": {n: alpha for n, alpha in alphas.items() if alpha != alphas[usual]},
        "init_lora_weights": True,
    }


@torch.no_grad()
def merge_adapters(model: nn.Module, folders: Sequence[Path]) -> Stack:
    """Add plain LoRA adapters to the weights of their base, each weight rounded once.

    Raises:
        ModelError: one of them is no plain LoRA, or belongs to another base.
    """
    a_RD: dict[str, list[Tensor]] = {}
    b_OR: dict[str, list[Tensor]] = {}
    for folder in folders:
        for layer, (a, b) in _read(folder).items():
            _check_layer(model, folder, layer, a, b)
            a_RD.setdefault(layer, []).append(a)
            b_OR.setdefault(layer, []).append(b)
    stack = Stack(
        {layer: torch.cat(parts) for layer, parts in a_RD.items()},
        {layer: torch.cat(parts, 1) for layer, parts in b_OR.items()},
    )
    for layer, a in stack.a_RD.items():
        part: Any = model.get_submodule(layer)
        weight = part.weight.data
        added = (stack.b_OR[layer].double() @ a.double()).to(weight.device)
        weight.copy_(weight.double() + (added if isinstance(part, nn.Linear) else added.t()))
    return stack


def _read(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """A, and B with its strength, of each layer."""
    check_model_files(folder)
    settings: Any = json.loads((folder / "adapter_config.json").read_bytes())
    reasons = not_plain(settings)
    if reasons:
        raise ModelError(
            f"The adapter in {folder} has {', '.join(reasons)}; only plain LoRA is merged before "
            "training.",
            hint="Merge it (tunesmith export --format merged), write the result as model.base, and "
            "leave it out of adapter.merge_first.",
            code="merged_not_plain",
            adapter=str(folder),
        )
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        match = _KEY.fullmatch(name)
        assert match is not None, f"no part of a LoRA: {name}"
        halves.setdefault(match[1], {})[match[2]] = tensor.float()
    return {
        layer: (both["A"], both["B"] * scale_of_layer(layer, len(both["A"]), settings))
        for layer, both in halves.items()
    }


def _check_layer(model: nn.Module, folder: Path, layer: str, a: Tensor, b: Tensor) -> None:
    parts: dict[str, Any] = dict(model.named_modules())
    here = tuple(parts[layer].weight.shape) if layer in parts else None
    if here is not None and not isinstance(parts[layer], nn.Linear):
        here = here[::-1]  # GPT-2 stores inputs x outputs
    there = (b.shape[0], a.shape[1])
    if here != there:
        what = "no such layer" if here is None else f"{list(here)}"
        raise ModelError(
            f"The adapter in {folder} does not fit the base model: {layer} has the shape "
            f"{list(there)} in its files and {what} on this base.",
            hint="Merge only adapters of this base (adapter.merge_first).",
            code="merged_of_another_base",
            adapter=str(folder),
            module=layer,
        )


def keep_stack(tuned: Any, stack: Stack) -> None:
    """Remember what the base of these adapters has been given.

    Raises:
        ModelError: the trained adapter is a DoRA, whose lengths cannot be saved beside others.
    """
    if tuned.peft_config[tuned.active_adapter].use_dora:
        raise ModelError(
            "The adapter that is gone on with is a DoRA, which is not saved together with those of "
            "adapter.merge_first.",
            hint="Leave one of them out, or merge with tunesmith export --format merged.",
            code="merged_below_dora",
        )
    tuned.merged_first = stack


def stack_of(tuned: Any) -> Stack | None:
    """The adapters that were merged into the base before training; None where there are none."""
    return getattr(tuned, "merged_first", None)


def scales_of(tuned: Any) -> dict[str, float]:
    """By which the product of each trained adapter is multiplied, by the name of its layer."""
    from peft.tuners.lora import LoraLayer

    return {
        name: float(layer.scaling[tuned.active_adapter])
        for name, layer in tuned.get_base_model().named_modules()
        if isinstance(layer, LoraLayer)
    }
