"""A worker that is started wrongly says what is wrong, in a line, and starts nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.unit.server.worker_processes import Installation, installation

from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir, prepare
from tunesmith.server.errors import DatabaseRefused
from tunesmith.server.installation import FILE, OtherInstallation, refuse_strangers
from tunesmith.server.settings import Settings
from tunesmith.server.tables import User, Worker
from tunesmith.server.worker.main import run_worker


@pytest.fixture
def place(world: Any, url: str, tmp_path: Path) -> Generator[Installation]:
    with installation(world, url, tmp_path / "data") as made:
        yield made


def refused(place: Installation, code: int = 2, **settings: str) -> str:
    """What a worker says that does not start."""
    process = place.start("wrong", **settings)
    try:
        assert process.wait(60) == code, place.log("wrong")
    except subprocess.TimeoutExpired:
        pytest.fail(place.log("wrong"))
    told = place.log("wrong")
    assert "Traceback" not in told
    return told


@pytest.mark.slow
def test_the_same_name_twice(place: Installation) -> None:
    first = place.start("w")
    place.until(lambda: bool(place.world.all(Worker)), 30)
    told = refused(place, TUNESMITH_WORKER_NAME="w")
    assert f"A worker named w runs already (process {first.pid} on {os.uname().nodename}" in told
    assert "It was not disturbed; this one did not start." in told
    assert "--name" in told
    assert first.poll() is None


@pytest.mark.slow
def test_the_same_name_on_another_host_is_waited_for_and_then_taken(place: Installation) -> None:
    """A copy of the data directory has no lock in common, so the database has to tell."""
    now = datetime.now(UTC)
    with place.world.database.write() as session:
        session.add(
            Worker(
                id="wk-other",
                name="w",
                host="elsewhere",
                registered_at=now,
                seen_at=now,
                lease_until=10_000.0,
            )
        )
    job_id = place.submit()
    place.start("w")
    place.until(lambda: "A worker named w is alive on elsewhere" in place.log(), 30, place.log)
    assert place.job(job_id).status == "queued"
    with place.world.database.write() as session:  # as half a minute of silence would
        session.execute(update(Worker).values(lease_until=-1.0))
    place.wait(job_id, "succeeded")


@pytest.mark.slow
def test_a_database_file_that_is_not_there_is_not_made(place: Installation) -> None:
    told = refused(place, TUNESMITH_DATABASE_URL=f"sqlite:///{place.root}/other.db")
    assert f"There is no database {place.root}/other.db." in told
    assert "tunesmith serve" in told
    assert not (place.root / "other.db").exists()
    told = refused(place, TUNESMITH_DATABASE_URL="")
    assert "and TUNESMITH_DATABASE_URL names no other" in told
    assert not (place.root / "tunesmith.db").exists()


def test_a_folder_that_was_misspelt_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DatabaseRefused, match="There is no database"):
        run_worker(Settings.load(data_dir=tmp_path / "dtaa"), threading.Event())
    assert not (tmp_path / "dtaa").exists()


def test_a_database_without_tables_is_named(place: Installation) -> None:
    prepare(place.root)
    (place.root / "empty.db").touch()
    told = refused(place, TUNESMITH_DATABASE_URL=f"sqlite:///{place.root}/empty.db")
    assert "The database is at revision none; this version needs" in told
    assert "it migrates" in told


def test_a_database_that_does_not_answer_is_waited_for(place: Installation) -> None:
    process = place.start(
        TUNESMITH_DATABASE_URL="postgresql://tunesmith:secret@127.0.0.1:9/tunesmith"
    )
    place.until(lambda: "does not answer; the worker waits for it" in place.log(), 60, place.log)
    assert process.poll() is None
    assert "secret" not in place.log()
    assert place.stop() == 0


def test_the_directory_of_another_installation_is_refused(place: Installation) -> None:
    job_id = place.submit()
    prepare(place.root)
    (place.root / FILE).write_text("user-of-another\n")
    told = refused(place)
    assert "belongs to another installation than the database" in told
    assert "--data-dir and --database" in told
    assert place.job(job_id).status == "queued"
    assert (place.root / FILE).read_text() == "user-of-another\n"


def test_a_directory_remembers_its_database_and_moves_with_it(
    world: Any, url: str, tmp_path: Path
) -> None:
    first = prepare(tmp_path / "data")
    refuse_strangers(world.database, first)
    assert (first.root / FILE).read_text() == f"{world.user}\n"
    world.add_user("user-0-later")
    with world.database.write() as session:
        session.execute(
            update(User)
            .where(User.id == "user-0-later")
            .values(created_at=datetime(2027, 1, 1, tzinfo=UTC))
        )
    moved = DataDir(tmp_path / "moved")
    shutil.move(first.root, moved.root)
    refuse_strangers(world.database, moved)
    world.reset()
    with world.database.write() as session:
        session.add(User(id="user-Z", name="z", created_at=datetime(2020, 1, 1, tzinfo=UTC)))
    with closing(Database(url)) as other, pytest.raises(OtherInstallation) as found:
        refuse_strangers(other, moved)
    assert "nothing was changed" in found.value.message
