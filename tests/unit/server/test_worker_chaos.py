"""200 jobs, 4 workers, and kill -9 at random: every job ends exactly once.

In full on SQLite, which everybody has; with fewer jobs and kills on PostgreSQL.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.unit.server.worker_processes import Installation, installation

from tunesmith.server.states import FINAL
from tunesmith.server.tables import Job

NUM_WORKERS = 4


@dataclass(frozen=True)
class Extent:
    """How much is done, and how much is killed on the way."""

    num_jobs: int
    worker_kills: int
    engine_kills: int


ALL, LESS = Extent(200, 16, 24), Extent(70, 6, 9)


@pytest.fixture
def place(world: Any, url: str, tmp_path: Path) -> Generator[Installation]:
    with installation(world, url, tmp_path / "data") as made:
        made.settings |= {"TUNESMITH_CPU_DEVICES": "4", "LIGHT_SECONDS": "0.03"}
        yield made


def kill_some_engine(place: Installation, jobs: list[str], chance: random.Random) -> bool:
    """One that works now; False when none does."""
    chance.shuffle(jobs)
    for job_id in jobs:
        pid = place.engine(job_id)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_job_ends_once_though_workers_and_engines_are_killed(place: Installation) -> None:
    extent = ALL if place.world.database.is_sqlite else LESS
    jobs = [place.submit(f"job {number}") for number in range(extent.num_jobs)]
    names = [f"w{number}" for number in range(NUM_WORKERS)]
    for name in names:
        place.start(name)
    chance = random.Random(7)
    workers_left, engines_left = extent.worker_kills, extent.engine_kills
    deadline = time.monotonic() + 600
    while any(job.status not in FINAL for job in place.world.all(Job)):
        assert time.monotonic() < deadline, Counter(job.status for job in place.world.all(Job))
        time.sleep(chance.random() * 0.8)
        if engines_left and kill_some_engine(place, jobs, chance):
            engines_left -= 1
        if workers_left and chance.random() < 0.5:
            name = chance.choice(names)
            place.kill(name)
            place.start(name)
            workers_left -= 1
    assert (workers_left, engines_left) == (0, 0), "the kills outlasted the work"
    place.assert_every_job_ended_once()
    ends = Counter((job.status, job.reason) for job in place.world.all(Job))
    # One whose engine was killed three times has used up its attempts; that is rare, and an end.
    assert ends[("succeeded", "")] + ends[("failed", "attempts_used_up")] == extent.num_jobs
    assert ends[("succeeded", "")] >= extent.num_jobs - 3
    assert max(job.attempt for job in place.world.all(Job)) > 1
