"""One connection to a server: requests that are repeated where that is safe, errors in words."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from tunesmith import __version__
from tunesmith.errors import InputError, TunesmithError
from tunesmith.schemas.common import Listed

Shape = TypeVar("Shape", bound=BaseModel)
_REFUSED: Final = frozenset({429, 503})  # busy: nothing was done
_LOST: Final = frozenset({502, 504})  # of a proxy: what became of the request nobody knows
_SAFE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout)
_KEYED: Final = ("/api/v1/jobs", "/clone", "/branch", "/retry")  # the server knows keys of these
_CHUNK: Final = 1 << 20
_PAGE: Final = 200
OnBytes = Callable[[int, int], None]  # so many, of so many (0: nobody knows)


class ApiError(TunesmithError):
    """The server refused a request; `status` is HTTP's, `request_id` finds it in its log."""

    code = "api_error"
    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str | None = None,
        status: int = 0,
        request_id: str = "",
        **details: Any,
    ) -> None:
        super().__init__(
            message, hint=hint, code=code, status=status, request_id=request_id, **details
        )
        self.status, self.request_id = status, request_id
        self.exit_code = 2 if 400 <= status < 500 else 1


class NotReachable(TunesmithError):
    """No answer came from the server's address."""

    code = "server_not_reachable"


class Connection:
    """Sends requests of one user to one server.

    Reading, changing and deleting are repeated after a broken connection and while the server is
    busy; what creates something carries an Idempotency-Key, so that it is made once.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        language: str = "en",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = checked_address(base_url)
        self._retries, self._sleep = retries, sleep
        headers = {"Accept-Language": language, "User-Agent": f"tunesmith/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {_checked_token(token)}"
        self._http = httpx.Client(
            base_url=self.base_url, timeout=httpx.Timeout(timeout, connect=5.0), headers=headers
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, shape: type[Shape], **query: Any) -> Shape:
        return self._read(self.request("GET", path, params=query), shape)

    def send(self, method: str, path: str, shape: type[Shape], body: Any = None) -> Shape:
        """A change; None in the body's place sends no body."""
        return self._read(self.request(method, path, json=body), shape)

    def all(self, path: str, shape: type[Shape], **query: Any) -> Iterator[Shape]:
        """Every item of a list, page by page; `limit` is the size of a page."""
        query.setdefault("limit", _PAGE)
        page_shape: Any = Listed[shape]  # pyright: ignore[reportInvalidTypeArguments]
        after: str | None = query.pop("after", None)
        while True:
            page = self.get(path, page_shape, **query, after=after)
            yield from page.data
            after = page.last_id
            if not page.has_more or after is None:
                return

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> httpx.Response:
        """The answer below 400; ApiError for the others, NotReachable where none came."""
        headers = dict(headers or {})
        if method == "POST":
            headers.setdefault("Idempotency-Key", uuid.uuid4().hex)
        query = {key: value for key, value in (params or {}).items() if value is not None}
        repeatable = _repeatable(method, path)
        number = 0
        while True:
            answer = self._try(method, path, params=query, headers=headers, **content)
            if number == self._retries or not _again(answer, repeatable):
                break
            told = isinstance(answer, httpx.Response)
            self._sleep(_pause(number, answer.headers.get("retry-after") if told else None))
            number += 1
        if not isinstance(answer, httpx.Response):
            raise self.not_reachable(answer, sent=not repeatable) from answer
        raise_for(answer)
        return answer

    def _read(self, answer: httpx.Response, shape: type[Shape]) -> Shape:
        try:
            return shape.model_validate_json(answer.content)
        except ValidationError as error:
            kind = answer.headers.get("content-type", "no type")
            raise ApiError(
                f"{answer.request.url} answered {answer.status_code} with something that this "
                f"version does not understand ({kind}).",
                hint="Is this the address of a tunesmith server? Are both of one version?",
                code="strange_answer",
                status=answer.status_code,
                request_id=answer.headers.get("x-request-id", ""),
            ) from error

    def _try(self, method: str, path: str, **content: Any) -> httpx.Response | httpx.TransportError:
        try:
            return self._http.request(method, path, **content)
        except httpx.TransportError as error:
            return error

    @contextmanager
    def stream(
        self, path: str, *, params: Mapping[str, Any] | None = None, **options: Any
    ) -> Generator[httpx.Response]:
        """An answer that is read bit by bit."""
        query = {key: value for key, value in (params or {}).items() if value is not None}
        try:
            with self._http.stream("GET", path, params=query, **options) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise_for(answer)
                yield answer
        except _NEVER_SENT as error:
            raise self.not_reachable(error) from error

    def download(
        self, place: str, to: Path, *, on_bytes: OnBytes | None = None, **query: Any
    ) -> int:
        """Write an answer to a file, whole or not at all; its bytes.

        A connection that breaks is gone on with where it broke.
        """
        part = to.with_name(f".{to.name}.part")
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                self._fill(place, file, on_bytes, query)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
        return to.stat().st_size

    def _fill(
        self, place: str, file: BinaryIO, on_bytes: OnBytes | None, query: Mapping[str, Any]
    ) -> None:
        breaks = 0
        etag = ""
        while True:
            before = file.tell()
            headers = {"Range": f"bytes={before}-", "If-Range": etag} if before and etag else {}
            try:
                with self.stream(place, params=query, headers=headers) as answer:
                    etag = answer.headers.get("etag", "")
                    _copy(answer, file, on_bytes)
                return
            except (httpx.TransportError, NotReachable) as error:
                breaks = 0 if file.tell() > before else breaks
                if breaks == self._retries:
                    raise self.not_reachable(error) from error
                self._sleep(_pause(breaks, None))
                breaks += 1

    def not_reachable(self, error: Exception, *, sent: bool = False) -> NotReachable:
        """The error for a break; `sent`: what was asked for may have been done."""
        arrived = sent and not isinstance(error, _NEVER_SENT)
        doubt = " The request may have arrived: look before you send it again." if arrived else ""
        return NotReachable(
            f"{self.base_url} does not answer ({type(error).__name__}).{doubt}",
            hint="Is `tunesmith serve` running there? TUNESMITH_URL names another address.",
            address=self.base_url,
        )


