"""Wordings of one instruction, as a YAML file lists them.

    translate_to_english:
      - "Translate into English: {text}"
      - "请翻译成英文：{text}"

A set has a name and two wordings or more; all of them have the same places, such as `{text}`. `{{`
and `}}` stand for braces. A place at the end of a wording takes several lines, any other one.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tunesmith.errors import InputError

LONGEST_QUESTION = 50_000  # characters
_MOST_PLACEHOLDERS = 4
_NAME = re.compile(r"[^\W\d][\w-]{0,99}")
_BUILTIN = Path(__file__).with_name("templates.yaml")


@dataclass(frozen=True)
class Wording:
    """One way to ask, with places for what is asked about."""

    text: str

    @cached_property
    def names(self) -> frozenset[str]:
        """Its placeholders."""
        return frozenset(name for _, name in _parts(self.text) if name is not None)

    @cached_property
    def _last(self) -> str | None:
        """The placeholder that the wording ends with."""
        return _parts(self.text)[-1][1]

    def takes(self, values: dict[str, str]) -> bool:
        """Whether these texts may stand in this wording: several lines only at its end."""
        return all("\n" not in text or name == self._last for name, text in values.items())

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pieces: list[str] = []
        for literal, name in _parts(self.text):
            # White space may be of any kind and length, or missing beside punctuation.
            pieces.append(r"\s*".join(re.escape(part) for part in _split_at_spaces(literal)))
            if name is not None:
                anything = ".+?" if name == self._last else r"[^\n]+?"
                pieces.append(f"(?P<{name}>{anything})")
        # People leave out the full stop at the end.
        pieces[-1] = re.sub(r"(\\?[.?!。？！])$", r"(?:\1)?", pieces[-1])
        return re.compile(r"\s*" + "".join(pieces) + r"\s*", re.DOTALL | re.IGNORECASE)

    def match(self, question: str) -> dict[str, str] | None:
        """What stands at the places, where the question is asked in this wording."""
        if len(question) > LONGEST_QUESTION:
            return None
        found = self._pattern.fullmatch(question)
        if found is None:
            return None
        return {name: text.strip() for name, text in found.groupdict().items()}

    def filled(self, values: dict[str, str]) -> str:
        """The question in this wording."""
        return "".join(
            literal + (values[name] if name is not None else "")
            for literal, name in _parts(self.text)
        )


@dataclass(frozen=True)
class TemplateSet:
    """Wordings with the same meaning."""

    name: str
    wordings: tuple[Wording, ...]

    def match(self, question: str) -> tuple[int, dict[str, str]] | None:
        """The number of the wording that the question is asked in, and what it is about.

        Of several, the one that leaves the least to its places.
        """
        found = [
            (sum(map(len, values.values())), number, values)
            for number, wording in enumerate(self.wordings)
            if (values := wording.match(question)) is not None
        ]
        if not found:
            return None
        _, number, values = min(found, key=lambda entry: entry[:2])
        return number, values


@dataclass(frozen=True)
class Templates:
    """All sets of a file."""

    source: str
    sets: tuple[TemplateSet, ...]


def builtin_templates() -> Templates:
    """Those that ship: translate, summarise, rewrite, classify, explain, continue."""
    return Templates("the built-in file", load_templates(_BUILTIN).sets)


def load_templates(path: Path) -> Templates:
    """Read a file; InputError names the line of what is wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"{path} cannot be read: {reason}.") from error
    try:
        root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or str(error)
        raise _wrong(path, line, f"this is no YAML: {problem}") from error
    if not isinstance(root, yaml.MappingNode) or not root.value:
        raise _wrong(path, 1, "expected names of sets, each with a list of wordings")
    sets: dict[str, TemplateSet] = {}
    for key, value in root.value:
        made = _set(path, key, value)
        if made.name in sets:
            raise _wrong(path, _line(key), f"the set {made.name} is there twice")
        sets[made.name] = made
    return Templates(path.name, tuple(sets.values()))


def _set(path: Path, key: Any, value: Any) -> TemplateSet:
    if not isinstance(key, yaml.ScalarNode) or not _NAME.fullmatch(key.value):
        raise _wrong(path, _line(key), "the name of a set is letters, digits, _ and -")
    if not isinstance(value, yaml.SequenceNode):
        raise _wrong(path, _line(value), f"{key.value} needs a list of wordings, one a line")
    wordings: list[Wording] = []
    for node in value.value:
        if not isinstance(node, yaml.ScalarNode):
            raise _wrong(path, _line(node), "a wording is a text; put it in quotation marks")
        wording = _wording(path, node)
        if wordings and wording.names != wordings[0].names:
            raise _wrong(path, _line(node), _other_places(wording, wordings[0]))
        if any(wording.text == other.text for other in wordings):
            raise _wrong(path, _line(node), f"this wording of {key.value} is there already")
        wordings.append(wording)
    if len(wordings) < 2:
        raise _wrong(path, _line(key), f"{key.value} needs two wordings at least")
    return TemplateSet(key.value, tuple(wordings))


def _wording(path: Path, node: Any) -> Wording:
    text = str(node.value).strip()
    try:
        parts = _parts(text)
    except ValueError as error:
        raise _wrong(path, _line(node), f"{error}; write {{{{ and }}}} for braces") from error
    names = [name for _, name in parts if name is not None]
    for name in names:
        if not name.isidentifier():
            raise _wrong(path, _line(node), f"{{{name}}} is no placeholder; such as {{text}}")
    if len(set(names)) != len(names):
        raise _wrong(path, _line(node), "a placeholder stands in a wording once")
    if len(names) > _MOST_PLACEHOLDERS:
        raise _wrong(path, _line(node), f"at most {_MOST_PLACEHOLDERS} placeholders")
    if any(not literal.strip() and at for at, (literal, name) in enumerate(parts) if name):
        raise _wrong(path, _line(node), "two placeholders need words between them")
    if not any(sign.isalnum() for literal, _ in parts for sign in literal):
        raise _wrong(path, _line(node), "a wording without words would match every question")
    return Wording(text)


def _parts(text: str) -> list[tuple[str, str | None]]:
    """(text, the placeholder behind it or None); ValueError for single braces."""
    parts: list[tuple[str, str | None]] = []
    for literal, name, format_, conversion in string.Formatter().parse(text):
        if format_ or conversion:
            raise ValueError(f"{{{name}}} has something behind its name")
        parts.append((literal, name))
    return parts


def _split_at_spaces(literal: str) -> list[str]:
    """Pieces between which any white space may stand; also behind a colon or a full stop."""
    spaced = re.sub(r"(?<=[:：。])", " ", literal)
    return re.split(r"\s+", spaced)


def _other_places(wording: Wording, first: Wording) -> str:
    odd = sorted(wording.names - first.names)
    known = ", ".join(f"{{{name}}}" for name in sorted(first.names)) or "no placeholder"
    if not odd:
        missing = ", ".join(f"{{{name}}}" for name in sorted(first.names - wording.names))
        return f"this wording lacks {missing}, which the first one of the set has"
    near = get_close_matches(odd[0], list(first.names), n=1)
    guess = f" (did you mean {{{near[0]}}}?)" if near else ""
    return f"unknown placeholder {{{odd[0]}}}{guess}: the first wording of the set has {known}"


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _wrong(path: Path, line: int, what: str) -> InputError:
    return InputError(
        f"{path}, line {line}: {what}.",
        hint='Such as:\n  to_english:\n    - "Translate into English: {text}"\n'
        '    - "请翻译成英文：{text}"',
        code="bad_templates",
        line=line,
    )
