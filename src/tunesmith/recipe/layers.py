"""From what people write to canonical paths: one mapping becomes one flat layer.

    {"model": "Qwen/Qwen3-0.6B", "学习率": "5e-5", "adapter": {"lora_rank": 8}}
    -> model.base = Qwen/Qwen3-0.6B, training.learning_rate = 5e-5, adapter.rank = 8

A name is understood in every section that holds its field, the root included. Names that stand for
more than one field, or for a sum of several names, are in `foreign.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from tunesmith.recipe import foreign
from tunesmith.recipe.catalog import (
    FieldDoc,
    catalog,
    generic,
    lookup,
    names,
    normalise,
    sections,
)
from tunesmith.recipe.document import Key
from tunesmith.recipe.foreign import Said
from tunesmith.recipe.problems import Notice, Problem, problem
from tunesmith.recipe.words import Words, either, guess, listed, quoted

# A section that is written as a plain value means this field of it: `model: starter`.
_SHORTHAND = {
    "model": "base",
    "adapter": "kind",
    "stage": "kind",
    "data": "train",
    "data.validation": "kind",
    "data.test": "kind",
    "training.schedule": "kind",
    "training.optimizer": "kind",
}


# Where values are written that win over a recipe.
ON_COMMAND_LINE = " on the command line"
IN_REQUEST = " in the request"
_PLACES = {ON_COMMAND_LINE: "（命令行）", IN_REQUEST: "（请求）"}


@dataclass(frozen=True)
class Given:
    """A value for a path, and where it was written. A soft one applies only where it can."""

    path: str
    value: Any
    name: str
    line: int | None = None
    origin: str = ""
    soft: bool = False

    def where(self) -> str:
        return self.place()["en"]

    def place(self) -> Words:
        """Name and place, as a problem tells them."""
        if self.line:
            return {
                "en": f"{self.name} (line {self.line})",
                "zh": f"{self.name}（第 {self.line} 行）",
            }
        return {
            "en": f"{self.name}{self.origin}",
            "zh": f"{self.name}{_PLACES.get(self.origin, '')}",
        }


@dataclass
class Layer:
    """All values of one source (a profile, a file, the command line), by path."""

    values: dict[str, Given] = field(default_factory=dict[str, Given])
    problems: list[Problem] = field(default_factory=list[Problem])
    notices: list[Notice] = field(default_factory=list[Notice])

    def add(self, given: Given) -> None:
        """Take a value; another value for the same path under another name is a problem."""
        known = self.values.get(given.path)
        if known is not None and not _same(known.value, given.value):
            self.problems.append(_conflict(known, given))
        self.values[given.path] = given


def flatten(
    mapping: Mapping[str, Any], lines: Mapping[Key, int] | None = None, *, origin: str = ""
) -> Layer:
    """One mapping as a layer of canonical paths, with all problems of names in it."""
    reader = _Reader(lines or {}, origin)
    reader.read("", mapping, ())
    reader.translate()
    return reader.layer


class _Reader:
    """Walks a mapping along the sections of the schema."""

    def __init__(self, lines: Mapping[Key, int], origin: str) -> None:
        self.layer = Layer()
        self._lines = lines
        self._origin = origin
        self._foreign: dict[str, Said] = {}

    def read(self, section: str, mapping: Mapping[str, Any], key: Key) -> None:
        for name, value in mapping.items():
            self._entry(section, str(name), value, (*key, name))

    def translate(self) -> None:
        """Take in the names that do not stand for exactly one field."""
        said = foreign.translate(self._foreign)
        for path, value, source in said.values:
            if path == "data.train":
                self._sources(value, source.name, (source.name,))
            else:
                self._add(path, _spelled(path, value), source.name, source.line)
        self.layer.problems += said.problems
        self.layer.notices += said.notices

    def _entry(self, section: str, name: str, value: Any, key: Key) -> None:
        line = self._lines.get(key)
        child = sections().get(generic(section), {}).get(name)
        if child is not None:
            path = f"{section}.{name}" if section else name
            self._known(path, name, value, key)
        elif normalise(name) in foreign.NAMES and not section.startswith("data.train."):
            self._foreign[normalise(name)] = Said(name, value, line)
        elif paths := lookup(generic(section), name):
            self._alias(section, paths, name, value, key)
        elif "." in name:
            head, _, rest = name.partition(".")
            self._dotted(section, head, rest, name, value, key)
        else:
            self.layer.problems.append(_unknown(section, name, line))

    def _dotted(self, section: str, head: str, rest: str, name: str, value: Any, key: Key) -> None:
        path = f"{section}.{head}" if section else head
        if generic(path) in sections():
            self._entry(path, rest, value, key)
        else:
            self.layer.problems.append(_unknown(section, name, self._lines.get(key)))

    def _known(self, path: str, name: str, value: Any, key: Key) -> None:
        if generic(path) == "data.train":
            self._sources(value, name, key)
        elif generic(path) in catalog():
            self._leaf(path, name, value, key)
        elif isinstance(value, Mapping):
            self.read(path, cast("Mapping[str, Any]", value), key)
        elif value is not None:
            self._shorthand(path, name, value, key)

    def _shorthand(self, path: str, name: str, value: Any, key: Key) -> None:
        field_name = _SHORTHAND.get(path)
        if path in ("data.validation", "data.test") and value is False:
            value = "none"  # YAML reads `validation: no` as false
        if field_name is None:
            inside = listed(sections()[path])
            line = self._lines.get(key)
            self.layer.problems.append(
                problem("section_not_value", path, line, value=quoted(value), inside=inside)
            )
        else:
            self._known(f"{path}.{field_name}", name, value, key)

    def _alias(self, section: str, paths: tuple[str, ...], name: str, value: Any, key: Key) -> None:
        own = generic(section)
        concrete = [section + path.removeprefix(own) if own else path for path in paths]
        if len(concrete) == 1:
            self._known(concrete[0], name, value, key)
        elif all(path.endswith(_SHARED_BY_DATASETS) for path in paths):
            for path in concrete:
                self._leaf(path, name, value, key, soft=True)
        else:
            line = self._lines.get(key)
            self.layer.problems.append(
                problem("ambiguous_name", name, line, places=either(concrete))
            )

    def _leaf(self, path: str, name: str, value: Any, key: Key, *, soft: bool = False) -> None:
        line = self._lines.get(key)
        self._add(path, _spelled(path, value), name, line, soft=soft)

    def _add(
        self, path: str, value: Any, name: str, line: int | None, *, soft: bool = False
    ) -> None:
        self.layer.add(Given(path, value, name, line, self._origin, soft))

    def _sources(self, value: Any, name: str, key: Key) -> None:
        if value is None:
            return
        items: list[Any] = value if isinstance(value, list) else [value]
        self._add("data.train", len(items), name, self._lines.get(key))
        for index, item in enumerate(items):
            path, item_key = f"data.train.{index}", (*key, index)
            if isinstance(item, Mapping):
                self.read(path, cast("Mapping[str, Any]", item), item_key)
            else:
                self._leaf(f"{path}.dataset", "dataset", item, item_key)


# Written outside a dataset or a split, these hold for every one of them.
_SHARED_BY_DATASETS = (
    ".format",
    ".prompt_field",
    ".response_field",
    ".history_field",
    ".system_field",
    ".context_field",
    ".messages_field",
    ".tools_field",
    ".chosen_field",
    ".rejected_field",
    ".label_field",
    ".role_tag",
    ".content_tag",
    ".user_tag",
    ".assistant_tag",
    ".system_tag",
    ".function_tag",
    ".observation_tag",
    ".max_samples",
    ".max_rows",
    ".stratify_by",
    ".group_by",
)


def _spelled(path: str, value: Any) -> Any:
    """A value in our spelling: fp16 -> float16, LoRA -> lora, and nothing for a text -> ''."""
    doc = catalog().get(generic(path))
    if doc is None:
        return value
    if value is None:
        return "" if doc.default == "" else None
    if isinstance(value, str | int | float):
        return _choice(doc, value)
    return value


def _choice(doc: FieldDoc, value: str | int | float) -> Any:
    spellings = {normalise(written): ours for written, ours in doc.facts.spellings.items()}
    written = normalise(str(value)) if str(value) != "-1" else "_1"
    if written in spellings:
        ours = spellings[written]
        return None if ours == "null" else ours
    choices = {normalise(choice): choice for choice in doc.choices}
    return choices.get(written, value)


def _same(one: Any, other: Any) -> bool:
    if one == other:
        return True
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return False


def _conflict(known: Given, given: Given) -> Problem:
    return problem(
        "conflicting_names",
        given.path,
        given.line,
        one=known.place(),
        first=quoted(known.value),
        other=given.place(),
        second=quoted(given.value),
    )


def _unknown(section: str, name: str, line: int | None) -> Problem:
    path = f"{section}.{name}" if section else name
    elsewhere = lookup("", name)
    if elsewhere and section:
        places = either(elsewhere)
        return problem("field_elsewhere", path, line, name=name, places=places)
    nearest = _nearest(generic(section), name)
    known = {"en": "", "zh": ""} if nearest else _known_fields(section)
    return problem("unknown_field", path, line, guess=guess(nearest), known=known)


def _known_fields(section: str) -> Words:
    """Where the fields are listed: those of a section at once."""
    if not section:
        return {
            "en": "`tunesmith recipe fields` lists all fields.",
            "zh": "`tunesmith recipe fields` 列出全部字段。",
        }
    inside = listed(sections().get(generic(section), {}))
    return {
        "en": f"Fields of {section}: {inside['en']}.",
        "zh": f"{section} 的字段：{inside['zh']}。",
    }


def _nearest(section: str, name: str) -> list[str]:
    """What the nearest known name can mean."""
    from difflib import get_close_matches

    for place in dict.fromkeys((section, "")):
        known = {normalise(candidate): candidate for candidate in names(place)}
        for match in get_close_matches(normalise(name), known, n=1, cutoff=0.7):
            child = sections().get(place, {}).get(known[match])
            paths = [child] if child else list(lookup(place, known[match]))
            return paths or [known[match]]
    return []
