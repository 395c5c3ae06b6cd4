"""The addresses of a served model. Read `create_app` first.

Requests become orders (`prompts.py`), orders go to the engine's thread, and its pieces come back
through a `Flow`; `answers.py` gives them the shapes of the OpenAI API.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from tunesmith import __version__
from tunesmith.errors import InputError, TunesmithError
from tunesmith.serving.answers import ChatChoice, ChatText, Head, Json, TextChoice, Usage
from tunesmith.serving.body_limit import BodyLimit
from tunesmith.serving.flow import Flow
from tunesmith.serving.metrics import Metrics
from tunesmith.serving.problems import body_of, tell_errors
from tunesmith.serving.prompts import Asked, chat_orders, text_orders
from tunesmith.serving.state import State
from tunesmith.serving.voices import Voice
from tunesmith.serving.wire import AdapterBody, ChatBody, CompletionBody, Generation

Choice = ChatChoice | TextChoice
DONE = b"data: [DONE]\n\n"


def create_app(state: State) -> FastAPI:
    """Everything that answers HTTP."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        state.postman.loop = asyncio.get_running_loop()
        yield

    app = FastAPI(
        title="tunesmith (a served model)",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.serving = state
    app.state.metrics = Metrics(state)
    app.include_router(_open)
    app.include_router(_guarded)
    tell_errors(app)
    app.add_middleware(BodyLimit)
    if state.key is None:  # without a key, at least no page of the web may reach it by a trick
        hosts = {state.options.host, "localhost", "127.0.0.1", "[::1]", "::1", "testserver"}
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=sorted(hosts))
    return app


def _state(request: Request) -> State:
    return request.app.state.serving


def _check_key(request: Request) -> None:
    _state(request).check_key(request.headers.get("authorization"))


_open = APIRouter()
_guarded = APIRouter(dependencies=[Depends(_check_key)])


# ---------------------------------------------------------------- answers


@_guarded.post("/v1/chat/completions")
async def create_chat_completion(body: ChatBody, request: Request) -> Response:
    """Answer a conversation."""
    served = _state(request).ready()
    voice = served.voices.get(body.model)
    served.engine.check_room(body.n)
    asked = await asyncio.to_thread(chat_orders, body, voice, served.engine.decoder.context)
    special = voice.tokenizer.special_tokens if asked.tools else frozenset[str]()
    choices: list[Choice] = [
        ChatChoice(
            n, ChatText(asked.tools, special, asked.forced), voice.tokenizer, bool(body.logprobs)
        )
        for n in range(len(asked.orders))
    ]
    head = Head.of("chat.completion", voice.name)
    return await _answer(request, body, asked, choices, head, "chat.completion.chunk")


@_guarded.post("/v1/completions")
async def create_completion(body: CompletionBody, request: Request) -> Response:
    """Go on with a text."""
    served = _state(request).ready()
    voice = served.voices.get(body.model)
    served.engine.check_room(body.n)
    asked = await asyncio.to_thread(text_orders, body, voice, served.engine.decoder.context)
    choices: list[Choice] = [
        TextChoice(n, voice.tokenizer, _echo(body, voice, order.prompt), body.logprobs is not None)
        for n, order in enumerate(asked.orders)
    ]
    head = Head.of("text_completion", voice.name)
    return await _answer(request, body, asked, choices, head, "text_completion")


def _echo(body: CompletionBody, voice: Voice, prompt: tuple[int, ...]) -> str:
    if not body.echo:
        return ""
    return body.prompt if isinstance(body.prompt, str) else voice.tokenizer.decode(prompt)