def checked_address(address: str) -> str:
    """The address of a server without a slash at its end; InputError where it is none."""
    address = address.strip().rstrip("/")
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise InputError(
            f"{address!r} is no address of a server.",
            hint="It looks like http://127.0.0.1:8400 or https://tune.example.com.",
            code="bad_address",
        )
    return address.removesuffix("/api/v1").removesuffix("/v1")


def _checked_token(token: str) -> str:
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            "The token has characters that no token has.",
            hint="Copy it anew; it begins with tsk-.",
            code="bad_token",
        )
    return token


def _copy(answer: httpx.Response, file: BinaryIO, on_bytes: OnBytes | None) -> None:
    """The answer behind what the file has, or in its place where it is not the rest of it."""
    if answer.status_code != 206:
        file.seek(0)
        file.truncate()
    total = file.tell() + int(answer.headers.get("content-length") or 0)
    for chunk in answer.iter_bytes(_CHUNK):
        file.write(chunk)
        if on_bytes is not None:
            on_bytes(file.tell(), total)


def raise_for(answer: httpx.Response) -> None:
    """ApiError for an answer that is one."""
    if answer.status_code < 300:
        return
    told = _moved(answer) if answer.status_code < 400 else _error_of(answer)
    raise ApiError(
        str(told.get("message") or f"The server answered {answer.status_code}."),
        hint=str(told.get("hint") or ""),
        code=str(told.get("code") or "api_error"),
        status=answer.status_code,
        request_id=answer.headers.get("x-request-id", ""),
        param=told.get("param"),
        problems=(told.get("details") or {}).get("problems", []),
    )


def _moved(answer: httpx.Response) -> dict[str, Any]:
    where = answer.headers.get("location", "elsewhere")
    return {
        "message": f"The server sends us on to {where}.",
        "hint": "Use that address.",
        "code": "moved",
    }


def _error_of(answer: httpx.Response) -> dict[str, Any]:
    try:
        return dict(answer.json()["error"])
    except (ValueError, KeyError, TypeError):  # a proxy, or another program
        return {
            "message": f"{answer.request.url} answered {answer.status_code} without a reason.",
            "hint": "Is this the address of a tunesmith server?",
        }


def _repeatable(method: str, path: str) -> bool:
    """Whether a request that may have arrived can be sent again: reading, or one that has a key."""
    return method in _SAFE or path.endswith(_KEYED)


def _again(answer: httpx.Response | httpx.TransportError, repeatable: bool) -> bool:
    if isinstance(answer, httpx.Response):
        status = answer.status_code
        return status in _REFUSED or (status in _LOST and repeatable)
    if isinstance(answer, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return False
    return repeatable or isinstance(answer, _NEVER_SENT)


def _pause(number: int, asked: str | None) -> float:
    """Seconds before the next try: what the server asks for, else half a second, doubled."""
    if asked is not None and asked.isdigit():
        return min(float(asked), 60.0)
    return min(0.5 * 2**number, 8.0) * random.uniform(0.75, 1.0)
