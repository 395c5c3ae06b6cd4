"""From a file, a mapping and `key=value` overrides to a complete recipe, or to all its problems.

    loaded = load(Path("support.yaml"), ["learning_rate=5e-5", "adapter.rank=8"])
    loaded.recipe     complete and frozen
    loaded.notices    conversions that were made, risks and advice

Defaults come from the profile, then the preset, then the file, then the overrides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tunesmith.errors import RecipeError
from tunesmith.recipe.assemble import Assembled, assemble
from tunesmith.recipe.catalog import MISSING, FieldDoc, catalog, generic, show, variants
from tunesmith.recipe.checks import contradictions
from tunesmith.recipe.document import Document, parse_value, parse_yaml, read_text
from tunesmith.recipe.layers import Given, Layer, flatten
from tunesmith.recipe.notices import recipe_notices
from tunesmith.recipe.problems import Notice, Problem, refuse
from tunesmith.recipe.profiles import PRESETS, PROFILES, Rule
from tunesmith.recipe.schema import Recipe


@dataclass(frozen=True)
class Loaded:
    """A recipe, and what its author should know about it."""

    recipe: Recipe
    notices: tuple[Notice, ...]


def load(path: Path, overrides: Sequence[str] = (), *, devices: int = 1) -> Loaded:
    """Load a YAML file. `devices` counts in per-device batch sizes only."""
    return loads(read_text(path), overrides, source=str(path), devices=devices)


def loads(
    text: str, overrides: Sequence[str] = (), *, source: str = "recipe", devices: int = 1
) -> Loaded:
    """Load a YAML text; `source` names it in errors."""
    return parse_document(parse_yaml(text, source), overrides, source, devices)


def parse(mapping: Mapping[str, Any], overrides: Sequence[str] = (), *, devices: int = 1) -> Loaded:
    """Load a mapping, such as the body of a request."""
    return parse_document(Document(dict(mapping)), overrides, "recipe", devices)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file, without the notices."""
    return load(path, overrides).recipe


