"""Connections, transactions, errors of the database in words."""

from __future__ import annotations

import math
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tunesmith.runs.files import StorageRefused
from tunesmith.server import claims, clock
from tunesmith.server.database import Database, metrics_file, safe_journal
from tunesmith.server.errors import DatabaseRefused, DatabaseUnavailable
from tunesmith.server.tables import Project


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "delete"),
        ((3, 44, 5), "delete"),
        ((3, 44, 6), "wal"),
        ((3, 45, 0), "delete"),
        ((3, 50, 6), "delete"),
        ((3, 50, 7), "wal"),
        ((3, 51, 0), "delete"),
        ((3, 51, 2), "delete"),
        ((3, 51, 3), "wal"),
        ((3, 52, 0), "wal"),
    ],
)
def test_the_wal_is_used_only_where_sqlite_does_not_corrupt_it(
    version: tuple[int, int, int], mode: str
) -> None:
    assert safe_journal(version) == mode


def test_sqlite_keeps_its_promises_on_every_connection(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a b 中文' / 'x.db'}")
    expected = {
        "foreign_keys": 1,
        "main.synchronous": 2,  # FULL
        "metrics.synchronous": 1,  # NORMAL
        "main.journal_mode": safe_journal(sqlite3.sqlite_version_info),
        "busy_timeout": 10_000,
    }
    with database.read() as first, database.read() as second:
        for session in (first, second):
            found = {name: session.scalar(text(f"PRAGMA {name}")) for name in expected}
            assert found == expected
    database.close()
    assert Path(metrics_file(str(tmp_path / "a b 中文" / "x.db"))).is_file()


@pytest.mark.parametrize(
    "url", ["", "x", "mysql://h/x", "sqlite://", "sqlite:///:memory:", "oracle://u:secret@h"]
)
def test_an_address_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(DatabaseRefused) as found:
        Database(url)
    assert "secret" not in str(found.value)
    assert "sqlite:///FILE" in found.value.hint


def test_a_block_that_fails_leaves_nothing(world: Any) -> None:
    def fails() -> None:
        with world.database.write() as session:
            session.add(Project(id="p", name="p", created_at=world.clock.now))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert [project.id for project in world.all(Project)] == ["proj-a"]


def test_a_lock_that_stays_is_an_error_that_says_to_try_again(url: str) -> None:
    holder, other = Database(url), Database(url, timeout=0.3)
    with holder.write() as session:
        session.execute(text("UPDATE lease_clock SET seconds = 1"))
        with pytest.raises(DatabaseUnavailable) as found, other.write() as second:
            second.execute(text("UPDATE lease_clock SET seconds = 2"))
    assert found.value.details["retry_after"] > 0
    with other.write() as session:  # and afterwards it works
        session.execute(text("UPDATE lease_clock SET seconds = 3"))
    holder.close()
    other.close()


def test_a_pool_without_a_free_connection_is_an_error_that_says_to_try_again(url: str) -> None:
    database = Database(url, timeout=0.2)
    sessions: list[Session] = []

    def take_all() -> None:
        with ExitStack() as stack:
            while len(sessions) < 30:
                sessions.append(stack.enter_context(database.read()))
                sessions[-1].execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        take_all()
    assert 10 <= len(sessions) < 30
    database.close()


def test_a_server_that_is_not_there_is_an_error_that_says_to_try_again() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none", timeout=1)
    with pytest.raises(DatabaseUnavailable), database.read() as session:
        session.execute(text("SELECT 1"))


def test_a_read_only_file_can_be_read_and_says_why_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Database(f"sqlite:///{tmp_path / 'x.db'}").close()
    with sqlite3.connect(tmp_path / "x.db") as made:
        made.execute("CREATE TABLE t (x)")
    made.close()
    database = Database(f"sqlite:///file:{tmp_path / 'x.db'}?mode=ro&uri=true")
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM t")) == 0
    with pytest.raises(StorageRefused), database.write() as session:
        session.execute(text("INSERT INTO t VALUES (1)"))
    database.close()
    assert not Path("file:").exists()  # the address is no relative path


def test_a_file_address_is_made_where_it_says_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a folder" / "x.db"
    Database(f"sqlite:///file:{str(file).replace(' ', '%20')}?uri=true").close()
    assert file.parent.is_dir()
    for wrong in (f"file:{file}", f"file://{file}", f"file:{file}?mode=memory&uri=true"):
        with pytest.raises(DatabaseRefused) as refused:
            Database(f"sqlite:///{wrong}")
        assert refused.value.code == "bad_database_url"
    assert not Path("file:").exists()


def test_what_is_not_finite_is_stored_as_null(world: Any) -> None:
    claimed = world.running()
    event = {"attempt": 1, "seq": 2, "type": "evaluation", "loss": math.nan, "worst": [math.inf]}
    claims.record(world.database, claimed, [event])
    last = world.jobs.events(claimed.job_id)[-1]
    assert last.data == {"loss": None, "worst": [None]}


def test_the_database_tells_the_time_in_utc(url: str) -> None:
    database = Database(url)
    with database.write() as session:
        first = clock.tick(session)
    with database.read() as session:
        second = clock.read(session)
    assert first.wall.utcoffset() == timedelta(0)
    assert first.wall <= second.wall <= first.wall + timedelta(seconds=10)
    assert second.lease >= first.lease
    database.close()


def test_the_lease_clock_never_jumps(world: Any) -> None:
    def read() -> float:
        with world.database.write() as session:
            return clock.tick(session).lease

    before = read()
    world.clock.now += timedelta(days=1)
    assert read() - before <= clock.LONGEST_TICK
    at_noon = read()
    world.clock.now -= timedelta(days=2)
    assert read() == at_noon
    world.clock.now += timedelta(seconds=3)
    assert read() == at_noon + 3


def test_a_thread_that_waits_too_long_for_its_turn_is_told(url: str) -> None:
    database = Database(url, timeout=0.2)
    if database.is_sqlite:
        with (
            database.write(),
            ThreadPoolExecutor(1) as other,
            pytest.raises(DatabaseUnavailable, match="nothing was changed"),
        ):
            other.submit(database.write().__enter__).result()
        with database.write() as session:  # the next one gets it
            assert session.scalar(text("SELECT seconds FROM lease_clock")) is not None
    database.close()


def test_threads_write_one_after_the_other(url: str) -> None:
    database = Database(url)

    def add() -> None:
        for _ in range(10):
            with database.write() as session:
                seconds = session.scalar(
                    text("UPDATE lease_clock SET seconds = seconds + 1 RETURNING seconds")
                )
                assert seconds is not None

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.scalar(text("SELECT seconds FROM lease_clock")) == 40
    database.close()
