"""From a file, a mapping and `key=value` overrides to a complete recipe, or to all its problems.

    loaded = load(Path("support.yaml"), ["learning_rate=5e-5", "adapter.rank=8"])
    loaded.recipe     complete and frozen
    loaded.notices    conversions that were made, risks and advice

Defaults come from the profile, then the model, then the preset, then the file, then the overrides.
What suits a model is known to the caller (`advised`), not here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from tunesmith.recipe.assemble import Assembled, assemble
from tunesmith.recipe.catalog import MISSING, FieldDoc, catalog, generic, show, variants
from tunesmith.recipe.checks import contradictions
from tunesmith.recipe.document import Document, parse_value, parse_yaml, read_text
from tunesmith.recipe.layers import IN_REQUEST, ON_COMMAND_LINE, Given, Layer, flatten
from tunesmith.recipe.notices import recipe_notices
from tunesmith.recipe.problems import Notice, Problem, problem, refuse
from tunesmith.recipe.profiles import PRESETS, PROFILES, Preset, Rule
from tunesmith.recipe.schema import Recipe
from tunesmith.recipe.words import Words, guess, kind_of, listed, quoted


@dataclass(frozen=True)
class Loaded:
    """A recipe, what its author should know about it, and which values are no defaults.

    `origins`: path to `profile`, `model`, `preset` or `given`. `problems`: of one that `examine`
    read only; what they name has its default in the recipe. `suited`: the model's own values by
    path, whether they were used or not.
    """

    recipe: Recipe
    notices: tuple[Notice, ...]
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    problems: tuple[Problem, ...] = ()
    suited: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def refused(self, path: str) -> bool:
        """Whether a problem is about this value, or about the list or section that holds it."""
        return any(path == each.path or path.startswith(f"{each.path}.") for each in self.problems)


Advised = Callable[[str], Mapping[str, Any]]
"""From the name of a base to the values, by path, that suit it where nothing else is said."""


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


def examine(
    source: Mapping[str, Any] | Path | str,
    overrides: Sequence[str] = (),
    *,
    devices: int = 1,
    advised: Advised | None = None,
) -> Loaded:
    """A file, a YAML text or a mapping with its problems instead of an error, so that what it
    names can be looked up too. RecipeError for what is no recipe at all: no YAML, no mapping.
    """
    if isinstance(source, Path):
        document = parse_yaml(read_text(source), str(source))
        return examine_document(document, overrides, str(source), devices, advised)
    is_text = isinstance(source, str)
    document = parse_yaml(source, "recipe") if is_text else Document(dict(source))
    return examine_document(document, overrides, "recipe", devices, advised, IN_REQUEST)


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
    loaded = examine_document(document, overrides, source, devices)
    if loaded.problems:
        raise refuse(source, loaded.problems)
    return loaded


def examine_document(
    document: Document,
    overrides: Sequence[str],
    source: str,
    devices: int = 1,
    advised: Advised | None = None,
    place: str = ON_COMMAND_LINE,
) -> Loaded:
    """The recipe of a value whose lines are known, with its problems."""
    if document.value is None:
        document.value = {}
    if not isinstance(document.value, dict):
        raise refuse(source, [problem("not_a_recipe", what=kind_of(document.value))])
    written = flatten(cast("dict[str, Any]", document.value), document.lines)
    written.problems += document.problems
    typed = _override_layer(overrides, place)
    names = _profile_and_preset(written, typed)
    preset = PRESETS.get(names.preset or "")
    names.model = _suited(advised, names, written, typed)
    assembled = assemble([*_below(names, preset), written, typed], devices)
    assembled.problems += names.problems
    recipe, problems = _validate(assembled, names)
    notices = () if problems else (*assembled.notices, *recipe_notices(recipe))
    return Loaded(recipe, notices, _origins(assembled), tuple(problems), names.model)


def _origins(assembled: Assembled) -> dict[str, str]:
    """Which layer each value comes from, by its path."""
    names = ("profile", "model", "preset", "given", "given")
    placed = assembled.values.items()
    return {path: names[each.layer] for path, each in placed if each.layer >= 0}


def _below(names: _Names, preset: Preset | None) -> list[Layer]:
    """What stands below the words of a person, lowest first."""
    tables = (PROFILES[names.profile].defaults, names.model, preset.values if preset else {})
    return [flatten(table) for table in tables]


def _suited(
    advised: Advised | None, names: _Names, written: Layer, typed: Layer
) -> Mapping[str, Any]:
    """The model's own values: where no other profile or preset was chosen, for plain tuning.

    A training type with another aim, preferences say, asks for other numbers.
    """
    given = {**written.values, **typed.values}
    base, stage = given.get("model.base"), given.get("stage.kind")
    is_plain = stage is None or stage.value in (None, "sft")
    is_own = names.profile != "default" or names.preset is not None
    if advised is None or is_own or not is_plain or base is None or not isinstance(base.value, str):
        return {}
    return advised(base.value)


def _override_layer(overrides: Sequence[str], place: str) -> Layer:
    """`key=value` on the command line or beside a recipe in a request, all in one layer."""
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for override in overrides:
        name, mark, text = override.partition("=")
        name = re.sub(r"\[(\d+)\]", r".\1", name.strip())
        if not mark or not name:
            problems.append(problem("not_an_override", override))
            continue
        value = parse_value(text)
        if name in values and values[name] != value:
            problems.append(problem("given_twice", name))
        values[name] = value
    layer = flatten(values, origin=place)
    layer.problems += problems
    return layer


@dataclass
class _Names:
    """Which profile and preset the layers ask for."""

    profile: str
    preset: str | None
    problems: list[Problem]
    model: Mapping[str, Any] = field(default_factory=dict[str, Any])  # what suits the base


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
    code = f"unknown_{given.path}"  # unknown_profile, unknown_preset
    shown, names = quoted(name), listed(known)
    problems.append(
        problem(code, given.path, given.line, name=shown, guess=guess(near), known=names)
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
            problems.append(replace(found.problem, line=line))
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
            found = {_path_of(each["loc"]): each for each in error.errors()}
        new = [path for path in found if path not in failed]
        assert new, f"replacing the values of {found} did not help"
        for path in new:
            failed[path] = _entry_problem(path, found[path], assembled) or _problem(
                path, found[path], assembled, names
            )
            _replace(tree, path)


def _wrong_booleans(assembled: Assembled, names: _Names) -> dict[str, Problem]:
    """`epochs: yes` is a slip of the pen, though Python counts true as 1."""
    return {
        path: _problem(path, {"type": "bool"}, assembled, names)
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


def _problem(path: str, error: Mapping[str, Any], assembled: Assembled, names: _Names) -> Problem:
    doc, kind = catalog().get(generic(path)), error["type"]
    line = assembled.line(path)
    value = assembled.values[path].value if path in assembled.values else None
    if doc is None:
        return problem("unreadable_value", path, line, value=quoted(value))
    if kind == "missing":
        return problem("missing", path, example=_example(doc), help=_first_sentence(doc))
    if kind == "literal_error":  # a section of another kind may take other words
        own = tuple(each for each in doc.choices if f"'{each}'" in error["ctx"]["expected"])
        doc = replace(doc, choices=own or doc.choices)
    is_empty = kind in ("string_too_short", "too_short")
    return problem(
        "empty_value" if is_empty else "bad_value",
        path,
        line,
        value=quoted(value),
        expected={"en": doc.expected("en"), "zh": doc.expected("zh")},
        alias=_alias(path, assembled),
        default=_told_default(doc, names),
    )


def _entry_problem(path: str, error: Any, assembled: Assembled) -> Problem | None:
    """What is wrong inside an entry of a list of objects, such as a reward; None elsewhere."""
    location, kind = error["loc"], error["type"]
    number = next((part for part in location if isinstance(part, int)), None)
    if number is None or "objects" not in catalog()[generic(path)].types:
        return None
    line, entry = assembled.line(path), number + 1
    if kind == "union_tag_invalid":
        told = {"value": error["ctx"]["tag"], "kinds": error["ctx"]["expected_tags"]}
        return problem("entry_of_unknown_kind", path, line, entry=entry, **told)
    field = ".".join(map(str, location[location.index(number) + 2 :]))
    if kind == "extra_forbidden":
        return problem("entry_with_unknown", path, line, entry=entry, field=field)
    if kind == "missing":
        return problem("entry_without", path, line, entry=entry, field=field)
    if not field:
        return None
    value = quoted(error["input"])
    return problem("entry_with_bad_value", path, line, entry=entry, value=value, field=field)


def _example(doc: FieldDoc) -> str:
    known = {"model.base": "model: starter", "data.train": "data: {train: [my.jsonl]}"}
    return known.get(doc.path, f"{doc.leaf}: ...")


def _first_sentence(doc: FieldDoc) -> Words:
    en, zh = doc.facts.en.partition(". ")[0], doc.facts.zh.partition("。")[0]
    return {"en": f"{en.rstrip('.')}.", "zh": f"{zh.rstrip('。')}。"}


def _told_default(doc: FieldDoc, names: _Names) -> Words:
    default = _default(doc, names)
    if default is MISSING:
        return {"en": "", "zh": ""}
    if default is None:
        return {"en": "The default is empty.", "zh": "默认为空。"}
    return {"en": f"The default is {show(default)}.", "zh": f"默认值为 {show(default)}。"}


def _default(doc: FieldDoc, names: _Names) -> Any:
    """What profile, model and preset make of a field left out; MISSING where it may not be."""
    rule = PROFILES[names.profile].rules.get(doc.path)
    preset = PRESETS.get(names.preset or "")
    assembled = assemble(_below(names, preset), devices=1)
    chosen = {placed.given.path: placed.value for placed in assembled.shared}
    chosen |= {path: placed.value for path, placed in assembled.values.items()}
    if doc.path in chosen:
        return chosen[doc.path]
    return MISSING if rule is not None and rule.required else doc.default


def _alias(path: str, assembled: Assembled) -> Words:
    """' (written as lora_rank)' where the author used another name."""
    placed = assembled.values.get(path)
    if placed is None or placed.given.name in (path, path.rpartition(".")[2]):
        return {"en": "", "zh": ""}
    name = placed.given.name
    return {"en": f" (written as {name})", "zh": f"（写作 {name}）"}


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
                problem("missing_in_profile", concrete, profile=profile, expected=_takes(rule))
            )
        elif not rule.allows(value):
            problems.append(
                problem(
                    "outside_profile",
                    concrete,
                    assembled.line(concrete),
                    value=quoted(value),
                    profile=profile,
                    expected=_takes(rule),
                    alias=_alias(concrete, assembled),
                )
            )
    return problems


def _takes(rule: Rule) -> Words:
    return {"en": rule.describe("en"), "zh": rule.describe("zh")}


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
