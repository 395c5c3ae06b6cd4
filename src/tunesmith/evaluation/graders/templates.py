"""`{{item.question}}` and `{{sample.output_text}}` in the texts of a grader."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

_PLACE: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_SAMPLE: Final = ("output_text", "output_json")


class InvalidVariable(ValueError):
    """A template names something that is not there."""


class SampleNotJson(ValueError):
    """A template asks for the JSON of an answer that is none."""


@dataclass(frozen=True)
class Sample:
    """The answer of a model, and what templates may say."""

    text: str
    item: Any

    @property
    def output_json(self) -> Any:
        try:
            return orjson.loads(self.text)
        except orjson.JSONDecodeError as error:
            raise SampleNotJson(f"the answer is no JSON: {error}") from error


def fill(template: str, sample: Sample) -> str:
    """The text with every place filled in; InvalidVariable, SampleNotJson."""
    return _PLACE.sub(lambda found: _written(_look_up(found[1], sample)), template)


def unknown_names(template: str) -> Iterator[str]:
    """The places that no answer can fill, whatever the rows hold."""
    for found in _PLACE.finditer(template):
        first, rest = _steps(found[1])[0], _steps(found[1])[1:]
        is_sample = first == "sample" and bool(rest) and rest[0] in _SAMPLE
        if not is_sample and first != "item":
            yield found[1]


def _look_up(path: str, sample: Sample) -> Any:
    first, *rest = _steps(path)
    if first == "item":
        return _inside(sample.item, rest, path)
    if first == "sample" and rest and rest[0] == "output_text":
        return _inside(sample.text, rest[1:], path)
    if first == "sample" and rest and rest[0] == "output_json":
        return _inside(sample.output_json, rest[1:], path)
    raise InvalidVariable(f"{{{{{path}}}}} is neither item.* nor sample.output_text, output_json")


def _inside(value: Any, steps: list[str], path: str) -> Any:
    for step in steps:
        if isinstance(value, Mapping) and step in value:
            value = cast("Mapping[str, Any]", value)[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = cast("list[Any]", value)[int(step)]
        else:
            raise InvalidVariable(f"{{{{{path}}}}}: there is no {step}")
    return value


def _steps(path: str) -> list[str]:
    """item.choices[0].text -> item, choices, 0, text"""
    return [name or index for name, index in _STEP.findall(path)] or [path]


def _written(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
