"""What a model rests on: an adapter or a result has the size and the context of its base.

Also the values that a model recommends for its trainings: its own, else those of what it was made
of, else those that ship with its preset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from tunesmith.errors import InputError
from tunesmith.models.adapters import BESIDE
from tunesmith.models.adapters import IN_FRONT as FOLDERS_IN_FRONT
from tunesmith.models.presets import STARTER, find_preset
from tunesmith.recipe.adapters import IN_FRONT
from tunesmith.recipe.load import Advised
from tunesmith.server.access import Caller
from tunesmith.server.datadir import DataDir
from tunesmith.server.services import recipes
from tunesmith.server.services.models.finding import find, folder_of
from tunesmith.server.tables import Model
from tunesmith.starter import starter_directory

DEFAULTS: Final = "defaults"  # of a model's details: fields of a recipe by path
_LONGEST_CHAIN: Final = 50
# Vectors in front of the text, in the words of recipes and of PEFT's files.
_IN_FRONT: Final = IN_FRONT | {kind.lower() for kind in FOLDERS_IN_FRONT}
_BESIDE: Final = frozenset({"adapter", BESIDE.lower()})
# What a recommendation may speak of: how to train, not on what.
_SETTABLE: Final = ("adapter.", "stage.", "training.", "data.max_length", "data.validation.")


@dataclass(frozen=True)
class Ground:
    """What is known of the weights that a model rests on; None where nobody knows it."""

    name: str = ""
    family: str = ""
    parameters: int | None = None
    context: int | None = None
    quantised: str = ""  # how the weights are packed: gptq, awq, ...
    is_known: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])


def ground(session: Session, model: Model) -> Ground:
    """Follows parents to the base; a base without facts may be a preset."""
    defaults: Mapping[str, Any] = {}
    row: Model | None = model
    for _ in range(_LONGEST_CHAIN):
        assert row is not None
        defaults = defaults or row.details.get(DEFAULTS) or {}
        parent = session.get(Model, row.parent_id) if row.parent_id else None
        if parent is None or _has_facts(row):
            break
        row = parent
    assert row is not None
    if _has_facts(row):
        known = row.details
        return Ground(
            name=row.name,
            family=str(known.get("family") or ""),
            parameters=_whole(known.get("parameters")),
            context=_whole(known.get("context")),
            quantised=str(known.get("quantised") or ""),
            is_known=True,
            defaults=defaults or ground_of(row.name).defaults,
        )
    found = ground_of(row.base)
    return Ground(
        name=found.name,
        family=found.family,
        parameters=found.parameters,
        context=found.context,
        is_known=found.is_known,
        defaults=defaults or found.defaults,
    )


def advised(session: Session, caller: Caller, project_id: str | None) -> Advised:
    """What suits a base by its name, for a recipe that says nothing else of it."""

    def of(name: str) -> Mapping[str, Any]:
        model = find(session, caller, name, project_id)
        return ground_of(name).defaults if model is None else ground(session, model).defaults

    return of


def adapter_kind(adapter: Model) -> str:
    """By its recipe; by its files, where it was imported."""
    trained = ((adapter.recipe or {}).get("adapter") or {}).get("kind")
    return str(trained or adapter.details.get("family") or "lora")


def holds_vectors(model: Model) -> bool:
    """True for learned vectors in front of the text: they are no weights to build on."""
    return model.kind == "adapter" and adapter_kind(model) in _IN_FRONT


def attends_beside(model: Model) -> bool:
    """True for learned vectors beside the text (adapter tuning): no weights to build on either."""
    return model.kind == "adapter" and adapter_kind(model) in _BESIDE


def folders(session: Session, place: DataDir, model: Model | None, name: str) -> Iterator[Path]:
    """Folders of a model and of what it rests on, the nearest first; none where it is not here.

    `name` is that of a model without a row of its own: the starter, or an id of a hub.
    """
    for _ in range(_LONGEST_CHAIN):
        if model is None:
            break
        yield folder_of(session, place, model)
        name = model.base
        model = session.get(Model, model.parent_id) if model.parent_id else None
    if name == STARTER:
        yield starter_directory()


def ground_of(name: str) -> Ground:
    """The same of a model that nobody has imported, where it is a preset."""
    preset = find_preset(name)
    if preset is None:
        return Ground(name)
    return Ground(
        name=preset.name,
        family=preset.family,
        parameters=preset.parameters,
        context=preset.context,
        is_known=True,
        defaults=preset.defaults,
    )


def refuse_odd_defaults(defaults: Mapping[str, Any]) -> None:
    """RecipeError for values that no recipe may have, InputError for fields of another kind."""
    draft: dict[str, Any] = {
        "model": {"base": "starter"},
        "data": {"train": [{"dataset": "builtin:general"}]},
    }
    for path, value in defaults.items():
        if not path.startswith(_SETTABLE):
            raise InputError(
                f"{path} is not what a model recommends.",
                hint=f"Fields: {', '.join(f'{each}*' for each in _SETTABLE)}",
                code="not_a_default",
                fields=[f"{each}*" for each in _SETTABLE],
                param=f"defaults.{path}",
            )
        _put(draft, path.split("."), value)
    recipes.load(draft, kept="Nothing was changed.")


def _put(draft: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        draft = draft.setdefault(name, {})
    draft[path[-1]] = value


def _has_facts(model: Model) -> bool:
    return model.kind == "base" and "family" in model.details


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None
