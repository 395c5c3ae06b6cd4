"""Bodies of requests have a largest size, said or not."""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.errors import InputError
from tunesmith.serving.problems import body_of

MOST_BYTES: Final = 32 * 1024 * 1024


class BodyLimit:
    """Refuses a larger body, by its header or once so much of it has come."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > MOST_BYTES:
            error = InputError(
                f"The body has {int(told):,} bytes; at most {MOST_BYTES:,} are read.",
                code="body_too_large",
            )
            return await JSONResponse(body_of(error), 413)(scope, receive, send)
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MOST_BYTES:
                raise HTTPException(413, f"the body has more than {MOST_BYTES:,} bytes")
            return message

        await self._app(scope, counted, send)
