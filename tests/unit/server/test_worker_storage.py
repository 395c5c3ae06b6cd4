"""FAULTS 4 and 27 under a worker: its disk is full or takes no writes, with real mounts."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.mounts import read_only, small_disk
from tests.unit.server.conftest import Clock, World
from tests.unit.server.worker_processes import Installation, installation

from tunesmith.server.database import Database
from tunesmith.server.datadir import prepare
from tunesmith.server.migrations.upgrade import migrate

LONG = {"LIGHT_STEPS": "100000", "LIGHT_SECONDS": "0.02"}


def fill(folder: Path) -> Path:
    """Take all that is left."""
    path = folder / "somebody else's"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    assert shutil.disk_usage(folder).free == 0
    return path


@pytest.fixture
def place(world: Any, url: str, tmp_path: Path) -> Generator[Installation]:
    """The data directory is a small disk; the database lies elsewhere."""
    root = tmp_path / "数据 data"
    with small_disk(root, "size=64m"), installation(world, url, root) as made:
        yield made


def test_a_full_disk_pauses_what_runs_and_starts_nothing_until_there_is_room(
    place: Installation,
) -> None:
    job_id = place.submit("first")
    worker = place.start(**LONG)
    place.wait_for_step(job_id, 3)
    waiting = place.submit("second", {"model": "starter", "data": {"train": ["builtin:shop"]}})
    taken = fill(place.root)
    job = place.wait(job_id, "paused")
    assert (job.reason, job.error) == ("disk_full", None)
    told = place.events(job_id)[-1].message
    assert told.startswith("Disk full on the data directory (0 B left) since 20")
    assert told.endswith("intact. Job paused; free space and press Resume.")
    assert str(place.root) not in told
    place.until(lambda: "No job is claimed until then" in place.log(), 20, place.log)
    assert place.job(waiting).status == "queued"
    assert place.job(waiting).attempt == 0
    assert worker.poll() is None
    taken.unlink()
    place.wait_for_step(waiting, 1)  # by itself
    place.world.jobs.resume(job_id, "ann")
    place.world.jobs.stop(waiting, "ann")
    place.wait(waiting, "succeeded")
    place.wait_for_step(job_id, job.step + 1)
    place.world.jobs.stop(job_id, "ann")
    assert place.wait(job_id, "succeeded").attempt == 2
    place.assert_every_job_ended_once()


def test_a_read_only_directory_pauses_what_runs_and_starts_nothing(place: Installation) -> None:
    job_id = place.submit("first")
    worker = place.start(**LONG)
    place.wait_for_step(job_id, 3)
    with read_only(place.root):
        job = place.wait(job_id, "paused")
        assert (job.reason, job.error) == ("data_directory_read_only", None)
        told = place.events(job_id)[-1].message
        assert told.startswith("Data directory is read-only since 20")
        assert told.endswith("Job paused; make it writable and press Resume.")
        waiting = place.submit("second")
        place.until(lambda: "No job is claimed until then" in place.log(), 20, place.log)
        assert place.job(waiting).status == "queued"
    place.wait_for_step(waiting, 1)
    assert worker.poll() is None
    assert "Traceback" not in place.log()


@pytest.mark.slow
def test_a_worker_waits_for_a_disk_that_is_bad_when_it_starts(place: Installation) -> None:
    prepare(place.root)
    job_id = place.submit()
    with read_only(place.root):
        worker = place.start()
        place.until(lambda: "The worker waits for" in place.log(), 30, place.log)
        assert "Data directory is read-only since" in place.log()
        assert worker.poll() is None
    place.wait(job_id, "succeeded")
    assert place.log().count("The worker waits for") == 1
    assert place.stop() == 0


def test_a_worker_that_waits_for_its_disk_ends_when_it_is_told(place: Installation) -> None:
    prepare(place.root)
    with read_only(place.root):
        place.start()
        place.until(lambda: "The worker waits for" in place.log(), 30, place.log)
        assert place.stop() == 0


def test_a_directory_that_was_never_used_is_an_error_and_not_waited_for(
    place: Installation,
) -> None:
    with read_only(place.root):
        worker = place.start()
        assert worker.wait(30) == 2
    assert "read-only" in place.log()
    assert "Traceback" not in place.log()


@pytest.mark.slow
def test_what_the_disk_ended_is_paused_though_the_database_lies_on_it(tmp_path: Path) -> None:
    """SQLite in the data directory: nothing can be written down before there is room again."""
    root = tmp_path / "data"
    with small_disk(root, "size=64m"):
        url = f"sqlite:///{root / 'tunesmith.db'}"
        migrate(url)
        world = World(Database(url), Clock())
        world.reset()
        with installation(world, url, root) as place:
            job_id = place.submit()
            worker = place.start(**LONG)
            place.wait_for_step(job_id, 3)
            taken = fill(root)
            place.until(lambda: "disk of the database is full" in place.log(), 30, place.log)
            place.until(lambda: "its engine has ended: Disk full" in place.log(), 30, place.log)
            assert worker.poll() is None
            taken.unlink()
            job = place.wait(job_id, "paused")
            assert job.reason == "disk_full"
            place.world.jobs.resume(job_id, "ann")
            place.wait_for_step(job_id, job.step + 1)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0
            place.assert_no_event_lost_or_doubled(job_id)


@pytest.mark.slow
def test_a_killed_worker_starts_on_a_disk_that_is_full_by_then(place: Installation) -> None:
    job_id = place.submit()
    place.start(**LONG)
    place.wait_for_step(job_id, 3)
    place.kill()
    taken = fill(place.root)
    place.until(lambda: place.engine(job_id) is None, 30)
    worker = place.start(**LONG)
    place.until(lambda: "The worker waits for" in place.log(), 30, place.log)
    assert worker.poll() is None
    taken.unlink()
    place.wait_for_step(job_id, 10)
    assert place.job(job_id).status == "running"
