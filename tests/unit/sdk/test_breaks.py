"""Connections that break: nothing is sent twice, doubled or lost."""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from tests.unit.sdk.living import ADMIN_TOKEN, Proxy, live_server, proxied

from tunesmith.sdk import Client, NotReachable

pytestmark = pytest.mark.slow
MEGABYTE = 1 << 20
BODY: dict[str, Any] = {"base": "starter", "datasets": ["builtin:shop"]}


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """More than one part of an upload."""
    file = tmp_path / "large.txt"
    file.write_bytes(random.Random(0).randbytes(6 * MEGABYTE))
    return file


def test_an_upload_that_is_cut_goes_on_where_it_was_cut(
    far: Client, proxy: Proxy, large: Path
) -> None:
    proxy.break_after("up", 2 * MEGABYTE + 12_345)
    told: list[tuple[int, int]] = []
    sent = far.files.upload(large, on_bytes=lambda done, total: told.append((done, total)))
    assert proxy.breaks == 1
    assert sent.sha256 == hashlib.sha256(large.read_bytes()).hexdigest()
    assert proxy.passed["up"] < 9 * MEGABYTE  # what had arrived was not sent again
    assert told[-1] == (6 * MEGABYTE, 6 * MEGABYTE)
    assert sorted(told) == told


def test_an_upload_whose_last_answer_is_lost_is_one_file(
    far: Client, proxy: Proxy, rows: Path
) -> None:
    before = len(list(far.files.list()))
    armed: list[bool] = []

    def lose(method: str) -> None:
        if method == "PATCH" and not armed:
            armed.append(True)
            proxy.break_after("down", 0)

    sent = _telling(far, lose).files.upload(rows)
    assert proxy.breaks == 1
    assert sent.bytes == rows.stat().st_size
    assert len(list(far.files.list())) == before + 1


def _telling(client: Client, hear: Any) -> Client:
    """The client, with somebody who hears of each request before it is sent."""
    http = client.tasks._connection._http
    http.event_hooks["request"].append(lambda sent: hear(sent.method))
    return client


def test_a_download_that_is_cut_goes_on_where_it_was_cut(
    far: Client, client: Client, proxy: Proxy, large: Path, tmp_path: Path
) -> None:
    file = client.files.upload(large)
    proxy.break_after("down", 2 * MEGABYTE)
    assert far.files.download(file.id, tmp_path / "back") == 6 * MEGABYTE
    assert proxy.breaks == 1
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert proxy.passed["down"] < 9 * MEGABYTE
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_a_job_whose_answer_was_lost_is_made_once(
    far: Client, client: Client, proxy: Proxy
) -> None:
    proxy.break_after("down", 0)
    made = far.jobs.create(**BODY, name="made once")
    assert proxy.breaks == 1
    assert made.is_new is False  # the first request came through; this is the answer to the second
    assert [job.id for job in client.jobs.list(text="made once")] == [made.id]


def test_a_clone_whose_answer_was_lost_is_made_once(
    far: Client, client: Client, proxy: Proxy
) -> None:
    job = client.jobs.create(**BODY, name="the first")
    proxy.break_after("down", 0)
    made = far.jobs.clone(job.id, {"training.epochs": 1}, name="the clone")
    assert proxy.breaks == 1
    assert [one.id for one in client.jobs.list(text="the clone")] == [made.id]


def test_what_cannot_be_sent_twice_is_not_and_says_so(
    far: Client, client: Client, proxy: Proxy
) -> None:
    proxy.break_after("down", 0)
    with pytest.raises(NotReachable) as error:
        far.tokens.create("lost")
    assert "may have arrived" in error.value.message
    assert [token.name for token in client.tokens.list()].count("lost") == 1


def test_events_are_each_told_once_over_breaks(far: Client, client: Client, proxy: Proxy) -> None:
    job = client.jobs.create(**BODY)
    told: Queue[int] = Queue()
    reader = threading.Thread(
        target=lambda: [told.put(event.number) for event in far.jobs.follow(job.id)]
    )
    reader.start()
    numbers = [told.get(timeout=60)]
    proxy.break_now()
    client.jobs.update(job.id, priority=5)
    proxy.break_after("down", 120)  # in the middle of what is told next
    client.jobs.cancel(job.id)
    reader.join(120)
    assert not reader.is_alive()
    while not told.empty():
        numbers.append(told.get())
    assert proxy.breaks >= 2
    assert numbers == [event.number for event in client.jobs.events(job.id)]
    assert numbers == list(range(1, client.jobs.get(job.id).event_count + 1))


def test_a_server_that_starts_anew_is_waited_for(tmp_path: Path) -> None:
    with (
        live_server(tmp_path) as first,
        proxied(first.url) as proxy,
        Client(proxy.url, ADMIN_TOKEN) as client,
    ):
        job = client.jobs.create(**BODY)
        events = client.jobs.follow(job.id)
        numbers = [next(events).number]
        first.end()
        with live_server(tmp_path) as second:
            proxy.lead_to(second.url)
            with Client(second.url, ADMIN_TOKEN) as other:
                other.jobs.cancel(job.id)
            numbers += [event.number for event in events]
            assert numbers == [event.number for event in client.jobs.events(job.id)]
