"""Calls go to checked addresses only: a canary server is reached when it is allowed, never else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.server.receivers import Receiver, Seen, certificate, receiving

from tunesmith.server.outgoing import (
    AddressNotAllowed,
    AddressPolicy,
    Caps,
    FetchFailed,
    Outgoing,
)

LOCAL = AddressPolicy.of(["127.0.0.0/8"])


class Names:
    """A resolver whose answers the test writes, one list a question; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        _ = port
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def canary() -> Generator[Receiver]:
    with receiving() as receiver:
        yield receiver


def get(outgoing: Outgoing, url: str, **options: Any) -> tuple[int, bytes]:
    with outgoing.open("GET", url, caps=Caps(**options)) as reply:
        return reply.status_code, reply.read()


def refusal(outgoing: Outgoing, url: str, **options: Any) -> str:
    with pytest.raises(AddressNotAllowed) as refused:
        get(outgoing, url, **options)
    return refused.value.details["rule"]


def failure(outgoing: Outgoing, url: str, **options: Any) -> str:
    with pytest.raises(FetchFailed) as failed:
        get(outgoing, url, **options)
    assert "127.0.0.1" not in str(failed.value)
    return failed.value.details["reason"]


def test_an_allowed_network_is_reached_under_the_name_of_the_url(canary: Receiver) -> None:
    outgoing = Outgoing(LOCAL, resolver=Names(["127.0.0.1"]))
    url = canary.url("/a?b=c", host="hooks.example.com")
    with outgoing.open("POST", url, headers={"x-a": "1"}, content=b"text") as reply:
        assert (reply.status_code, reply.read()) == (200, b"ok")
    (seen,) = canary.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/a?b=c", b"text")
    assert seen.headers["host"] == f"hooks.example.com:{canary.port}"
    assert seen.headers["x-a"] == "1"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "intranet.example.com"])
def test_the_server_itself_is_never_called_unless_it_is_allowed(
    canary: Receiver, host: str
) -> None:
    outgoing = Outgoing(resolver=Names(["127.0.0.1"]))
    assert refusal(outgoing, canary.url(host=host)) == "loopback"
    with pytest.raises(AddressNotAllowed):
        outgoing.check(canary.url(host=host))
    assert canary.seen == []


def test_the_resolver_of_the_system_is_checked_as_well(canary: Receiver) -> None:
    assert refusal(Outgoing(), canary.url(host="localhost")) == "loopback"
    allowing = Outgoing(AddressPolicy.of(["127.0.0.0/8", "::1/128"]))
    assert get(allowing, canary.url(host="localhost"))[0] == 200
    assert len(canary.seen) == 1


def test_a_name_that_changes_its_address_gains_nothing(canary: Receiver) -> None:
    """DNS rebinding: public when it is saved, the server itself when it is called."""
    names = Names(["93.184.215.14"], ["127.0.0.1"])
    outgoing = Outgoing(resolver=names)
    outgoing.check(canary.url(host="rebind.example.com"))
    assert refusal(outgoing, canary.url(host="rebind.example.com")) == "loopback"
    assert names.asked == ["rebind.example.com"] * 2
    assert canary.seen == []


def test_the_address_that_was_checked_is_the_one_that_is_called(canary: Receiver) -> None:
    """One question a connection: a second answer is never asked for."""
    names = Names(["127.0.0.1"], ["192.0.2.1"])
    assert get(Outgoing(LOCAL, resolver=names), canary.url(host="a.example.com"))[0] == 200
    assert names.asked == ["a.example.com"]


def test_one_private_address_among_public_ones_is_enough_to_refuse(canary: Receiver) -> None:
    outgoing = Outgoing(resolver=Names(["93.184.215.14", "127.0.0.1"]))
    assert refusal(outgoing, canary.url(host="mixed.example.com")) == "loopback"
    assert canary.seen == []


def test_the_next_address_is_tried_when_one_does_not_answer(canary: Receiver) -> None:
    outgoing = Outgoing(LOCAL, resolver=Names(["127.0.0.2", "127.0.0.1"]))
    assert get(outgoing, canary.url(host="two.example.com"))[0] == 200


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://10.0.0.1/",
        "//192.168.0.1/",
        "file:///etc/passwd",
        "gopher://example.com/",
    ],
)
def test_a_redirect_is_checked_as_a_new_address(canary: Receiver, target: str) -> None:
    canary.status, canary.headers = 302, {"location": target}
    outgoing = Outgoing(LOCAL)
    refusal(outgoing, canary.url(), redirects=3)
    assert len(canary.seen) == 1
    assert get(outgoing, canary.url()) == (302, b"ok")  # an answer like others by default


