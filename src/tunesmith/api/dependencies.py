"""What routes ask for: the platform, and who asks.

Every router of both APIs is made with `route_class=CallerFirst`: nobody learns what a route takes,
and nothing of a body is read, before it is known who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, cast
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from fastapi import Depends, Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from tunesmith.api.backoff import Backoff
from tunesmith.api.rates import Rates
from tunesmith.server.access import Caller
from tunesmith.server.errors import NotAuthenticated, PermissionDenied
from tunesmith.server.platform import Platform
from tunesmith.server.services.people import Asked

COOKIE: Final = "tunesmith_session"
_CALLER: Final = "caller"  # in the state of a request, once known
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def platform_of(request: Request) -> Platform:
    return cast("Platform", request.app.state.platform)


def asked_of(request: Request) -> Asked:
    """What a request says beside its token."""
    return Asked(
        language=request.state.language,
        request_id=request.state.request_id,
        address=request.client.host if request.client else "",
        project_id=request.headers.get("openai-project"),
    )


async def caller_of(request: Request) -> Caller:
    """Who asks; from memory where they asked a moment ago, so without waiting for a thread.

    Looked up once a request, and counted once.
    """
    state = request.scope["state"]
    if (asked := state.get(_CALLER)) is not None:
        return asked
    secret = secret_of(request)
    known = platform_of(request).people.known(secret, asked_of(request))
    caller = known or await run_sync(caller_now, request)
    rates_of(request)[0].take(caller.token_id or "")
    state[_CALLER] = caller
    return caller


class CallerFirst(APIRoute):
    """A route that finds out who asks before it looks at parameters and body, if it asks at all."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        if not _asks_who(self.dependant):
            return handler

        async def caller_first(request: Request) -> Response:
            await caller_of(request)
            return await handler(request)

        return caller_first


def _asks_who(dependant: Dependant) -> bool:
    return dependant.call is caller_of or any(map(_asks_who, dependant.dependencies))


def caller_now(request: Request) -> Caller:
    """Who asks, as the database has it now."""
    asked = asked_of(request)
    try:
        return platform_of(request).people.caller(secret_of(request), asked)
    except NotAuthenticated:
        request.app.state.metrics.sign_in_failed("token")
        rates_of(request)[1].take(asked.address)
        raise


def secret_of(request: Request) -> str:
    """The token of a request, or what the cookie of a browser session holds."""
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        secret = request.cookies.get(COOKIE, "")
        if secret:
            refuse_other_origin(request)
    if not secret:
        raise NotAuthenticated(
            "This request carries no token.",
            hint="Send it as Authorization: Bearer TOKEN, or sign in.",
            code="no_token",
        )
    return secret.strip()


def refuse_other_origin(request: Request) -> None:
    """A cookie is sent by any page that can make the browser ask: a change must be our page's."""
    if request.method in _SAFE:
        return
    origin = request.headers.get("origin", "")
    if not origin or urlsplit(origin).netloc != request.headers.get("host", ""):
        raise PermissionDenied(
            "A change with a cookie has to come from a page of this installation.",
            hint="Programs send a token.",
            code="origin_not_allowed",
        )


def rates_of(request: Request) -> tuple[Rates, Rates]:
    """The limits of requests by token, and of wrong tokens by address."""
    return request.app.state.rates, request.app.state.failures


def backoff_of(request: Request) -> Backoff:
    """How long guesses of passwords wait."""
    return cast("Backoff", request.app.state.backoff)


async def _platform(request: Request) -> Platform:
    """Without a thread of its own, as there is nothing to wait for."""
    return platform_of(request)


PlatformDep = Annotated[Platform, Depends(_platform)]
CallerDep = Annotated[Caller, Depends(caller_of)]
After = Annotated[str | None, Query(description="Go on after this id.", max_length=100)]
SOUGHT = "In name or description, or the beginning of the id."
Limit = Annotated[int, Query(ge=1, le=1000, description="Most items of the answer.")]
