"""What every request meets first: an id, the host it asked for, its size, headers, metrics.

A plain ASGI layer around both APIs, so a stream passes through it untouched.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.api import errors
from tunesmith.api.metrics import Metrics
from tunesmith.api.texts import preferred
from tunesmith.errors import InputError, TunesmithError
from tunesmith.server.errors import TooLarge
from tunesmith.server.settings import Settings

log = logging.getLogger("tunesmith.api")
MOST_BODY_BYTES: Final = 10 * 1024 * 1024
# Routes that take files have limits of their own (services/files.py, services/uploads).
_FILES: Final = re.compile(
    r"POST /(api/)?v1/files|PATCH /api/v1/uploads/[^/]+|POST /v1/uploads/[^/]+/parts"
)
_UPLOAD: Final = re.compile(r"/api/v1/uploads/[^/]+")
_OVERRIDING: Final = frozenset({"PATCH", "DELETE", "HEAD"})
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_POLICY: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Guard:
    """The outermost layer; also turns what nobody caught into a plain 500."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._hosts = known_hosts(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = f"req_{uuid4().hex}"
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        state["language"] = preferred(headers.get(b"accept-language"))
        scope["method"] = _method(scope, headers)
        began, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_headers(message["headers"], request_id)
            await send(message)

        try:
            self._refuse_host(headers)
            await self._app(scope, _bounded(scope, headers, receive), answer)
        except Exception as error:
            if status:  # half an answer is out: the connection has to break
                raise
            await _tell(error, scope, answer)
        finally:
            took = time.perf_counter() - began
            self._metrics.request(scope, status, took)
            log.debug(
                "%s %s %s %.0f ms %s",
                scope["method"],
                scope["path"],
                status,
                took * 1e3,
                request_id,
            )

    def _refuse_host(self, headers: dict[bytes, str]) -> None:
        """Only names that are ours: a page elsewhere cannot point its own name at this server."""
        host = host_name(headers.get(b"host", ""))
        if host not in self._hosts and "*" not in self._hosts:
            raise HostRefused(
                f"Requests for the host {host or '(none)'} are not accepted.",
                hint="Add it to TUNESMITH_ALLOWED_HOSTS.",
                host=host,
            )


class HostRefused(InputError):
    """The Host header names a host that this installation does not answer for."""

    code = "host_not_allowed"


class ServerError(TunesmithError):
    """Nobody foresaw it; the log has the traceback under the request id."""

    code = "server_error"


def known_hosts(settings: Settings) -> Collection[str]:
    """The host names that this installation answers for."""
    public = urlsplit(settings.public_url).hostname or ""
    own = settings.host if settings.host not in ("0.0.0.0", "::") else ""
    return {*_LOCAL, *settings.allowed_hosts, public, own} - {""}


def host_name(header: str) -> str:
    """A Host header without its port, in lower case."""
    return re.sub(r":\d*$", "", header.strip().lower())


def _method(scope: Scope, headers: dict[bytes, str]) -> str:
    """The method that is meant: tus lets clients that know no PATCH name it in a header."""
    meant = headers.get(b"x-http-method-override", "").strip().upper()
    is_meant = meant in _OVERRIDING and scope["method"] == "POST"
    return meant if is_meant and _UPLOAD.fullmatch(scope["path"]) else scope["method"]


def _bounded(scope: Scope, headers: dict[bytes, str], receive: Receive) -> Receive:
    """A body above the limit is refused: by its announced size, or when that much has come."""
    if _FILES.fullmatch(f"{scope['method']} {scope['path']}"):
        return receive
    announced = headers.get(b"content-length", "0")
    if announced.isdigit() and int(announced) > MOST_BODY_BYTES:
        raise _too_large()
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MOST_BODY_BYTES:
            raise _too_large()
        return message

    return counted


def _too_large() -> TooLarge:
    return TooLarge(
        f"The body is above the limit of {MOST_BODY_BYTES} bytes; nothing was kept.",
        hint="Send data as a file.",
        code="body_too_large",
        limit=MOST_BODY_BYTES,
    )


def _with_headers(headers: list[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    own = {name.lower() for name, _ in headers}
    added = [*_HEADERS, _POLICY, (b"x-request-id", request_id.encode())]
    return [*headers, *((name, value) for name, value in added if name not in own)]


async def _tell(error: Exception, scope: Scope, send: Send) -> None:
    """An error that no handler inside turned into an answer."""
    state: MutableMapping[str, Any] = scope["state"]
    if not isinstance(error, TunesmithError):
        log.error(
            "%s %s failed (%s)", scope["method"], scope["path"], state["request_id"], exc_info=error
        )
        error = ServerError("Something happened that the server did not expect.")
    shape = errors.openai if scope["path"].startswith("/v1/") else errors.native
    problem = shape(error, request_id=state["request_id"], language=state["language"])
    headers = [(b"content-type", b"application/json")]
    headers += [(key.encode(), value.encode()) for key, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(problem.body)})
