"""Ask an OpenAI-compatible address, patiently: retries with back-off, then a clear end.

A request that the address refuses (400: a prompt too long, say) is an answer of its own, told with
the row. Anything that may pass - no connection, 429, 5xx - is tried again until nothing has
succeeded for `patience` seconds; then the evaluation pauses.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import httpx

from tunesmith.errors import InputError, RunFailed
from tunesmith.evaluation.rows import calls_text

PAUSED = 75
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 20.0
_LAST_SECONDS = 5.0
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_TOLD = 500


class EndpointOffline(RunFailed):
    """Nobody answers any more; what was answered is kept."""

    code = "endpoint_offline"
    exit_code = PAUSED


class EndpointRefused(InputError):
    """The address answers, and will not do what is asked: a wrong key, a model it does not have."""

    code = "endpoint_refused"


@dataclass(frozen=True)
class Endpoint:
    """An address that speaks the API of OpenAI; `url` ends in /v1 as a rule."""

    url: str
    model: str
    key: str = ""
    patience: float = 60.0  # seconds without any success
    timeout: float = 300.0  # of one request


@dataclass(frozen=True)
class Sampling:
    """How answers are generated; greedy unless said otherwise."""

    max_tokens: int = 512
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Reply:
    """One answer, or why there is none."""

    text: str
    seconds: float
    finish: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str = ""


class Asker:
    """A connection to an endpoint that several threads share."""

    def __init__(self, endpoint: Endpoint, role: str = "model") -> None:
        self.endpoint = endpoint
        self._role = role
        key = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        self._client = httpx.Client(
            headers=key,
            timeout=httpx.Timeout(endpoint.timeout, connect=10.0),
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
            follow_redirects=False,
            trust_env=not _is_here(endpoint.url),  # no proxy on the way to this machine
        )
        self._last_success = time.monotonic()
        self._limit_name = "max_tokens"
        self._closed = threading.Event()

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def abandon(self, under_way: Iterable[Future[Any]]) -> None:
        """Try nothing again; what is under way may end by itself for a moment, then it fails."""
        self._closed.set()
        wait(under_way, timeout=_LAST_SECONDS)
        self._client.close()

    def chat(
        self,
        messages: list[dict[str, Any]],
        sampling: Sampling,
        tools: list[dict[str, Any]] | None = None,
    ) -> Reply:
        """The answer to a conversation."""
        body: dict[str, Any] = {
            "messages": messages,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            self._limit_name: sampling.max_tokens,
        }
        if tools:
            body["tools"] = tools
        response, seconds = self._post("chat/completions", body)
        if response.status_code >= 400:
            told = _error_text(response)
            if "max_completion_tokens" in told and self._limit_name == "max_tokens":
                self._limit_name = "max_completion_tokens"  # the name that newer models insist on
                return self.chat(messages, sampling, tools)
            return Reply("", seconds, error=told)
        return _reply(self._json(response), seconds)

    def loss(self, text: str) -> tuple[float, int] | None:
        """Mean loss and tokens of a text, by the log probabilities of an echo; None without."""
        body = {"prompt": text, "max_tokens": 0, "echo": True, "logprobs": 0, "temperature": 0}
        response, _ = self._post("completions", body)
        if response.status_code >= 400:
            raise EndpointRefused(
                f"{self.endpoint.url} gives no log probabilities of a prompt: "
                f"{_error_text(response)}",
                hint="Perplexity needs /v1/completions with echo and logprobs, or a local model.",
            )
        choices = self._json(response).get("choices") or [{}]
        told = (choices[0].get("logprobs") or {}).get("token_logprobs") or []
        values = [float(value) for value in told if value is not None]
        return (-sum(values) / len(values), len(values)) if values else None

    def _post(self, path: str, body: dict[str, Any]) -> tuple[httpx.Response, float]:
        """A response that is final, however long that takes; EndpointOffline in the end."""
        address = f"{self.endpoint.url.rstrip('/')}/{path}"
        pause = _FIRST_WAIT
        while True:
            started = time.monotonic()
            problem, asked_wait = "", 0.0
            try:
                response = self._client.post(address, json={"model": self.endpoint.model, **body})
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}".rstrip(": ")
            except httpx.InvalidURL as error:
                raise EndpointRefused(f"{address} is no address: {error}.") from error
            else:
                if response.status_code not in _PASSING:
                    self._last_success = time.monotonic()
                    self._refuse(response)
                    return response, time.monotonic() - started
                problem = f"{response.status_code} {_error_text(response)}"
                asked_wait = _seconds_of(response.headers.get("retry-after", ""))
            if self._closed.is_set():
                raise self._offline(problem)
            pause = self._pause(problem, max(pause, asked_wait))

    def _pause(self, problem: str, wait: float) -> float:
        """Wait before the next try and return the next wait; raise when patience has ended."""
        if time.monotonic() + wait > self._last_success + self.endpoint.patience:
            raise self._offline(problem)
        # Waits of several threads spread, so that they do not all come back at once.
        self._closed.wait(wait * (0.75 + random.random() / 2))
        return min(_LONGEST_WAIT, 2 * wait)

    def _offline(self, problem: str) -> EndpointOffline:
        return EndpointOffline(
            f"The {self._role} at {self.endpoint.url} does not answer: {problem}. What was "
            "answered until now is kept.",
            hint="Give the same command again when it is back: the evaluation goes on from here.",
            url=self.endpoint.url,
        )

    def _refuse(self, response: httpx.Response) -> None:
        """Raise for what no row can change."""
        if response.status_code in (401, 403, 404, 405) or 300 <= response.status_code < 400:
            hints = {
                401: "Name the variable that holds the key with --key-env.",
                404: "Check the address, which ends in /v1 as a rule, and the name of the model.",
            }
            raise EndpointRefused(
                f"The {self._role} at {self.endpoint.url} answers {response.status_code}: "
                f"{_error_text(response)}",
                hint=hints.get(response.status_code, "Check the address and the key."),
                status=response.status_code,
            )

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        try:
            told = response.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise EndpointRefused(
                f"What {self.endpoint.url} sends is not the API of OpenAI: {response.text[:200]!r}",
                hint="Check the address; it ends in /v1 as a rule.",
            )
        return told


def _reply(told: dict[str, Any], seconds: float) -> Reply:
    choices = told.get("choices") or [{}]
    message, usage = choices[0].get("message") or {}, told.get("usage") or {}
    text = message.get("content") or ""
    if not text and message.get("tool_calls"):
        calls = [call.get("function") or {} for call in message["tool_calls"]]
        text = calls_text([(str(c.get("name", "")), c.get("arguments", "")) for c in calls])
    return Reply(
        str(text),
        seconds,
        finish=str(choices[0].get("finish_reason") or ""),
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
    )


def _error_text(response: httpx.Response) -> str:
    try:
        told: Any = response.json()
    except ValueError:
        return " ".join(response.text.split())[:_TOLD]
    error = told.get("error", told) if isinstance(told, dict) else told
    message = error.get("message", error) if isinstance(error, dict) else error
    return str(message)[:_TOLD]


def _is_here(url: str) -> bool:
    try:
        return httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")
    except httpx.InvalidURL:
        return False


def _seconds_of(text: str) -> float:
    try:
        return min(_LONGEST_WAIT, max(0.0, float(text)))
    except ValueError:
        return 0.0
