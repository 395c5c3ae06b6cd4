"""Every field of the schema in one flat table, under its dotted path and all its names.

The table is read off the sections themselves. Loading, help texts, forms and the reference use it,
so none of them repeats what the schema says. In paths `*` stands for every item of a list.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from tunesmith.recipe.document import write_float
from tunesmith.recipe.fields import Facts, Section, facts_of
from tunesmith.recipe.schema import Recipe

MISSING: Any = object()
"""Stands for the default of a field that has none."""


@dataclass(frozen=True)
class FieldDoc:
    """All that is known about one field."""

    path: str
    default: Any
    types: tuple[str, ...]
    choices: tuple[str, ...]
    optional: bool
    bounds: tuple[tuple[str, float], ...]
    kinds: tuple[str, ...]
    facts: Facts
    other_defaults: tuple[tuple[str, Any], ...] = ()
    """Kinds of the section whose default is another one, with theirs."""

    @property
    def required(self) -> bool:
        return self.default is MISSING

    @property
    def section(self) -> str:
        return self.path.rpartition(".")[0]

    @property
    def leaf(self) -> str:
        return self.path.rpartition(".")[2]

    def expected(self, language: str = "en") -> str:
        """What a value must be, in words: 'a whole number from 1 to 4096, or auto'."""
        words = WORDS[language]
        parts = [words[name] for name in self.types]
        if parts and (span := _span(dict(self.bounds), words)):
            parts[0] += span
        if self.choices:
            many = len(self.choices) > 1 and not parts
            parts.append((words["one of"] if many else "") + ", ".join(self.choices))
        if self.optional:
            parts.append(words["empty"])
        if len(parts) == 1:
            return parts[0]
        return words["comma"].join(parts[:-1]) + words["or"] + parts[-1]


WORDS: dict[str, dict[str, str]] = {
    "en": {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "str": "a text",
        "list": "a list of names",
        "objects": "a list of objects",
        "datasets": "a list of datasets",
        "one of": "one of ",
        "empty": "empty",
        "comma": ", ",
        "or": ", or ",
        "and": " and",
        "ge le": " from {ge} to {le}",
        "ge": " of at least {ge}",
        "gt": " above {gt}",
        "le": " of at most {le}",
        "lt": " below {lt}",
    },
    "zh": {
        "int": "整数",
        "float": "数值",
        "bool": "true 或 false",
        "str": "文本",
        "list": "名称列表",
        "objects": "对象列表",
        "datasets": "数据集列表",
        "one of": "可选 ",
        "empty": "空",
        "comma": "、",
        "or": "，或",
        "and": "",
        "ge le": "，{ge} 到 {le}",
        "ge": "，不小于 {ge}",
        "gt": "，大于 {gt}",
        "le": "，不大于 {le}",
        "lt": "，小于 {lt}",
    },
}


def _span(bounds: dict[str, float], words: dict[str, str]) -> str:
    shown = {name: show(value) for name, value in bounds.items()}
    if "ge" in bounds and "le" in bounds:
        return words["ge le"].format(**shown)
    return words["and"].join(words[name].format(**shown) for name in bounds)


def show(value: Any) -> str:
    """A value as one writes it in a recipe: 5e-5, true, auto."""
    if value is None:
        return "empty"
    if value == "":
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        mantissa, mark, exponent = write_float(value).partition("e")
        return f"{mantissa.removesuffix('.0')}{mark}{exponent.removeprefix('+')}"
    return str(value)


@cache
def catalog() -> dict[str, FieldDoc]:
    """All fields that hold a value, by path, in the order of the schema."""
    table: dict[str, FieldDoc] = {}
    for doc in _walk(Recipe, "", ()):
        known = table.get(doc.path)
        table[doc.path] = _merge(known, doc) if known else doc
    return table


@cache
def sections() -> dict[str, dict[str, str]]:
    """Every section with its children: name -> path. The root is ''."""
    tree: dict[str, dict[str, str]] = {"": {}}
    for path in catalog():
        parts = path.split(".")
        for depth, name in enumerate(parts):
            parent, child = ".".join(parts[:depth]), ".".join(parts[: depth + 1])
            tree.setdefault(parent, {})[name] = child
    return {prefix: {n: p for n, p in kids.items() if n != "*"} for prefix, kids in tree.items()}


@cache
def variants() -> dict[str, dict[str, frozenset[str]]]:
    """Sections of which there are several kinds: path -> kind -> names of its fields."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    for path, info in _union_fields(Recipe, ""):
        found[path] = {
            _kind_of(option): frozenset(option.model_fields) for option in _options(info)
        }
    return found


def generic(path: str) -> str:
    """data.train.0.dataset -> data.train.*.dataset"""
    return ".".join("*" if part.isdigit() else part for part in path.split("."))


