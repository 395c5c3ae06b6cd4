"""Streams of events from a real server while another process writes them. F13; rows 10 and 11."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from tests.unit.api.conftest import ADMIN_TOKEN, Server
from tests.unit.api.training import JOB, started, steps, submit, succeeded

from tunesmith.server import feed
from tunesmith.server.feed import Feed, Message

JOBS = "/api/v1/jobs"
WRITER = """
import sys, time
from tunesmith.server import claims, workers
from tunesmith.server.database import Database
from tunesmith.server.settings import Settings
from tunesmith.server.workers import DeviceInfo

database, wanted, pause = Database(Settings.load().database), int(sys.argv[1]), float(sys.argv[2])
worker = workers.register(database, "w", [DeviceInfo(0, "cpu")], host="w")
claimed = claims.claim(database, worker)
claims.started(database, claimed)
seq = 0
while seq < wanted:
    events = []
    for _ in range(3):
        seq += 1
        events.append({"run": "r", "attempt": claimed.attempt, "seq": seq, "type": "step",
                       "time": "t", "step": seq, "loss": 1.0, "sent": time.time()})
    claims.record(database, claimed, events)
    time.sleep(pause)
claims.succeed(database, claimed, claims.Result("ft:x", "adapter"))
"""


@dataclass
class Live:
    """A server process."""

    process: subprocess.Popen[str]
    url: str

    def client(self, token: str = ADMIN_TOKEN) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def writer(self, num_steps: int, pause: float = 0.01) -> subprocess.Popen[bytes]:
        arguments = [sys.executable, "-c", WRITER, str(num_steps), str(pause)]
        return subprocess.Popen(arguments)


@contextmanager
def live_server() -> Generator[Live]:
    environment = os.environ | {"TUNESMITH_ADMIN_TOKEN": ADMIN_TOKEN, "TUNESMITH_RATE_LIMIT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith.api", "--port", "0", "--no-worker"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        found = next(m for line in lines if (m := re.search(r"http://[\d.:]+", line)))
        yield Live(process, found[0])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def live(data_dir: Path) -> Iterator[Live]:
    _ = data_dir
    with live_server() as running:
        yield running


@dataclass
class Seen:
    """What a reader got."""

    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    delays: list[float] = field(default_factory=list[float])
    num_connections: int = 0

    @property
    def numbers(self) -> list[int]:
        return [event["number"] for event in self.events]

    def take(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if "sent" in event["data"]:
            self.delays.append(time.time() - event["data"]["sent"])


def follow(live: Live, job: str, seen: Seen, *, most: int = 10**9) -> None:
    """Read like a browser: reconnect with Last-Event-ID, `most` events a connection, until 204."""
    with live.client() as client:
        while True:
            last = {"Last-Event-ID": str(seen.numbers[-1])} if seen.events else {}
            with client.stream("GET", f"{JOBS}/{job}/events/stream", headers=last) as answer:
                if answer.status_code == 204:
                    return
                assert answer.status_code == 200, answer.read()
                seen.num_connections += 1
                for _, event in zip(range(most), events_of(answer), strict=False):
                    seen.take(event)


def events_of(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """The events of a stream; each one's id is its number."""
    number = None
    for line in answer.iter_lines():
        if line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: "):
            event = orjson.loads(line[6:])
            assert event.get("number", number) == number
            yield event


