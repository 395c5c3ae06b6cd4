"""Several processes on one database, killed at random: every job ends once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
from sqlalchemy import text

from tunesmith.server import journal, sweep
from tunesmith.server.database import Database
from tunesmith.server.states import FINAL
from tunesmith.server.tables import Attempt, Job, Model

CLAIMER = """
import sys
from tunesmith.server import claims, workers
from tunesmith.server.database import Database
from tunesmith.server.workers import DeviceInfo

database = Database(sys.argv[1])
worker = workers.register(database, sys.argv[2], [DeviceInfo(n) for n in range(100)])
print("ready", flush=True)
sys.stdin.readline()
misses = 0
while misses < 3:
    claimed = claims.claim(database, worker)
    misses += claimed is None
    if claimed:
        print(claimed.job_id, claimed.attempt, flush=True)
"""

WORKER = """
import random, sys, time
from tunesmith.server import claims, workers
from tunesmith.server.claims import Result
from tunesmith.server.database import Database
from tunesmith.server.errors import StaleAttempt
from tunesmith.server.workers import DeviceInfo

database = Database(sys.argv[1])
KINDS = ("evaluation", "step")
worker = workers.register(database, sys.argv[2], [DeviceInfo(0), DeviceInfo(1)])
for claimed in claims.held(database, worker):  # its processes died with it
    claims.release(database, claimed)
print("ready", flush=True)
while True:
    claimed = claims.claim(database, worker)
    if claimed is None:
        time.sleep(0.05)
        continue
    try:
        claims.started(database, claimed)
        events = [
            {"attempt": claimed.attempt, "seq": n, "type": KINDS[n % 2], "step": n}
            for n in range(1, 9)
        ]
        claims.record(database, claimed, events[:5])
        time.sleep(random.random() * 0.02)
        claims.record(database, claimed, events)
        claims.succeed(database, claimed, Result(f"ft:{claimed.job_id}", "adapter"))
    except StaleAttempt:
        pass
"""


def start(code: str, url: str, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, url, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def live(world: Any, url: str) -> Generator[Any]:
    """The same database with its own clock, since other processes use it too."""
    world.database.close()
    world.database = Database(url, timeout=30)
    with world.database.write() as session:
        session.execute(text("UPDATE lease_clock SET wall = CURRENT_TIMESTAMP"))
    yield world
    world.database.close()


def test_every_job_is_claimed_once_by_several_processes(live: Any, url: str) -> None:
    made = [live.submit(f"job {number}").id for number in range(60)]
    processes = [start(CLAIMER, url, f"w{number}") for number in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    told = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        told += process.communicate()[0].split("\n")
    taken = [line.split() for line in told if line]
    assert sorted(job for job, _ in taken) == sorted(made)
    assert {attempt for _, attempt in taken} == {"1"}


def test_jobs_end_once_though_their_workers_are_killed_at_random(live: Any, url: str) -> None:
    made = [live.submit(f"job {number}").id for number in range(60)]
    chance = random.Random(1)
    workers = {f"w{number}": start(WORKER, url, f"w{number}") for number in range(3)}
    deadline, kills = time.monotonic() + 200, 8
    try:
        while any(job.status not in FINAL for job in live.all(Job)):
            assert time.monotonic() < deadline
            sweep.sweep(live.database)
            if kills:
                kills -= 1
                name = chance.choice(sorted(workers))
                assert workers[name].stdout.readline() == "ready\n"
                time.sleep(chance.random() * 0.3)
                workers[name].kill()
                workers[name].communicate()
                workers[name] = start(WORKER, url, name)
            else:
                time.sleep(0.2)
    finally:
        for process in workers.values():
            process.kill()
            process.communicate()
    assert Counter(job.status for job in live.all(Job)) == {"succeeded": len(made)}
    assert Counter(model.job_id for model in live.all(Model)) == Counter(made)
    assert all(attempt.ended_at for attempt in live.all(Attempt))
    for job in live.all(Job):
        with live.database.read() as session:
            events = journal.after(session, job.id, 0, 10_000)
        assert [event.number for event in events] == list(range(1, job.event_count + 1))
        shipped = [(event.attempt, event.seq) for event in events if event.seq is not None]
        assert shipped == sorted(set(shipped))
        assert [seq for attempt, seq in shipped if attempt == job.attempt] == list(range(1, 9))
