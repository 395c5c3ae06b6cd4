"""Nested values as clients write them in queries and forms: `metadata[team]=a`, `ids[]=1`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from tunesmith.errors import InputError

_NAME: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_INSIDE: Final = re.compile(r"\[([^\[\]]*)\]")
_MOST_DEPTH: Final = 5


def nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """[("a[b]", "1"), ("c[]", "2"), ("c[]", "3")] -> {"a": {"b": "1"}, "c": ["2", "3"]}"""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        found = _NAME.fullmatch(name)
        steps = [found[1], *_INSIDE.findall(found[2])] if found else [name]
        _put(tree, steps, value, name)
    return tree


def _put(tree: dict[str, Any], steps: list[str], value: str, name: str) -> None:
    if len(steps) > _MOST_DEPTH:
        raise _contradiction(name)
    is_list = len(steps) > 1 and steps[-1] == ""
    *parents, leaf = steps[:-1] if is_list else steps
    place: Any = tree
    for step in parents:
        place = place.setdefault(step, {})
        if not isinstance(place, dict):
            raise _contradiction(name)
    if not is_list:
        if isinstance(place.get(leaf), dict | list):
            raise _contradiction(name)
        place[leaf] = value
        return
    items = place.setdefault(leaf, [])
    if not isinstance(items, list):
        raise _contradiction(name)
    items.append(value)


def _contradiction(name: str) -> InputError:
    return InputError(
        f"{name} does not go with the other parameters.",
        hint="Write each parameter once, as name=value, name[key]=value or name[]=value.",
        code="invalid_query",
        param=name,
    )
