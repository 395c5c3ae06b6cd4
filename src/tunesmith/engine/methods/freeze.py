"""Train some layers of a model as they are, and nothing else."""

from __future__ import annotations

from typing import Any

from torch import nn

from tunesmith.errors import RecipeError
from tunesmith.recipe.adapters import Freeze, names_in


def freeze_all_but(model: Any, method: Freeze) -> None:
    """Make trainable what the recipe names, and the score of a reward model."""
    model.requires_grad_(False)
    layers = decoder_layers(model)
    if abs(method.layers) > len(layers):
        raise RecipeError(
            f"adapter.layers is {method.layers}, but the model has {len(layers)} layers.",
            hint=f"Write a number from -{len(layers)} to {len(layers)}, or train all weights "
            "(adapter.kind: full).",
            code="too_many_layers",
            layers=method.layers,
            existing=len(layers),
        )
    chosen = layers[-method.layers :] if method.layers > 0 else layers[: -method.layers]
    parts = names_in(method.modules)
    for layer in chosen:
        _train(layer, [""] if parts == ["all"] else parts, "adapter.modules")
    inside = {id(part) for layer in layers for part in layer.modules()}
    _train(model, names_in(method.extra_modules), "adapter.extra_modules", leaving=inside)
    score = getattr(model, "score", None)
    if isinstance(score, nn.Module):
        score.requires_grad_(True)


def decoder_layers(model: Any) -> list[nn.Module]:
    """The layers of the decoder, in order."""
    wanted = int(model.config.get_text_config().num_hidden_layers)
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList)]
    return list(next(part for part in lists if len(part) == wanted))


def _train(owner: nn.Module, names: list[str], field: str, leaving: set[int] | None = None) -> None:
    """Let the parts of a module with these names learn; an unknown name is refused."""
    parts = {
        name: part for name, part in owner.named_modules() if id(part) not in (leaving or set())
    }
    for wanted in names:
        found = [part for name, part in parts.items() if is_called(name, wanted)]
        if not found:
            raise _unknown(
                wanted, sorted({name.rsplit(".", 1)[-1] for name in parts if name}), field
            )
        for part in found:
            part.requires_grad_(True)


def is_called(name: str, wanted: str) -> bool:
    """Whether the end of a module's name is the wanted one; '' is the module itself."""
    return name == wanted or (bool(wanted) and name.endswith(f".{wanted}"))


def _unknown(wanted: str, existing: list[str], field: str) -> RecipeError:
    return RecipeError(
        f"{field}: there is no part named {wanted} there.",
        hint=f"It has: {', '.join(existing)}.",
        code="unknown_module",
        field=field,
        unknown=wanted,
        existing=existing,
    )
