"""Calls to addresses that users gave: each connection goes to an address that was checked.

    outgoing = Outgoing(AddressPolicy.of(["10.0.0.0/8"]))
    with outgoing.open("GET", url) as reply:
        reply.status_code, reply.read()

A name is resolved once, when the connection is made, and the connection goes to what was checked,
so a name that changes its address meanwhile (DNS rebinding) gains nothing. TLS and the Host header
keep the name. Redirects are followed by hand, each as a new address. No proxy is used, even where
the environment names one: behind it nobody could say which address is called.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import httpcore

from tunesmith.server.outgoing.errors import failed, refused
from tunesmith.server.outgoing.policy import AddressPolicy

if TYPE_CHECKING:
    import httpx

Resolver = Callable[[str, int], Sequence[str]]

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_OF_ONE_ORIGIN: Final = frozenset({"authorization", "cookie"})


@dataclass(frozen=True)
class Caps:
    """How long a call may take in all, from the first byte to the last, and how much it brings."""

    seconds: float = 15.0
    response_bytes: int = 1 << 20
    redirects: int = 0


@dataclass(frozen=True)
class _Request:
    method: str
    url: httpx.URL
    headers: Mapping[str, str]
    content: bytes


class Reply:
    """An answer whose body is read on demand, no further than its cap."""

    def __init__(self, url: httpx.URL, response: httpcore.Response, most_bytes: int) -> None:
        import httpx  # brings a terminal's libraries along: not before somebody calls

        self.url = url
        self.status_code = response.status
        self.headers = httpx.Headers(response.headers)
        self._response, self._most_bytes = response, most_bytes

    def chunks(self) -> Generator[bytes]:
        """The body as it comes, not decompressed; FetchFailed once it is too large."""
        size = 0
        with _explained():
            for chunk in self._response.iter_stream():
                size += len(chunk)
                if size > self._most_bytes:
                    raise failed("too_large")
                yield chunk

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks())


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the system finds them; its own time limits apply."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise failed("name") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that the system trusts; read once a process, when the first call is made."""
    return ssl.create_default_context()


class Outgoing:
    """A client for addresses that users gave; safe to share between threads."""

    def __init__(
        self,
        policy: AddressPolicy | None = None,
        *,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy or AddressPolicy()
        self._resolver = resolver
        self._tls = tls

    def check(self, address: str) -> None:
        """Say now what a call would say: AddressNotAllowed, or FetchFailed for an unknown name."""
        url = self._policy.check_url(address)
        self._addresses(url.host, url.port or 443)

    @contextmanager
    def open(
        self,
        method: str,
        address: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        caps: Caps | None = None,
    ) -> Generator[Reply]:
        """The answer of an address, or of the one it leads to. A redirect is an answer, too, where
        `caps.redirects` is 0."""
        caps = caps or Caps()
        deadline = time.monotonic() + caps.seconds
        url = self._policy.check_url(address)
        request = _Request(method, url, headers or {}, content)
        for _ in range(caps.redirects + 1):
            with self._call(request, deadline) as response:
                reply = Reply(request.url, response, caps.response_bytes)
                target = reply.headers.get("location", "")
                if reply.status_code not in _REDIRECTS or not target or caps.redirects == 0:
                    yield reply
                    return
                request = self._redirected(request, reply.status_code, target)
        raise failed("redirects")

    @contextmanager
    def _call(self, request: _Request, deadline: float) -> Generator[httpcore.Response]:
        """One request on a connection of its own."""
        import httpx

        url = request.url
        headers = httpx.Headers({"accept-encoding": "identity", "user-agent": "tunesmith"})
        headers.update(request.headers)
        headers["host"] = url.netloc.decode("ascii")
        wanted = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        backend = _CheckedBackend(self._addresses, deadline)
        with (
            httpcore.ConnectionPool(
                self._tls or _trusted(), network_backend=backend, max_connections=1
            ) as pool,
            _explained(),
            pool.stream(
                request.method, wanted, headers=headers.raw, content=request.content
            ) as response,
        ):
            yield response

    def _addresses(self, host: str, port: int) -> list[str]:
        """Every address of a name must pass: one that does not is how a name would slip by."""
        addresses = list(self._resolver(host, port))
        if not addresses:
            raise failed("name")
        for address in addresses:
            self._policy.check_ip(address)
        return addresses

    def _redirected(self, request: _Request, status: int, target: str) -> _Request:
        import httpx

        try:
            joined = str(request.url.join(target))
        except httpx.InvalidURL:
            raise refused("url", "it leads to what is not a URL") from None
        url = self._policy.check_url(joined)
        if request.url.scheme == "https" and url.scheme != "https":
            raise refused("downgrade", "it leads from https to http")
        is_same = (url.scheme, url.netloc) == (request.url.scheme, request.url.netloc)
        headers = {
            name: value
            for name, value in request.headers.items()
            if is_same or name.lower() not in _OF_ONE_ORIGIN
        }
        request = replace(request, url=url, headers=headers)
        if status in (307, 308) or request.method in ("GET", "HEAD"):
            return request
        return replace(request, method="GET", content=b"")


class _CheckedBackend(httpcore.NetworkBackend):
    """Makes connections to checked addresses only, and to them by number."""

    def __init__(self, addresses: Callable[[str, int], list[str]], deadline: float) -> None:
        self._addresses, self._deadline = addresses, deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        tried: Exception = httpcore.ConnectError()
        for address in self._addresses(host, port):
            try:
                stream = self._plain.connect_tcp(
                    address, port, _left(self._deadline), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                tried = error
            else:
                return _TimedStream(stream, self._deadline)
        raise tried


class _TimedStream(httpcore.NetworkStream):
    """A connection with one deadline for all: a byte now and then does not keep it open."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _TimedStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left


@contextmanager
def _explained() -> Generator[None]:
    """What the network did, in words that name no address."""
    try:
        yield
    except httpcore.TimeoutException:
        raise failed("timeout") from None
    except httpcore.ProtocolError:
        raise failed("protocol") from None
    except httpcore.NetworkError as error:
        is_tls = any(isinstance(cause, ssl.SSLError) for cause in error.args)
        raise failed("tls" if is_tls else "connect") from None
