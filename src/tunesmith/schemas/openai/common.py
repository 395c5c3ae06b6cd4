"""What all objects of the OpenAI API share: lists, times, values that may be "auto"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, core_schema

from tunesmith.schemas.common import Answer
from tunesmith.schemas.wrong_values import refused

Item = TypeVar("Item")
_PLAIN = r"^[^\x00-\x1f\x7f]*$"
Id = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PLAIN)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=_PLAIN)]
Words = Annotated[str, StringConstraints(max_length=1000, pattern=_PLAIN)]
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_PLAIN)],
        Annotated[str, StringConstraints(max_length=512, pattern=_PLAIN)],
    ],
    Field(max_length=16),
]


def _seconds(value: Any) -> Any:
    return math.floor(value.timestamp()) if isinstance(value, datetime) else value


Seconds = Annotated[int, BeforeValidator(_seconds)]
"""A time as clients read it: whole seconds since 1970."""


class Page(Answer, Generic[Item]):
    """Part of a list; the next part is asked for with `after=<id of the last item>`."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool


class FullPage(Page[Item], Generic[Item]):
    """A part that names its first and last item."""

    first_id: str | None = None
    last_id: str | None = None


class Problem(Answer):
    """What was wrong; `param` is the field, `code` is for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(Answer):
    """Every answer above 399 looks like this."""

    error: Problem


def page_of(items: list[Item], *, has_more: bool) -> FullPage[Item]:
    """A part of a list of objects that have an `id`."""
    named: list[Any] = list(items)
    return FullPage(
        data=items,
        has_more=has_more,
        first_id=named[0].id if named else None,
        last_id=named[-1].id if named else None,
    )


@dataclass(frozen=True)
class AutoInt:
    """Marks a field as "auto" or a whole number in a range."""

    low: int
    high: int

    def read(self, value: Any) -> int | str:
        if value == "auto":
            return "auto"
        if _is_number(value) and value == int(value) and self.low <= value <= self.high:
            return int(value)
        raise refused("auto_or_whole_number", low=self.low, high=self.high)

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, _: Any, __: Any) -> dict[str, Any]:
        number = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return {"anyOf": [{"const": "auto"}, number]}


@dataclass(frozen=True)
class AutoFloat:
    """Marks a field as "auto" or a number above a bound and up to another."""

    above: float
    most: float

    def read(self, value: Any) -> float | str:
        if value == "auto":
            return "auto"
        if _is_number(value) and self.above < value <= self.most:
            return float(value)
        raise refused("auto_or_number", above=f"{self.above:g}", most=f"{self.most:g}")

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, _: Any, __: Any) -> dict[str, Any]:
        number = {"type": "number", "exclusiveMinimum": self.above, "maximum": self.most}
        return {"anyOf": [{"const": "auto"}, number]}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