def normalise(name: str) -> str:
    """Names are compared without regard to case and to - or _: loraRank = LoRaRank."""
    return name.strip().casefold().replace("-", "_")


def lookup(prefix: str, name: str) -> tuple[str, ...]:
    """Paths in a section that a name can mean: its aliases first, else the ends of paths."""
    aliased, leaves = _index().get(normalise(name), ((), ()))
    inside = f"{prefix}." if prefix else ""
    for candidates in (aliased, leaves):
        within = tuple(path for path in candidates if path.startswith(inside))
        if within:
            return within
    return ()


def names(prefix: str) -> list[str]:
    """All names that can be written in a section, for suggestions."""
    inside = f"{prefix}." if prefix else ""
    found = list(sections().get(prefix, {}))
    for doc in catalog().values():
        if doc.path.startswith(inside):
            found += [doc.leaf, *doc.facts.aliases]
    return list(dict.fromkeys(found))


@cache
def _index() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    aliased: dict[str, list[str]] = {}
    leaves: dict[str, list[str]] = {}
    for doc in catalog().values():
        leaves.setdefault(normalise(doc.leaf), []).append(doc.path)
        for alias in doc.facts.aliases:
            aliased.setdefault(normalise(alias), []).append(doc.path)
    every = aliased.keys() | leaves.keys()
    return {name: (tuple(aliased.get(name, ())), tuple(leaves.get(name, ()))) for name in every}


def _walk(section: type[Section], prefix: str, kinds: tuple[str, ...]) -> Iterator[FieldDoc]:
    for name, info in section.model_fields.items():
        path = f"{prefix}{name}"
        options = _options(info)
        item = _item_section(info)
        if options:
            several = len(options) > 1
            # The kind of the default comes first, so that its default is the one that counts.
            for option in sorted(options, key=lambda option: option is not info.default_factory):
                yield from _walk(option, f"{path}.", (_kind_of(option),) if several else ())
        elif item:
            yield FieldDoc(path, MISSING, ("datasets",), (), False, (), (), facts_of(info))
            yield from _walk(item, f"{path}.*.", ())
        else:
            yield _describe(path, info, kinds if name != "kind" else ())


def _describe(path: str, info: FieldInfo, kinds: tuple[str, ...]) -> FieldDoc:
    type_names: list[str] = []
    choices: list[str] = []
    marks = list(info.metadata)
    optional = False
    for part in _parts(info.annotation):
        if get_origin(part) is Annotated:  # bounds on one part of a union
            part, extra = get_args(part)
            marks += extra.metadata
        if part is type(None):
            optional = True
        elif get_origin(part) is Literal:
            choices += [str(choice) for choice in get_args(part)]
        else:
            of_objects = get_origin(part) is list and get_args(part)[0] is not str
            type_names.append("objects" if of_objects else (get_origin(part) or part).__name__)
    default = MISSING if info.is_required() else info.default
    bounds = tuple(
        (name, value)
        for mark in marks
        for name in ("ge", "gt", "le", "lt")
        if (value := getattr(mark, name, None)) is not None
    )
    facts = facts_of(info)
    return FieldDoc(
        path, default, tuple(type_names), tuple(choices), optional, bounds, kinds, facts
    )


def _others(first: FieldDoc, other: FieldDoc) -> tuple[tuple[str, Any], ...]:
    if other.default == first.default or other.leaf == "kind":
        return first.other_defaults
    return (*first.other_defaults, *((kind, other.default) for kind in other.kinds))


def _merge(first: FieldDoc, other: FieldDoc) -> FieldDoc:
    """The same path in two kinds of a section; the first one declares help and aliases."""
    return FieldDoc(
        first.path,
        first.default,
        first.types,
        tuple(dict.fromkeys(first.choices + other.choices)),
        first.optional,
        first.bounds,
        first.kinds + other.kinds,
        first.facts if first.facts.en else other.facts,
        _others(first, other),
    )


def _union_fields(section: type[Section], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in section.model_fields.items():
        options = _options(info)
        if len(options) > 1:
            yield f"{prefix}{name}", info
        for option in options:
            yield from _union_fields(option, f"{prefix}{name}.")


def _parts(annotation: Any) -> tuple[Any, ...]:
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _options(info: FieldInfo) -> list[type[Section]]:
    return [part for part in _parts(info.annotation) if _is_section(part)]


def _item_section(info: FieldInfo) -> type[Section] | None:
    if get_origin(info.annotation) is not list:
        return None
    (item,) = get_args(info.annotation)
    return item if _is_section(item) else None


def _is_section(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, Section)


def _kind_of(option: type[Section]) -> str:
    return option.model_fields["kind"].default
