"""A recipe and its schema for other eyes: complete YAML, JSON schema, help, changed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.errors import RecipeError
from tunesmith.recipe.assemble import assemble
from tunesmith.recipe.catalog import MISSING, FieldDoc, catalog, generic, lookup, names, normalise
from tunesmith.recipe.document import dump_yaml
from tunesmith.recipe.layers import flatten
from tunesmith.recipe.load import values_at
from tunesmith.recipe.profiles import PRESETS, PROFILES, Preset, Rule
from tunesmith.recipe.schema import Recipe


def dump_recipe(recipe: Recipe) -> str:
    """The complete recipe as YAML; loading it gives the same recipe."""
    return dump_yaml(recipe.model_dump(mode="python"))


def recipe_json_schema() -> dict[str, Any]:
    """The JSON schema of a complete recipe, with help, units and aliases on every field."""
    return Recipe.model_json_schema()


@dataclass(frozen=True)
class ProfileField:
    """A field as a form shows it: with the default and the range of the chosen profile."""

    doc: FieldDoc
    rule: Rule | None

    def takes(self, language: str = "en") -> str:
        """The range in words: that of the profile where it has one."""
        return self.rule.describe(language) if self.rule else self.doc.expected(language)


def profile_fields(profile: str = "default") -> list[ProfileField]:
    """All fields with the defaults and ranges of a profile."""
    if profile not in PROFILES:
        raise RecipeError(f"There is no profile {profile}.", hint=f"Known: {', '.join(PROFILES)}.")
    chosen = PROFILES[profile]
    values = _values_of(chosen.defaults)
    fields: list[ProfileField] = []
    for path, doc in catalog().items():
        rule = chosen.rules.get(path)
        default = MISSING if rule and rule.required else values.get(path, doc.default)
        fields.append(ProfileField(replace(doc, default=default), rule))
    return fields


def _values_of(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """What a profile or preset sets, by canonical path; `*` stands for every dataset."""
    assembled = assemble([flatten(mapping)], devices=1)
    shared = [placed for placed in assembled.shared if "*" in placed.given.path]
    placed = [*assembled.values.values(), *shared]
    return {each.given.path: each.value for each in placed if each.layer >= 0}


def preset_values(preset: Preset) -> dict[str, Any]:
    """What a preset sets, by the path of the field."""
    return _values_of(preset.values)


def explain(name: str) -> FieldDoc:
    """Everything about one field, by its path or by any of its names: explain('学习率')."""
    if generic(name) in catalog():
        return catalog()[generic(name)]
    if paths := lookup("", name):
        return catalog()[paths[0]]
    from difflib import get_close_matches

    known = [*catalog(), *names("")]
    near = get_close_matches(normalise(name), known, n=1, cutoff=0.5)
    raise RecipeError(
        f"There is no field {name}.",
        hint=f"Did you mean {near[0]}?" if near else "`tunesmith recipe fields` lists all fields.",
    )


@dataclass(frozen=True)
class Change:
    """A value that differs from the preset of its recipe."""

    path: str
    preset: Any
    value: Any


def preset_changes(recipe: Recipe) -> list[Change]:
    """What differs from the preset: nothing right after it was chosen."""
    preset = PRESETS.get(recipe.preset or "")
    if preset is None:
        return []
    changes: list[Change] = []
    for path, wanted in _values_of(preset.values).items():
        found = values_at(recipe, path) or [(path, None)]
        changes += [Change(where, wanted, value) for where, value in found if value != wanted]
    return changes
