"""How many requests one API process answers, beside a bare route that runs the same SQL.

    python benchmarks/api.py [--jobs 10000] [--points 5000000] [--clients 500] [--database URL]

Fills a database by bulk inserts, starts one server on it, and prints as JSON: requests a second and
p99 of job list, job get and submit; the ratio to a bare route, in turns; events seen by readers of
server-sent events, how late, and what the server's memory did meanwhile. Wrong answers end it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

TOKEN = "tsk-benchmark-of-the-whole-api"
ROUNDS, SECONDS, CONNECTIONS = 3, 4.0, 8
POINTS_AT_ONCE = 100_000


@dataclass
class Rate:
    """What a route did in one round."""

    a_second: float
    p99_ms: float


# ---------------------------------------------------------------- fill


def fill(url: str, num_jobs: int, num_points: int) -> list[str]:
    """Jobs that ended, with their points; the ids of the jobs."""
    from sqlalchemy import insert

    from tunesmith.recipe import parse_recipe
    from tunesmith.server import ids
    from tunesmith.server.database import Database
    from tunesmith.server.tables import Job, MetricPoint, Project, User

    database = Database(url)
    recipe = parse_recipe({"model": "starter", "data": ["builtin:shop"]}).model_dump(mode="json")
    begin = datetime.now(UTC) - timedelta(days=30)
    with database.read() as session:
        user, project = session.query(User.id).first(), session.query(Project.id).first()
        assert user is not None
        assert project is not None
    a_job = num_points // num_jobs
    times = [begin + timedelta(minutes=4 * n) for n in range(num_jobs)]
    names = [ids.new(ids.JOB, moment) for moment in times]
    rows = [
        {
            "id": name,
            "project_id": project[0],
            "user_id": user[0],
            "name": f"job {n}",
            "recipe": recipe,
            "base": "starter",
            "status": "succeeded" if n % 10 else "failed",
            "created_at": moment,
            "changed_at": moment,
            "event_count": a_job,
            "step": a_job,
        }
        for n, (name, moment) in enumerate(zip(names, times, strict=True))
    ]
    with database.write() as session:
        session.execute(insert(Job), rows)
    done, batch = 0, list[dict[str, Any]]()
    for name, moment in zip(names, times, strict=True):
        for step in range(1, a_job + 1):
            data = {"step": step, "loss": 2.0 / step, "learning_rate": 1e-4, "grad_norm": 1.0}
            place = {"number": step, "attempt": 1, "seq": step, "step": step}
            batch.append({"job_id": name, **place, "data": data, "created_at": moment})
        if len(batch) >= POINTS_AT_ONCE or name == names[-1]:
            with database.write() as session:
                session.execute(insert(MetricPoint), batch)
            done, batch = done + len(batch), []
            say(f"{done:,} points")
    database.close()
    return names


# ---------------------------------------------------------------- servers


@contextmanager
def serving(*arguments: str) -> Generator[tuple[int, int]]:
    """A server process; its port and its process id."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        port = next(int(m[1]) for line in lines if (m := re.search(r":(\d+)\b", line)))
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()


def bare(url: str, job: str) -> None:
    """Serve /list and /get: the statements of the real routes, and their rows as JSON."""
    import orjson
    import uvicorn
    from fastapi import FastAPI, Response

    from tunesmith.server.database import Database

    database = Database(url)
    app = FastAPI()
    for path, transactions in statements_of(database, job).items():
        app.add_api_route(path, _bare_route(database, transactions, orjson.dumps, Response))
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            print(f"port :{self.servers[0].sockets[0].getsockname()[1]}", flush=True)

    Server(config).run()


def _bare_route(database: Any, transactions: Any, dumps: Any, answer: Any) -> Callable[[], Any]:
    def route() -> Any:
        found: list[Any] = []
        for transaction in transactions:
            with database.engine.connect() as connection:
                for statement in transaction:
                    rows = connection.exec_driver_sql(*statement)
                    found.append([list(row) for row in rows])
        return answer(dumps(found, default=str), media_type="application/json")

    route.__annotations__.clear()
    return route


