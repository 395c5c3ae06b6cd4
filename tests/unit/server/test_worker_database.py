"""FAULTS 15 under a worker: PostgreSQL stops; engines go on, their events wait, nothing is lost."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.server.gate import Gate, gate
from tests.unit.server.worker_processes import installation


@pytest.fixture
def door(url: str) -> Generator[Gate]:
    if not url.startswith("postgresql"):
        pytest.skip("a database in a file does not stop")
    with gate(url) as made:
        yield made


@pytest.mark.slow
def test_a_job_ends_as_if_the_database_had_never_stopped(
    world: Any, url: str, door: Gate, tmp_path: Path
) -> None:
    with installation(world, url, tmp_path / "data") as place:
        place.url = door.url
        job_id = place.submit()
        worker = place.start(LIGHT_STEPS="60", LIGHT_SECONDS="0.02")
        place.wait_for_step(job_id, 3)
        door.shut()
        place.until(lambda: "locked or not reachable" in place.log(), 30, place.log)
        place.until(lambda: place.engine(job_id) is None, 60)
        assert place.job(job_id).status == "running"
        assert worker.poll() is None
        door.open()
        job = place.wait(job_id, "succeeded")
        assert (job.attempt, job.step) == (1, 60)
        assert "the database is back after" in place.log()
        assert "Traceback" not in place.log()
        place.assert_every_job_ended_once()
