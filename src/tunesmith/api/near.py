"""The fields that there are, for who has misspelt one in a body. Read `with_known_fields` first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel
from starlette.requests import Request

_SHOWN: Final = 20


def with_known_fields(request: Request, found: Sequence[Any]) -> list[dict[str, Any]]:
    """What a schema refused; unknown fields with the nearest name, else with all names."""
    field = getattr(request.scope.get("route"), "body_field", None)
    body = getattr(getattr(field, "field_info", None), "annotation", None)
    return [_told(each, list(_models(body))) for each in found]


def _told(found: Mapping[str, Any], models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    place = tuple(found["loc"])
    if found["type"] != "extra_forbidden" or place[:1] != ("body",):
        return dict(found)
    names = _names_at(models, place[1:-1])
    near = get_close_matches(str(place[-1]), names, n=1, cutoff=0.6)
    if near:
        return {**found, "type": "extra_forbidden_near", "ctx": {"near": near[0]}}
    if 0 < len(names) <= _SHOWN:
        return {**found, "type": "extra_forbidden_known", "ctx": {"known": ", ".join(names)}}
    return dict(found)


def _names_at(models: Sequence[type[BaseModel]], path: Sequence[Any]) -> list[str]:
    """The fields of what lies at a path; none where it is not one kind of object."""
    for part in path:
        fields = [_fields(model).get(part) for model in models] if isinstance(part, str) else []
        if fields:
            models = [inner for field in fields if field for inner in _models(field.annotation)]
    return list(_fields(models[0])) if len(models) == 1 else []


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The objects that a type is made of: `list[Part] | None` of Part."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