def statements_of(database: Any, job: str) -> dict[str, list[list[tuple[str, Any]]]]:
    """What the services run for a list and for one job, token included: by transaction."""
    from sqlalchemy import event

    from tunesmith.server.platform import build_platform
    from tunesmith.server.services.people import Asked
    from tunesmith.server.settings import Settings

    platform = build_platform(Settings.load(database_url=database.url.render_as_string(False)))
    found: dict[str, list[list[tuple[str, Any]]]] = {"/list": [], "/get": []}
    engine = platform.database.engine
    asked = Asked(language="en", request_id="r", address="", project_id=None)
    platform.people.caller(TOKEN, asked)  # notes the use of the token, this once
    for path, run in (
        ("/list", lambda caller: platform.jobs.list(caller, limit=20, with_recipes=False)),
        ("/get", lambda caller: platform.jobs.details(caller, job)),
    ):

        def begin(_: Any, into: list[list[tuple[str, Any]]] = found[path]) -> None:
            into.append([])

        def note(*args: Any, into: list[list[tuple[str, Any]]] = found[path]) -> None:
            if args[2] != "BEGIN":
                into[-1].append((args[2], args[3]))

        event.listen(engine, "begin", begin, insert=True)
        event.listen(engine, "before_cursor_execute", note)
        run(platform.people.caller(TOKEN, asked))
        event.remove(engine, "begin", begin)
        event.remove(engine, "before_cursor_execute", note)
    return found


# ---------------------------------------------------------------- load


class Connection:
    """One kept-alive connection; no client library stands between."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> Connection:
        self._in, self._out = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        self.send(method, path, body)
        status, headers = await self.head()
        return status, await self._in.readexactly(int(headers.get("content-length", 0)))

    def send(self, method: str, path: str, body: bytes = b"") -> None:
        self._out.write(
            f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self._in.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): text.strip() for name, _, text in pairs}

    async def line(self) -> bytes:
        return await self._in.readline()

    def close(self) -> None:
        self._out.close()


async def load(
    port: int, method: str, path: str, check: Callable[[bytes], None], body: bytes = b""
) -> Rate:
    """`CONNECTIONS` that ask again and again for `SECONDS`; every answer is checked."""
    times: list[float] = []
    end = time.perf_counter() + SECONDS

    async def one() -> None:
        connection = await Connection(port).open()
        while (began := time.perf_counter()) < end:
            status, answer = await connection.ask(method, path, body)
            times.append(time.perf_counter() - began)
            assert status in (200, 201), (status, answer)
            check(answer)
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    passed = time.perf_counter() - began
    return Rate(len(times) / passed, sorted(times)[int(0.99 * len(times))] * 1e3)


async def compare(port: int, bare_port: int, jobs: list[str]) -> dict[str, Any]:
    """The real routes and the bare ones in turns."""
    newest = jobs[::-1][:20]

    def is_list(answer: bytes) -> None:
        assert [each["id"] for each in json.loads(answer)["data"]] == newest

    def is_job(answer: bytes) -> None:
        assert json.loads(answer)["id"] == jobs[0]

    found: dict[str, Any] = {}
    for name, real, plain, check in (
        ("list", "/api/v1/jobs?limit=20", "/list", is_list),
        ("get", f"/api/v1/jobs/{jobs[0]}", "/get", is_job),
    ):
        rates, bares = list[Rate](), list[Rate]()
        for _ in range(ROUNDS):
            rates.append(await load(port, "GET", real, check))
            bares.append(await load(bare_port, "GET", plain, lambda _: None))
        rate = statistics.median(each.a_second for each in rates)
        plain_rate = statistics.median(each.a_second for each in bares)
        found[name] = {
            "requests_a_second": round(rate, 1),
            "p99_ms": round(statistics.median(each.p99_ms for each in rates), 1),
            "bare_requests_a_second": round(plain_rate, 1),
            "ratio": round(rate / plain_rate, 3),
        }
        say(f"{name}: {found[name]}")
    return found


async def submit(port: int) -> dict[str, Any]:
    """New jobs; each answer has an id of its own, and all of them are in the list."""
    made: set[str] = set()

    def is_new(answer: bytes) -> None:
        job = json.loads(answer)["id"]
        assert job not in made
        made.add(job)

    body = json.dumps({"name": "new", "base": "starter", "datasets": ["builtin:shop"]}).encode()
    rate = await load(port, "POST", "/api/v1/jobs", is_new, body)
    connection = await Connection(port).open()
    seen: set[str] = set()
    after = ""
    while True:
        path = f"/api/v1/jobs?text=new&limit=1000{after}"
        page = json.loads((await connection.ask("GET", path))[1])
        seen |= {each["id"] for each in page["data"]}
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert seen == made, "a job is lost or doubled"
    return {"requests_a_second": round(rate.a_second, 1), "p99_ms": round(rate.p99_ms, 1)}


# ---------------------------------------------------------------- streams


async def streams(port: int, pid: int, url: str, clients: int, seconds: float) -> dict[str, Any]:
    """Readers of one job while its engine reports ten steps a second."""
    connection = await Connection(port).open()
    body = {"name": "streamed", "base": "starter", "datasets": ["builtin:shop"], "priority": 100}
    job = json.loads((await connection.ask("POST", "/api/v1/jobs", json.dumps(body).encode()))[1])
    delays: list[float] = []
    memory: list[tuple[float, int]] = []
    opened = 0

    async def read() -> None:
        nonlocal opened
        reader = await Connection(port).open()
        reader.send("GET", f"/api/v1/jobs/{job['id']}/events/stream")
        status, _ = await reader.head()
        assert status == 200
        opened += 1
        expected = 1
        while True:
            line = await reader.line()
            if line.startswith(b"id: "):
                assert int(line[4:]) == expected, "an event is lost or doubled"
                expected += 1
            elif line.startswith(b"data: "):
                event = json.loads(line[6:])
                if "sent" in event["data"]:
                    delays.append(time.time() - event["data"]["sent"])
                if event["data"].get("to") == "cancelled" or event["type"] == "model":
                    return

    readers = [asyncio.create_task(read()) for _ in range(clients)]
    while opened < clients:
        await asyncio.sleep(0.1)
    watching = asyncio.create_task(watch_memory(pid, memory))
    await asyncio.to_thread(write_steps, url, job["id"], seconds)
    await asyncio.wait_for(asyncio.gather(*readers), 60)
    watching.cancel()
    delays.sort()
    return {
        "clients": clients,
        "events_seen": len(delays),
        "delay_seconds_p50": round(delays[len(delays) // 2], 3),
        "delay_seconds_p99": round(delays[int(len(delays) * 0.99)], 3),
        "memory_mib": [round(memory[0][1] / 2**20, 1), round(memory[-1][1] / 2**20, 1)],
        "memory_slope_kib_a_second": round(slope(memory[len(memory) // 3 :]) / 1024, 1),
    }


async def watch_memory(pid: int, into: list[tuple[float, int]]) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    while True:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        into.append((time.time(), pages * page))
        await asyncio.sleep(0.5)


def slope(points: list[tuple[float, int]]) -> float:
    """Bytes a second, by least squares."""
    times, values = zip(*points, strict=True)
    return statistics.linear_regression(times, values).slope


def write_steps(url: str, job: str, seconds: float) -> None:
    """The worker's part: claim the job, report steps, end it."""
    from tunesmith.server import claims, workers
    from tunesmith.server.database import Database
    from tunesmith.server.workers import DeviceInfo

    database = Database(url)
    worker = workers.register(database, "bench", [DeviceInfo(0, "cpu")], host="bench")
    claimed = claims.claim(database, worker)
    assert claimed is not None
    assert claimed.job_id == job
    claims.started(database, claimed)
    seq, end = 0, time.time() + seconds
    while time.time() < end:
        seq += 1
        event = {"run": "r", "attempt": claimed.attempt, "seq": seq, "type": "step", "step": seq}
        claims.record(database, claimed, [event | {"loss": 1.0, "sent": time.time()}])
        time.sleep(0.1)
    claims.succeed(database, claimed, claims.Result("ft:bench", "adapter"))
    database.close()


