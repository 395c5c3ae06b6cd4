"""LLaMA-Pro: new layers between the old ones, which alone are trained (Wu and others 2024).

A new layer is a copy of the one before it whose two ways back into the stream are zero, so that the
model begins as it was. The old layers stay frozen and keep what they know.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from tunesmith.engine.methods.freeze import decoder_layers
from tunesmith.errors import RecipeError
from tunesmith.recipe.adapters import Expand

WAYS_BACK = ("o_proj", "down_proj")


@torch.no_grad()
def expand(model: Any, method: Expand) -> None:
    """Put the new layers in, evenly spread, and make only them trainable."""
    layers = decoder_layers(model)
    if len(layers) % method.blocks:
        fitting = [n for n in range(1, len(layers) + 1) if len(layers) % n == 0]
        raise RecipeError(
            f"adapter.blocks is {method.blocks}, which does not divide the {len(layers)} layers "
            "of the model evenly.",
            hint=f"Write one of {', '.join(map(str, fitting))}.",
            code="blocks_do_not_divide",
            blocks=method.blocks,
            existing=len(layers),
            fitting=fitting,
        )
    model.requires_grad_(False)
    every = len(layers) // method.blocks
    grown: list[nn.Module] = []
    for number, layer in enumerate(layers, start=1):
        grown.append(layer)
        if number % every == 0:
            grown.append(_silent_copy(layer))
    _put_in(model, layers, grown)
    score = getattr(model, "score", None)
    if isinstance(score, nn.Module):
        score.requires_grad_(True)


def _silent_copy(layer: nn.Module) -> nn.Module:
    # All layers share one configuration; what changes there shall reach the new ones, too.
    shared = [part.config for part in layer.modules() if hasattr(part, "config")]
    new = copy.deepcopy(layer, {id(config): config for config in shared})
    found = 0
    for name, part in new.named_modules():
        if name.endswith(WAYS_BACK) and isinstance(part, nn.Linear):
            part.weight.zero_()
            if part.bias is not None:
                part.bias.zero_()
            found += 1
    if found != len(WAYS_BACK):
        raise RecipeError(
            "This model has other layers than those that can be doubled (o_proj, down_proj).",
            hint="Take adapter.kind: freeze, or lora.",
            code="cannot_expand",
        )
    return new.requires_grad_(True)


def _put_in(model: Any, layers: list[nn.Module], grown: list[nn.Module]) -> None:
    config = model.config.get_text_config()
    for part in model.modules():
        if isinstance(part, nn.ModuleList) and len(part) == len(layers) and part[0] is layers[0]:
            del part[:]
            part.extend(grown)
            break
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        by_layer = {id(layer): kind for layer, kind in zip(layers, kinds, strict=True)}
        before = kinds[0]
        fitted: list[str] = []
        for layer in grown:
            before = by_layer.get(id(layer), before)  # a new layer is of the kind of its model
            fitted.append(before)
        config.layer_types = fitted
    config.num_hidden_layers = len(grown)
    for number, layer in enumerate(grown):
        parts: list[Any] = [part for part in layer.modules() if hasattr(part, "layer_idx")]
        for part in parts:
            part.layer_idx = number