def test_a_stream_that_breaks_again_and_again_loses_and_doubles_nothing(live: Live) -> None:
    with live.client() as client:
        job = client.post(JOBS, json=JOB).json()["id"]
    whole, cut = Seen(), Seen()
    readers = [
        threading.Thread(target=follow, args=(live, job, whole)),
        threading.Thread(target=follow, args=(live, job, cut), kwargs={"most": 17}),
    ]
    for reader in readers:
        reader.start()
    writer = live.writer(150)
    for reader in readers:
        reader.join(timeout=60)
    assert writer.wait(timeout=30) == 0
    for seen in (whole, cut):
        assert seen.numbers == list(range(1, len(seen.numbers) + 1))
        assert [e["data"]["step"] for e in seen.events if e["type"] == "step"] == [*range(1, 151)]
        assert seen.events[-1]["data"]["to"] == "succeeded"
    assert cut.num_connections > 5
    assert sorted(whole.delays)[len(whole.delays) // 2] < 1.0  # an event is seen within a second


def test_a_server_that_is_killed_loses_no_event(live: Live) -> None:
    """Row 10: the reader goes on at the next server with the number that it has."""
    with live.client() as client:
        job = client.post(JOBS, json=JOB).json()["id"]
    seen = Seen()
    writer = live.writer(60, pause=0.02)
    with live.client() as client, client.stream("GET", f"{JOBS}/{job}/events/stream") as answer:
        for _, event in zip(range(20), events_of(answer), strict=False):
            seen.take(event)
        live.process.kill()
    live.process.wait()
    assert writer.wait(timeout=30) == 0
    with live_server() as second:
        follow(second, job, seen)
    assert seen.numbers == list(range(1, len(seen.numbers) + 1))
    assert seen.events[-1]["data"]["to"] == "succeeded"


def test_one_stream_has_the_states_of_all_jobs_of_the_caller(live: Live) -> None:
    with live.client() as client, client.stream("GET", "/api/v1/events/stream") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: ready"
        with live.client() as other:
            job = other.post(JOBS, json=JOB).json()["id"]
        writer = live.writer(30)
        states: list[dict[str, Any]] = []
        others: list[str] = []
        kind = "ready"
        for line in lines:
            if line.startswith("event: "):
                kind = line[7:]
            elif not line:
                kind = ""
            elif line.startswith("data: ") and kind == "job":
                states.append(orjson.loads(line[6:]))
            elif line.startswith("data: ") and kind == "":
                others.append(orjson.loads(line[6:])["type"])
            if states and states[-1]["status"] == "succeeded":
                break
    assert writer.wait(timeout=30) == 0
    assert {state["id"] for state in states} == {job}
    assert states[-1]["step"] == 30
    assert "step" not in others


def test_a_stream_of_a_job_that_ended_has_all_its_events_and_then_nothing(server: Server) -> None:
    job = submit(server)["id"]
    server.member.post(f"{JOBS}/{job}/cancel")
    text = server.member.get(f"{JOBS}/{job}/events/stream").text
    numbers = [int(number) for number in re.findall(r"^id: (\d+)$", text, re.MULTILINE)]
    assert numbers == [1, 2, 3]
    last = {"Last-Event-ID": "2"}
    rest = server.member.get(f"{JOBS}/{job}/events/stream", headers=last)
    assert re.findall(r"^id: (\d+)$", rest.text, re.MULTILINE) == ["3"]
    done = server.member.get(f"{JOBS}/{job}/events/stream", params={"after": 3})
    assert (done.status_code, done.content) == (204, b"")


def test_streams_are_for_those_who_may_see_the_job(server: Server) -> None:
    job = submit(server)["id"]
    path = f"{JOBS}/{job}/events/stream"
    assert server.foreigner.get(path).status_code == 404
    assert server.client("nobody").get(path).status_code == 401
    odd = server.member.get(path, headers={"Last-Event-ID": "x"})
    assert (odd.status_code, odd.json()["error"]["code"]) == (400, "bad_event_id")
    theirs = {"project_id": server.project}
    assert server.foreigner.get("/api/v1/events/stream", params=theirs).status_code == 404


def test_events_are_listed_in_parts(server_on_both: Server) -> None:
    server = server_on_both
    job = submit(server)["id"]
    claimed = started(server, job)
    steps(server, claimed, range(1, 8))
    seen: list[int] = []
    more, after = True, 0
    while more:
        params = {"limit": 3, "after": after}
        page = server.viewer.get(f"{JOBS}/{job}/events", params=params).json()
        seen += [each["number"] for each in page["data"]]
        more, after = page["has_more"], page["last_number"]
    assert seen == list(range(1, 12))


async def until(what: Callable[[], bool]) -> None:
    for _ in range(200):
        if what():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen in time")


def test_a_slow_watcher_keeps_a_bounded_queue_and_is_told_to_catch_up(
    server_on_both: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_on_both
    monkeypatch.setattr(feed, "MOST_WAITING", 5)
    monkeypatch.setattr(feed, "TICK_SECONDS", 0.01)
    job = submit(server)["id"]
    claimed = started(server, job)

    async def run() -> tuple[int, list[Message]]:
        watched = Feed(server.platform.database)
        with watched.watch(job) as watch:
            first = await watch.next(5)
            assert first is not None
            most, seq = 0, 1
            for number in range(1, 40):
                seq = await asyncio.to_thread(steps, server, claimed, [number], seq)
                most = max(most, len(watch._waiting))
            await until(lambda: watch._waiting[-1].number == first.number + 39)
            most = max(most, len(watch._waiting))
            waiting = [message async for message in _all(watch)]
            stored = await watched.stored(job, first.number)
        assert [message.number for message in stored] == [first.number + n for n in range(1, 40)]
        await until(lambda: watched._reader is not None and watched._reader.done())
        return most, waiting

    async def _all(watch: Any) -> Any:
        while (message := await watch.next(0.05)) is not None:
            yield message

    most, waiting = asyncio.run(run())
    assert most <= 5
    assert None in [message.text for message in waiting]


def test_hundreds_who_watch_cost_one_query_a_look(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "TICK_SECONDS", 0.02)
    job = submit(server)["id"]
    claimed = started(server, job)
    looks: list[int] = []
    database = server.platform.database
    watched = Feed(database)
    look = watched._look

    def counted(*arguments: Any) -> Any:
        looks.append(1)
        return look(*arguments)

    monkeypatch.setattr(watched, "_look", counted)

    async def run() -> list[bytes | None]:
        with ExitStack() as stack:
            watches = [stack.enter_context(watched.watch(job)) for _ in range(500)]
            for watch in watches:
                await watch.next(5)  # where the job is now
            await asyncio.to_thread(steps, server, claimed, [1])
            texts: list[bytes | None] = []
            for watch in watches:
                message = await watch.next(5)
                assert message is not None
                texts.append(message.text)
            return texts

    texts = asyncio.run(run())
    assert len(texts) == 500
    assert len({id(text) for text in texts}) == 1  # one text in memory, whoever reads it
    assert len(looks) < 100


def test_a_watcher_hears_when_its_job_is_deleted(server: Server) -> None:
    job = submit(server)["id"]
    claimed = started(server, job)
    succeeded(server, claimed)

    async def run() -> Message | None:
        watched = Feed(server.platform.database)
        with watched.watch(job) as watch:
            await watch.next(5)
            await asyncio.to_thread(server.platform.jobs.queue.change, job, _delete)
            return await watch.next(5)

    def _delete(_: Any, row: Any, moment: Any) -> Any:
        row.deleted_at = moment.wall
        return row

    message = asyncio.run(run())
    assert message is not None
    assert (message.is_last, message.text) == (True, None)


def test_the_last_event_of_a_job_says_so(server: Server) -> None:
    job = submit(server)["id"]
    server.member.post(f"{JOBS}/{job}/cancel")
    messages = feed.read_after(server.platform.database, job, 0)
    assert [message.is_last for message in messages] == [False, False, True]