# ---------------------------------------------------------------- all of it


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def measure(
    port: int, pid: int, url: str, jobs: list[str], clients: int, seconds: float
) -> dict[str, Any]:
    with serving(__file__, "--bare", jobs[0], "--database", url) as (bare_port, _):
        found: dict[str, Any] = await compare(port, bare_port, jobs)
    steps: tuple[tuple[str, Callable[[], Awaitable[dict[str, Any]]]], ...] = (
        ("streams", lambda: streams(port, pid, url, clients, seconds)),
        ("submit", lambda: submit(port)),
    )
    for name, step in steps:
        found[name] = await step()
        say(f"{name}: {found[name]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=5_000_000)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--database", default="", help="an empty PostgreSQL database; else SQLite")
    parser.add_argument("--bare", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        bare(options.database, options.bare)
        return
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        os.environ |= {
            "TUNESMITH_DATA_DIR": folder,
            "TUNESMITH_ADMIN_TOKEN": TOKEN,
            "TUNESMITH_RATE_LIMIT": "0",
        }
        url = options.database or f"sqlite:///{folder}/tunesmith.db"
        os.environ["TUNESMITH_DATABASE_URL"] = url
        with serving("-m", "tunesmith.api", "--port", "0", "--no-worker"):
            pass  # makes the tables and the first user
        jobs = fill(url, options.jobs, options.points)
        with serving("-m", "tunesmith.api", "--port", "0", "--no-worker") as (port, pid):
            found = asyncio.run(measure(port, pid, url, jobs, options.clients, options.seconds))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
