"""Questions to models on their way to a serving process and back. Read `ask` first.

The process knows a model by the id of its deployment; users know it by its name, so the field
`model` is put right in both directions. Who leaves ends their question: the process hears it at
once, and its place is free.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
from anyio.to_thread import run_sync
from fastapi import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tunesmith.server.access import Caller
from tunesmith.server.errors import DeploymentNotReady
from tunesmith.server.platform import Platform
from tunesmith.server.services.deployments import Asked, Target

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("tunesmith.api")
_PATHS: Final = {"chat": "/v1/chat/completions", "completion": "/v1/completions"}
_LOOK_SECONDS: Final = 0.25
_CONNECT_SECONDS: Final = 5.0
_USED_SECONDS: Final = 10.0  # how often a long answer says that its model is in use
_CONNECTIONS: Final = 512


@dataclass(frozen=True)
class Question:
    """What was asked: `kind` is chat or completion, `body` as it came."""

    kind: str
    body: dict[str, Any]

    @property
    def is_stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def wants_usage(self) -> bool:
        return bool((self.body.get("stream_options") or {}).get("include_usage"))

    def sent(self, target: Target) -> dict[str, Any]:
        """The body for the process; usage is always asked for, since it is written down."""
        body = {key: value for key, value in self.body.items() if key != "store"}
        body["model"] = target.served_as
        if self.is_stream:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        return body

    def kept(self, target: Target) -> list[Any] | None:
        """The texts to write down, if that is allowed."""
        if not target.keeps_requests or self.body.get("store") is False:
            return None
        return self.body.get("messages") or [self.body.get("prompt")]


@dataclass
class _Account:
    """What is learned of one question while it is answered."""

    asked: Asked
    keeps: bool
    started: float = field(default_factory=time.monotonic)
    parts: list[str] = field(default_factory=list[str])

    def read(self, chunk: dict[str, Any]) -> None:
        """A whole answer, or a part of one."""
        usage = cast("dict[str, Any]", chunk.get("usage") or {})
        self.asked.prompt_tokens = int(usage.get("prompt_tokens") or self.asked.prompt_tokens)
        self.asked.completion_tokens = int(
            usage.get("completion_tokens") or self.asked.completion_tokens
        )
        for choice in cast("list[dict[str, Any]]", chunk.get("choices") or [])[:1]:
            said = choice.get("delta") or choice.get("message") or {}
            text = said.get("content") or choice.get("text") or ""
            if text and self.asked.first_token_seconds is None:
                self.asked.first_token_seconds = time.monotonic() - self.started
            if self.keeps and text:
                self.parts.append(str(text))
            self.asked.finish_reason = str(choice.get("finish_reason") or self.asked.finish_reason)

    def closed(self) -> Asked:
        self.asked.seconds = time.monotonic() - self.started
        if self.keeps:
            self.asked.answer = "".join(self.parts)
        return self.asked


async def ask(request: Request, platform: Platform, caller: Caller, question: Question) -> Response:
    """The answer of the model that the question names, which is started first if need be."""
    target = await _await_target(request, platform, caller, str(question.body["model"]))
    kept = question.kept(target)
    account = _Account(Asked(question.kind, question=kept), kept is not None)
    answering = _Answering(platform, caller, target, question, account)
    client = _client(request)
    if question.is_stream:
        return await answering.stream(client)
    return await answering.whole(client, request)


async def _await_target(request: Request, platform: Platform, caller: Caller, name: str) -> Target:
    """Where the question goes, waiting for a model that is being started."""
    deadline = time.monotonic() + platform.settings.deployment_wait_seconds
    while True:
        target = await run_sync(platform.deployments.target, caller, name)
        if target is not None:
            return target
        if time.monotonic() > deadline or await request.is_disconnected():
            raise DeploymentNotReady(
                f"Model {name} is being started; this takes longer than a request waits.",
                hint="Ask again in a moment; the list of deployments shows how it is.",
                code="deployment_starting",
                retry_after=10,
            )
        await asyncio.sleep(_LOOK_SECONDS)


@dataclass
class _Answering:
    """One question on its way."""

    platform: Platform
    caller: Caller
    target: Target
    question: Question
    account: _Account
    used: float = field(default_factory=time.monotonic)

    def _request(self, client: httpx.AsyncClient) -> httpx.Request:
        return client.build_request(
            "POST",
            self.target.address + _PATHS[self.question.kind],
            content=orjson.dumps(self.question.sent(self.target)),
            headers={
                "authorization": f"Bearer {self.target.secret}",
                "content-type": "application/json",
            },
        )

    async def whole(self, client: httpx.AsyncClient, request: Request) -> Response:
        """An answer in one piece; who leaves before it is there ends it."""
        import httpx

        sending = asyncio.create_task(client.send(self._request(client)))
        leaving = asyncio.create_task(_until_gone(request))
        try:
            while not sending.done() and not leaving.done():
                await asyncio.wait(
                    {sending, leaving}, timeout=_USED_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                await self._stay()
            if not sending.done():
                self.account.asked.status_code = 499
                self.account.asked.finish_reason = "cancelled"
                return Response(status_code=499)
            answer = await sending
            self.account.asked.status_code = answer.status_code
            return self._told(answer)
        except httpx.TransportError as error:
            raise self._lost(error) from error
        finally:
            for task in (sending, leaving):
                task.cancel()
            await self._write_down()

    async def stream(self, client: httpx.AsyncClient) -> Response:
        """An answer in events."""
        import httpx

        try:
            answer = await client.send(self._request(client), stream=True)
        except httpx.TransportError as error:
            lost = self._lost(error)
            await self._write_down()
            raise lost from error
        self.account.asked.status_code = answer.status_code
        if answer.status_code != 200:
            await answer.aread()
            await answer.aclose()
            await self._write_down()
            return self._told(answer)
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(
            self._events(answer), media_type="text/event-stream", headers=headers
        )

    async def _events(self, answer: httpx.Response) -> AsyncGenerator[bytes]:
        import httpx

        try:
            async for line in answer.aiter_lines():
                event = self._event(line)
                if event:
                    yield event
                await self._stay()
        except httpx.TransportError as error:
            lost = self._lost(error)
            body = {"message": lost.message, "type": "server_error", "param": None}
            yield _data({"error": {**body, "code": lost.code}})
        finally:
            if not self.account.asked.finish_reason:
                self.account.asked.finish_reason = "cancelled"
            await asyncio.shield(self._closed(answer))

    async def _stay(self) -> None:
        """A model that answers for long is neither idle nor to make room for another."""
        if time.monotonic() - self.used < _USED_SECONDS:
            return
        self.used = time.monotonic()
        try:
            await run_sync(self.platform.deployments.in_use, self.target)
        except Exception:  # the answer matters more
            log.exception("%s: that it is in use was not written", self.target.deployment_id)

    async def _closed(self, answer: httpx.Response) -> None:
        await answer.aclose()
        await self._write_down()

    def _event(self, line: str) -> bytes:
        """One line of the process as users get it; the usage only where they asked for it."""
        if not line.startswith("data:"):
            return b""
        text = line.removeprefix("data:").strip()
        if text == "[DONE]":
            return b"data: [DONE]\n\n"
        chunk = cast("dict[str, Any]", orjson.loads(text))
        self.account.read(chunk)
        if "model" in chunk:
            chunk["model"] = self.target.name
        if chunk.get("usage") and not chunk.get("choices") and not self.question.wants_usage:
            return b""
        if not self.question.wants_usage:
            chunk.pop("usage", None)
        return _data(chunk)

    def _told(self, answer: httpx.Response) -> Response:
        """A whole answer, or the error of the process, with the model's own name."""
        try:
            body = cast("dict[str, Any]", orjson.loads(answer.content))
        except ValueError:
            raise DeploymentNotReady(
                f"The process of {self.target.name} gave no answer that can be read.",
                hint="Ask again; the log of the deployment's process says more.",
                code="deployment_lost",
            ) from None
        if answer.status_code == 200:
            self.account.read(body)
            body["model"] = self.target.name
        told = body.get("error")
        if isinstance(told, dict) and isinstance(told.get("message"), str):
            told["message"] = told["message"].replace(self.target.served_as, self.target.name)
        kept = ("retry-after", "x-should-retry")
        headers = {name: answer.headers[name] for name in kept if name in answer.headers}
        return JSONResponse(body, answer.status_code, headers)

    def _lost(self, error: Exception) -> DeploymentNotReady:
        self.account.asked.status_code = 503
        log.warning("%s: %s: %s", self.target.deployment_id, type(error).__name__, error)
        return DeploymentNotReady(
            f"The process that answers for {self.target.name} is gone; it is started again.",
            hint="Ask again in a moment.",
            code="deployment_lost",
            retry_after=3,
        )

    async def _write_down(self) -> None:
        """Whatever becomes of the answer, the question is in the log."""
        try:
            await run_sync(
                self.platform.deployments.record, self.caller, self.target, self.account.closed()
            )
        except Exception:  # the answer matters more
            log.exception("a question to %s was not written down", self.target.deployment_id)


async def _until_gone(request: Request) -> None:
    """Until the client has left; its body is read already."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _data(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _client(request: Request) -> httpx.AsyncClient:
    """One pool of connections for all questions, made with the first; nothing waits in it."""
    state = request.app.state
    if not hasattr(state, "asking"):
        import httpx  # takes time to load, and most servers start without a question

        state.asking = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=_CONNECTIONS),
            trust_env=False,
        )
    return state.asking
