"""YAML in and out: values with their lines, and numbers as people write them.

YAML 1.1 reads 1e-4 as text and takes the last of two equal keys without a word. Here 1e-4 is a
number, a key that is written twice is a problem, and every value knows its line.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tunesmith.errors import RecipeError
from tunesmith.recipe.problems import Problem, problem, refuse
from tunesmith.recipe.words import Words

Key = tuple[str | int, ...]

_FLOAT = re.compile(r"[-+]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+")
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_MAX_CHARACTERS = 1_000_000
_MAX_DEPTH = 100  # the time to read open brackets grows with the square of their number
_MAX_NODES = 20_000  # a recipe has a hundred; anchors that multiply themselves have billions


@dataclass
class Document:
    """The value of a YAML text, and the line of each value in it by its keys."""

    value: Any
    lines: dict[Key, int] = field(default_factory=dict[Key, int])
    problems: list[Problem] = field(default_factory=list[Problem])


def read_text(path: Path) -> str:
    """The text of a file; RecipeError says why there is none."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(
            f"There is no file {path}.",
            hint="Check the path; ready recipes are in recipes/.",
            code="recipe_not_found",
            path=str(path),
        ) from None
    except IsADirectoryError:
        raise RecipeError(f"{path} is a directory.", hint="Name the YAML file inside it.") from None
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path} is not UTF-8 text (byte {error.start}).", hint="Save the file as UTF-8."
        ) from None
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}.") from None


def parse_yaml(text: str, source: str) -> Document:
    """A YAML text as plain values; RecipeError names line and column of broken syntax."""
    import yaml

    if len(text) > _MAX_CHARACTERS or _bracket_depth(text) > _MAX_DEPTH:
        raise refuse(source, [problem("recipe_too_large")])
    try:
        loader = _loader()(text)
        node = loader.get_single_node()
        document = Document(None)
        if node is not None:
            document.value = _Builder(loader, document).build(node, ())
        return document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise refuse(source, [_syntax_problem(text, str(error.problem), line)]) from None
    except _Refused as error:
        raise refuse(source, [error.problem]) from None
    except yaml.YAMLError:  # of the reader: a character that no text has
        raise refuse(source, [problem("yaml_unprintable")]) from None
    except RecursionError:
        raise refuse(source, [problem("recipe_too_deep")]) from None


def invalid_json(source: str, text: str, error: json.JSONDecodeError) -> RecipeError:
    """The error for a JSON text that cannot be read, with the line as it stands."""
    lines = text.splitlines()
    here = lines[error.lineno - 1] if error.lineno <= len(lines) else None
    shown = _line_shown(here)
    return refuse(
        source, [problem("json_invalid", "", error.lineno, column=error.colno, shown=shown)]
    )


def parse_value(text: str) -> Any:
    """The value of `key=value` on the command line: YAML, so 1e-4, [a, b] and {k: v} work."""
    return parse_yaml(text, f"the value {text!r}").value


def dump_yaml(value: Any) -> str:
    """Plain values as YAML that reads back to the same values, here and in YAML 1.1."""
    import yaml

    return yaml.dump(value, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=100)


class _Refused(Exception):
    """Valid YAML that no recipe may hold."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Builder:
    """Turns YAML nodes into values, and writes down the line of each."""

    def __init__(self, loader: Any, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._nodes = 0

    def build(self, node: Any, key: Key) -> Any:
        import yaml

        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise _Refused(problem("too_many_values", most=_MAX_NODES))
        self._document.lines.setdefault(key, node.start_mark.line + 1)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            line = node.start_mark.line + 1
            raise _Refused(problem("unknown_tag", "", line, at=line, tag=node.tag))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*key, index)) for index, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _mapping(self, node: Any, key: Key) -> dict[Any, Any]:
        self._refuse_repeated_keys(node)
        self._loader.flatten_mapping(node)  # `<<: *anchor` puts its keys first; ours win
        found: dict[Any, Any] = {}
        for name_node, value_node in node.value:
            name = self._loader.construct_object(name_node, deep=True)
            name = name if isinstance(name, str) else str(name_node.value)
            self._document.lines[(*key, name)] = name_node.start_mark.line + 1
            found[name] = self.build(value_node, (*key, name))
        return found

    def _refuse_repeated_keys(self, node: Any) -> None:
        first: dict[str, int] = {}
        for name_node, _ in node.value:
            line = name_node.start_mark.line + 1
            name = str(name_node.value)
            if name in first and name != "<<":
                self._document.problems.append(
                    problem("written_twice", name, line, first=first[name], second=line)
                )
            first.setdefault(name, line)


def _bracket_depth(text: str) -> int:
    """The deepest nesting of brackets, were none of them in quotes."""
    deepest = depth = 0
    for mark in re.findall(r"[\[\]{}]", text):
        depth += 1 if mark in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


# What the YAML library finds, by a part of its words, and our code for it.
_SYNTAX = {
    "mapping values are not allowed": "yaml_two_colons",
    "could not find expected ':'": "yaml_no_colon",
    "expected ',' or": "yaml_unclosed",
    "unexpected end of stream": "yaml_unclosed",
    "<stream end>": "yaml_unclosed",
    "expected <block end>": "yaml_indent",
    "undefined alias": "yaml_alias",
    "that cannot start any token": "yaml_character",
    "but found another document": "yaml_several",
}


def _syntax_problem(text: str, found: str, line: int | None) -> Problem:
    """A sentence of ours for what the YAML library found, and the line as it stands."""
    lines = text.splitlines()
    here = lines[line - 1] if line is not None and line <= len(lines) else None
    code = next((code for part, code in _SYNTAX.items() if part in found), "yaml_invalid")
    if here is not None and "\t" in here:
        code = "yaml_tab"
    return problem(code, "", line, shown=_line_shown(here))


def _line_shown(line: str | None) -> Words:
    if line is None:
        return {
            "en": "Look for a missing bracket, quote or colon at the end of the file.",
            "zh": "请检查文件末尾是否缺少括号、引号或冒号。",
        }
    text = line.strip()[:80]
    return {"en": f"The line reads: {text}", "zh": f"该行内容：{text}。"}


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """SafeLoader that reads 1e-4 as a number and dates as text."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(f"^(?:{_FLOAT.pattern})$"), list("-+0123456789.")
    )
    return Loader


@cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """SafeDumper that writes small numbers as 5.0e-5 and indents lists."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            del indentless
            super().increase_indent(flow, False)

        def ignore_aliases(self, data: Any) -> bool:
            del data
            return True

    Dumper.add_representer(float, _represent_float)
    Dumper.yaml_implicit_resolvers = {
        first: list(pairs) for first, pairs in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }
    # Texts such as "1e-4" are quoted, since our loader would read them as numbers.
    Dumper.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(f"^(?:{_FLOAT.pattern})$"), list("-+0123456789.")
    )
    return Dumper


def _represent_float(dumper: Any, value: float) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:float", write_float(value))


def write_float(value: float) -> str:
    """5e-05 -> '5.0e-5', 0.1 -> '0.1': exact, short, and a number to every YAML reader."""
    text = repr(value)
    if 0 < abs(value) < 0.001 and "e" not in text:
        digits = text.partition(".")[2].lstrip("0")
        exponent = len(text.partition(".")[2]) - len(digits) + 1
        sign = "-" if value < 0 else ""
        text = f"{sign}{digits[0]}.{digits[1:]}e-{exponent}"
    mantissa, mark, exponent_text = text.partition("e")
    if not mark:
        return text
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    mantissa += "0" if mantissa.endswith(".") else ""
    return f"{mantissa}e{int(exponent_text):+d}"
