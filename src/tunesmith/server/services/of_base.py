"""What a recipe asks of its base that these weights cannot give; known before anything loads.

The engine refuses the same when it has the model. What nobody knows of a base passes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tunesmith.models.facts import layer_names
from tunesmith.models.presets import capabilities
from tunesmith.recipe import Notice, Problem, Recipe
from tunesmith.recipe.adapters import ALL_LINEAR, Lora, Oft, names_in
from tunesmith.recipe.problems import notice, problem
from tunesmith.recipe.words import listed
from tunesmith.server.services.models.grounds import Ground


def problems_of_base(recipe: Recipe, base: Ground, folders: Iterable[Path]) -> Iterator[Problem]:
    """A method that does not go with the weights, and layers that they do not have."""
    stage, method = recipe.stage.kind, recipe.adapter.kind
    if base.is_known:
        for each in capabilities(base.family, quantised=base.quantised):
            if (each.stage, each.method) == (stage, method) and each.reasons is not None:
                reason = dict(zip(("en", "zh"), each.reasons, strict=True))
                yield problem("not_on_this_base", "adapter.kind", reason=reason)
    yield from _targets(recipe, folders)


def notices_of_base(recipe: Recipe, base: Ground) -> Iterator[Notice]:
    """Rows longer than the base reads at once."""
    length, context = recipe.data.max_length, base.context
    if context is not None and length > context and recipe.model.rope_scaling == "none":
        yield notice("context_shorter", "data.max_length", length=length, context=context)


def _targets(recipe: Recipe, folders: Iterable[Path]) -> Iterator[Problem]:
    adapter = recipe.adapter
    if not isinstance(adapter, Lora | Oft) or adapter.targets == ALL_LINEAR:
        return
    existing = next((names for names in map(layer_names, folders) if names), frozenset[str]())
    last = {name: name.rsplit(".", 1)[-1] for name in names_in(adapter.targets)}
    unknown = [name for name, leaf in last.items() if leaf not in existing]
    if existing and unknown:
        there = listed(sorted(existing))
        yield problem("no_such_layer", "adapter.targets", unknown=listed(unknown), existing=there)