def test_a_redirect_to_a_name_with_a_private_address_is_refused(canary: Receiver) -> None:
    canary.status, canary.headers = 307, {"location": "https://inside.example.com/"}
    outgoing = Outgoing(LOCAL, resolver=Names(["127.0.0.1"], ["10.0.0.1"]))
    assert refusal(outgoing, canary.url(host="a.example.com"), redirects=1) == "private"


def test_a_redirect_is_followed_without_what_belongs_to_the_first_host(canary: Receiver) -> None:
    with receiving() as second:
        canary.status, canary.headers = 302, {"location": second.url("/there")}
        headers = {"authorization": "Bearer x", "cookie": "a=b", "x-kept": "1"}
        with Outgoing(LOCAL).open(
            "POST", canary.url(), headers=headers, content=b"text", caps=Caps(redirects=1)
        ) as reply:
            assert reply.read() == b"ok"
            assert str(reply.url) == second.url("/there")
        (seen,) = second.seen
        assert (seen.method, seen.body, seen.headers["x-kept"]) == ("GET", b"", "1")
        assert {"authorization", "cookie"}.isdisjoint(seen.headers)


def test_redirects_in_a_circle_end(canary: Receiver) -> None:
    canary.status, canary.headers = 302, {"location": "/again"}
    assert failure(Outgoing(LOCAL), canary.url(), redirects=3) == "redirects"
    assert len(canary.seen) == 4


def test_an_answer_without_end_is_cut(canary: Receiver) -> None:
    def pour(_: Seen, handler: Any) -> bool:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        for _number in range(10_000):
            handler.wfile.write(b"x" * 10_000)
        return True

    canary.act = pour
    assert failure(Outgoing(LOCAL), canary.url(), response_bytes=100_000) == "too_large"


@pytest.mark.parametrize("opening", [b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_a_byte_now_and_then_does_not_keep_a_call_open(canary: Receiver, opening: bytes) -> None:
    stop = threading.Event()

    def drip(_: Seen, handler: Any) -> bool:
        handler.wfile.write(opening)
        while not stop.wait(0.05):
            handler.wfile.write(b"x")
        return True

    canary.act = drip
    begun = time.monotonic()
    try:
        assert failure(Outgoing(LOCAL), canary.url(), seconds=0.5) == "timeout"
    finally:
        stop.set()
    assert time.monotonic() - begun < 30


def test_what_does_not_answer_is_told_apart(canary: Receiver) -> None:
    def babble(_: Seen, handler: Any) -> bool:
        handler.wfile.write(b"SSH-2.0-test\r\n")
        return True

    canary.act = babble
    assert failure(Outgoing(LOCAL), canary.url()) == "protocol"
    assert failure(Outgoing(LOCAL, resolver=Names([])), canary.url(host="a.example")) == "name"
    assert failure(Outgoing(LOCAL), "http://no-such-name.invalid/") == "name"
    with socket.socket() as unused:  # bound, and nobody listens
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert failure(Outgoing(LOCAL), f"http://127.0.0.1:{port}/") == "connect"


def test_tls_is_checked_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, ["hooks.example.com"])
    outgoing = Outgoing(LOCAL, resolver=Names(["127.0.0.1"]), tls=client)
    with receiving(server) as receiver:
        good = receiver.url(host="hooks.example.com", scheme="https")
        assert get(outgoing, good) == (200, b"ok")
        other = receiver.url(host="other.example.com", scheme="https")
        assert failure(outgoing, other) == "tls"
        strangers = Outgoing(LOCAL, resolver=Names(["127.0.0.1"]))
        assert failure(strangers, good) == "tls"
        assert len(receiver.seen) == 1


def test_a_redirect_never_leads_from_https_to_http(tmp_path: Path, canary: Receiver) -> None:
    server, client = certificate(tmp_path, ["127.0.0.1"])
    with receiving(server) as receiver:
        receiver.status, receiver.headers = 307, {"location": canary.url()}
        url = receiver.url(scheme="https")
        assert refusal(Outgoing(LOCAL, tls=client), url, redirects=1) == "downgrade"
    assert canary.seen == []


def test_a_proxy_of_the_environment_is_not_used(
    canary: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        assert get(Outgoing(LOCAL), canary.url())[0] == 200
        assert proxy.seen == []