def parse_recipe(mapping: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a mapping, without the notices."""
    return parse(mapping, overrides).recipe


def parse_document(
    document: Document, overrides: Sequence[str], source: str, devices: int = 1
) -> Loaded:
    """Load a value whose lines are known; the other ways to load all end here."""
    if document.value is None:
        document.value = {}
    if not isinstance(document.value, dict):
        raise RecipeError(
            f"{source} is no recipe: it holds {_kind_of_value(document.value)}, not fields.",
            hint="Write fields such as `model: starter`; ready recipes are in recipes/.",
        )
    written = flatten(cast("dict[str, Any]", document.value), document.lines)
    written.problems += document.problems
    typed = _override_layer(overrides)
    names = _profile_and_preset(written, typed)
    preset = PRESETS.get(names.preset or "")
    base = [flatten(PROFILES[names.profile].defaults), flatten(preset.values if preset else {})]
    assembled = assemble([*base, written, typed], devices)
    assembled.problems += names.problems
    recipe, problems = _validate(assembled, names)
    if problems:
        raise refuse(source, problems)
    return Loaded(recipe, (*assembled.notices, *recipe_notices(recipe)))


def _kind_of_value(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"the value {show(value)[:40]!r}"


def _override_layer(overrides: Sequence[str]) -> Layer:
    """`key=value` on the command line, all in one layer."""
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for override in overrides:
        name, mark, text = override.partition("=")
        name = re.sub(r"\[(\d+)\]", r".\1", name.strip())
        if not mark or not name:
            problems.append(
                Problem(override, "is no override.", "Write field=value, such as epochs=3.")
            )
            continue
        value = parse_value(text)
        if name in values and values[name] != value:
            problems.append(
                Problem(name, "is given twice on the command line.", "Keep one of them.")
            )
        values[name] = value
    layer = flatten(values, origin=" on the command line")
    layer.problems += problems
    return layer


@dataclass
class _Names:
    """Which profile and preset the layers ask for."""

    profile: str
    preset: str | None
    problems: list[Problem]


def _profile_and_preset(*layers: Layer) -> _Names:
    names = _Names("default", None, [])
    given = {path: value for layer in layers for path, value in layer.values.items()}
    for layer in layers:
        layer.values.pop("profile", None)
        layer.values.pop("preset", None)
    preset = given.get("preset")
    if preset and preset.value is not None:
        names.preset = _known_name(preset, PRESETS, names.problems)
    if names.preset:
        names.profile = PRESETS[names.preset].profile
    profile = given.get("profile")
    if profile and profile.value is not None:
        names.profile = _known_name(profile, PROFILES, names.problems) or names.profile
    return names


def _known_name(given: Given, known: Mapping[str, Any], problems: list[Problem]) -> str | None:
    name = str(given.value)
    if name in known:
        return name
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}? " if near else ""
    problems.append(
        Problem(
            given.path,
            f"there is no {given.path} {name!r}.",
            f"{hint}Known: {', '.join(known)}.",
            given.line,
        )
    )
    return None


def _validate(assembled: Assembled, names: _Names) -> tuple[Recipe, list[Problem]]:
    """The recipe with every problem of its values, of its profile, and of fields taken together."""
    tree = {"profile": names.profile, "preset": names.preset, **assembled.nested()}
    recipe, failed = _schema(tree, assembled, names)
    problems = [*assembled.problems, *failed.values()]
    rules = PROFILES[names.profile].rules
    for path, rule in rules.items():
        problems += _break_rule(path, rule, recipe, assembled, failed.keys(), names.profile)
    for found in contradictions(recipe):
        if not failed.keys() & set(found.paths):
            lines = [line for path in found.paths if (line := assembled.line(path))]
            line = max(lines, default=None)
            problems.append(Problem("", found.message, found.hint, line))
    return recipe, problems


def _schema(
    tree: dict[str, Any], assembled: Assembled, names: _Names
) -> tuple[Recipe, dict[str, Problem]]:
    """Validate; what fails is replaced by its default, so that the other checks can go on."""
    from pydantic import ValidationError

    failed = _wrong_booleans(assembled, names)
    for path in failed:
        _replace(tree, path)
    while True:
        try:
            context = {"check_fields_together": False}
            return Recipe.model_validate(tree, context=context), failed
        except ValidationError as error:
            found = {_path_of(each["loc"]): each["type"] for each in error.errors()}
        new = [path for path in found if path not in failed]
        assert new, f"replacing the values of {found} did not help"
        for path in new:
            failed[path] = _problem(path, found[path], assembled, names)
            _replace(tree, path)


def _wrong_booleans(assembled: Assembled, names: _Names) -> dict[str, Problem]:
    """`epochs: yes` is a slip of the pen, though Python counts true as 1."""
    return {
        path: _problem(path, "bool", assembled, names)
        for path, placed in assembled.values.items()
        if isinstance(placed.value, bool) and "bool" not in catalog()[generic(path)].types
    }


def _path_of(location: tuple[int | str, ...]) -> str:
    """('adapter', 'lora', 'rank') -> adapter.rank: pydantic names the kind of a section too."""
    path = ""
    for part in location:
        if path in variants() and part in variants()[path]:
            path += "\0"  # the kind; a field of the same name may follow
            continue
        path = f"{path}.{part}".lstrip(".").replace("\0", "")
        if generic(path) in catalog() and generic(path) != "data.train":
            break
    return path.rstrip("\0")


def _problem(path: str, kind: str, assembled: Assembled, names: _Names) -> Problem:
    doc = catalog().get(generic(path))
    if doc is None:
        return Problem(path, "cannot be read.", "", assembled.line(path))
    if kind == "missing":
        example = "model: starter" if path == "model.base" else f"{doc.leaf}: ..."
        if path == "data.train":
            example = "data: {train: [my.jsonl]}"
        return Problem(path, "is missing.", f"Write {example}. {doc.facts.en.partition('. ')[0]}.")
    value = assembled.value(path) if path in assembled.values else None
    default = _default(doc, names)
    hint = "" if default is MISSING else f"The default is {show(default)}."
    return Problem(
        path,
        f"{_quoted(value)} is not {doc.expected()}{_alias(path, assembled)}.",
        hint,
        assembled.line(path),
    )


def _default(doc: FieldDoc, names: _Names) -> Any:
    """What profile and preset make of a field that is left out; MISSING where it may not be."""
    rule = PROFILES[names.profile].rules.get(doc.path)
    preset = PRESETS.get(names.preset or "")
    layers = [flatten(PROFILES[names.profile].defaults), flatten(preset.values if preset else {})]
    assembled = assemble(layers, devices=1)
    chosen = {placed.given.path: placed.value for placed in assembled.shared}
    chosen |= {path: placed.value for path, placed in assembled.values.items()}
    if doc.path in chosen:
        return chosen[doc.path]
    return MISSING if rule is not None and rule.required else doc.default


def _alias(path: str, assembled: Assembled) -> str:
    """' (written as lora_rank)' where the author used another name."""
    placed = assembled.values.get(path)
    known = placed is None or placed.given.name in (path, path.rpartition(".")[2])
    return "" if known or placed is None else f" (written as {placed.given.name})"


def _quoted(value: Any) -> str:
    return repr(value) if isinstance(value, str) else show(value)


_PLACEHOLDERS: dict[str, Any] = {
    "model.base": "starter",
    "data.train": [{"dataset": "data.jsonl"}],
    "data.train.*.dataset": "data.jsonl",
    "data.validation.dataset": "validation.jsonl",
    "data.test.dataset": "test.jsonl",
}


def _replace(tree: dict[str, Any], path: str) -> None:
    """Put the default in place of a value that failed."""
    *parents, leaf = path.split(".")
    place: Any = tree
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    if generic(path) in _PLACEHOLDERS:
        place[leaf] = _PLACEHOLDERS[generic(path)]
    else:
        place.pop(leaf, None)


def _break_rule(
    path: str, rule: Rule, recipe: Recipe, assembled: Assembled, failed: Any, profile: str
) -> list[Problem]:
    problems: list[Problem] = []
    for concrete, value in values_at(recipe, path):
        if concrete in failed:
            continue
        if rule.required and concrete not in assembled.values:
            problems.append(
                Problem(
                    concrete,
                    f"is missing: the profile {profile} has no default for it.",
                    f"Write {rule.describe()}.",
                )
            )
        elif not rule.allows(value):
            problems.append(
                Problem(
                    concrete,
                    f"{show(value)} is outside the profile {profile}, which takes "
                    f"{rule.describe()}{_alias(concrete, assembled)}.",
                    "Change it, or choose another profile, such as profile: default.",
                    assembled.line(concrete),
                )
            )
    return problems


def values_at(recipe: Recipe, path: str) -> list[tuple[str, Any]]:
    """The values of a path: one for each dataset where it holds a *, none if the kind has none."""
    found: list[tuple[str, Any]] = [("", recipe)]
    for part in path.split("."):
        deeper: list[tuple[str, Any]] = []
        for prefix, value in found:
            if part == "*":
                deeper += [(f"{prefix}.{index}", item) for index, item in enumerate(value)]
            elif part.isdigit() and int(part) < len(value):
                deeper.append((f"{prefix}.{part}", value[int(part)]))
            elif hasattr(value, part):
                deeper.append((f"{prefix}.{part}".lstrip("."), getattr(value, part)))
        found = deeper
    return found
