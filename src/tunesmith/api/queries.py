"""Parameters behind the question mark that no route knows: refused, with the nearest known one.

A filter that is misspelt and ignored would answer with everything. The OpenAI API ignores them, as
its clients expect.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from tunesmith.errors import InputError

_ANY = frozenset({"/api/v1/oidc/callback"})  # what an identity provider adds is its own affair


async def refuse_unknown_query(request: Request) -> None:
    """InputError for the first parameter that the route does not take."""
    route = request.scope.get("route")
    if not request.url.query or not isinstance(route, APIRoute) or request.url.path in _ANY:
        return
    known = known_to(route)
    for name in request.query_params:
        if name not in known:
            raise _unknown(name, known)


def known_to(route: APIRoute) -> frozenset[str]:
    """The names of the parameters of a route, those of what it depends on included."""
    return frozenset(_names(route.dependant))


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for each in dependant.dependencies:
        yield from _names(each)


def _unknown(name: str, known: frozenset[str]) -> InputError:
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    some = ", ".join(sorted(known)) or "none"
    return InputError(
        f"There is no parameter {name[:100]!r} here; nothing was looked up or changed.",
        hint=f"Did you mean {near[0]}?" if near else f"Parameters: {some}.",
        code="unknown_parameter",
        param=name[:100],
        known=some,
    )