async def _answer(
    request: Request,
    body: Generation,
    asked: Asked,
    choices: list[Choice],
    head: Head,
    chunk_kind: str,
) -> Response:
    state = _state(request)
    flow = Flow(state.ready().engine, asked.orders)  # refused here, while a status can be sent
    usage = Usage(asked.prompt_tokens)
    watch = request.app.state.metrics.watch(asked.voice.name)
    if not body.stream:
        return await _whole(request, flow, choices, head, usage, watch)
    options = body.stream_options
    chunk = partial(head.to_dict, kind=chunk_kind)
    events = _events(flow, choices, chunk, usage, watch, bool(options and options.include_usage))
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _whole(
    request: Request, flow: Flow, choices: list[Choice], head: Head, usage: Usage, watch: Any
) -> Response:
    """All at once, unless the client leaves before."""
    leaving = asyncio.ensure_future(_until_gone(request))
    reading = asyncio.ensure_future(_read_all(flow, choices, usage, watch))
    try:
        await asyncio.wait((leaving, reading), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            return Response(status_code=499)  # nobody reads it
        reading.result()
    finally:
        leaving.cancel()
        reading.cancel()
        flow.leave()
    told = head.to_dict([choice.to_dict() for choice in choices])
    return Response(orjson.dumps({**told, "usage": usage.to_dict()}), media_type="application/json")


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


async def _read_all(flow: Flow, choices: list[Choice], usage: Usage, watch: Any) -> None:
    async for batch in flow.batches():
        for number, delta in batch:
            watch(delta)
            usage.completion_tokens += delta.num_tokens
            choices[number].take(delta)


async def _events(
    flow: Flow,
    choices: list[Choice],
    chunk: Callable[[list[Json]], Json],
    usage: Usage,
    watch: Any,
    tells_usage: bool,
) -> AsyncIterator[bytes]:
    """Server-sent events; what goes wrong on the way is the last one."""
    more: Json = {"usage": None} if tells_usage else {}
    try:
        async for batch in flow.batches():
            lines: list[bytes] = []
            for number, delta in batch:
                watch(delta)
                usage.completion_tokens += delta.num_tokens
                lines += [_event(chunk([c]) | more) for c in choices[number].take(delta)]
            if lines:
                yield b"".join(lines)
    except TunesmithError as error:
        yield _event(body_of(error))
        return
    finally:
        flow.leave()
    if tells_usage:
        yield _event(chunk([]) | {"usage": usage.to_dict()})
    yield DONE


def _event(content: Json) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


# ---------------------------------------------------------------- models and adapters


@_guarded.get("/v1/models")
def list_models(request: Request) -> Json:
    """The base and its adapters."""
    served = _state(request).ready()
    limit = served.engine.decoder.context
    return {
        "object": "list",
        "data": [_model(v, served.voices.base, limit) for v in served.voices],
    }


@_guarded.get("/v1/models/{model:path}")
def get_model(model: str, request: Request) -> Json:
    """One of them."""
    served = _state(request).ready()
    limit = served.engine.decoder.context
    return _model(served.voices.get(model), served.voices.base, limit)


def _model(voice: Voice, base: Voice, limit: int | None) -> Json:
    return {
        "id": voice.name,
        "object": "model",
        "created": voice.created,
        "owned_by": "tunesmith",
        "base": None if voice is base else base.name,
        "max_model_len": voice.context_of(limit),
        "root": str(_root(voice, base)),
    }


def _root(voice: Voice, base: Voice) -> Path:
    """The folder with the tokenizer; adapters of others bring none and have that of their base."""
    has_tokenizer = (voice.directory / "tokenizer_config.json").is_file()
    return voice.directory if has_tokenizer else base.directory


@_guarded.get("/adapters")
def list_adapters(request: Request) -> Json:
    """What lies beside the base."""
    voices = _state(request).ready().voices
    return {"object": "list", "data": [_adapter(v) for v in voices if v is not voices.base]}


@_guarded.post("/adapters")
async def load_adapter(body: AdapterBody, request: Request) -> JSONResponse:
    """Read one more adapter while others answer; the same one again changes nothing."""
    served = _state(request).ready()
    known = served.voices.find(body.name)
    if known is not None and known.directory == Path(body.path).expanduser().absolute():
        return JSONResponse(_adapter(known))
    from tunesmith.serving.loading import adapter_voice

    try:
        voice = await asyncio.to_thread(
            adapter_voice, served.engine, served.voices, body.name, body.path
        )
    except InputError as error:
        error.details.setdefault("param", "path")
        raise
    try:
        served.voices.add(voice)
    except TunesmithError:
        served.engine.retire(voice.adapter)  # the name was taken meanwhile
        raise
    return JSONResponse(_adapter(voice), 201)


@_guarded.delete("/adapters/{name:path}")
def unload_adapter(name: str, request: Request) -> Json:
    """Take no more requests for an adapter; its weights go with its last answer."""
    served = _state(request).ready()
    voice = served.voices.remove(name)
    served.engine.retire(voice.adapter)
    return {"id": name, "object": "adapter", "deleted": True}


def _adapter(voice: Voice) -> Json:
    return {
        "name": voice.name,
        "object": "adapter",
        "path": str(voice.directory),
        "bytes": getattr(voice.adapter, "num_bytes", None),
        "created": voice.created,
    }


# ---------------------------------------------------------------- health


@_open.get("/health")
def health(request: Request) -> JSONResponse:
    """200 once it answers; 503 before and after."""
    state = _state(request)
    return JSONResponse(state.health(), 200 if state.phase == "ready" else 503)


@_guarded.get("/metrics")
def metrics(request: Request) -> PlainTextResponse:
    """For Prometheus."""
    content, kind = request.app.state.metrics.text()
    return PlainTextResponse(content, media_type=kind)
