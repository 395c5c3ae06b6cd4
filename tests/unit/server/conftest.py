"""A real database for each test: SQLite in a file always, PostgreSQL where a server is named.

TUNESMITH_TEST_POSTGRES is the address of a server on which the tests make and drop databases of
their own; `tools/postgres.sh` starts one.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, delete, make_url, select, text, update

from tunesmith.server import claims, clock, sweep, workers
from tunesmith.server.claims import Claim, Result
from tunesmith.server.database import Database
from tunesmith.server.migrations.upgrade import migrate, upgrade
from tunesmith.server.queue import NewJob, Queue, Submitted, body_hash
from tunesmith.server.quotas import Limits
from tunesmith.server.tables import Base, Job, LeaseClock, Project, User
from tunesmith.server.workers import DeviceInfo

POSTGRES = os.environ.get("TUNESMITH_TEST_POSTGRES", "")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODEL = Result("ft:starter:org::00000000", "adapter", bytes=10)


@dataclass
class Clock:
    """The database's time in a test."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@dataclass
class World:
    """A database with a user, a project and whatever a test adds."""

    database: Database
    clock: Clock
    limits: Limits = field(default_factory=Limits)
    user: str = "user-a"
    project: str = "proj-a"

    @property
    def jobs(self) -> Queue:
        return Queue(self.database, self.limits)

    def reset(self) -> None:
        """Empty, as new."""
        self.clock.now = START
        with self.database.write() as session:
            session.execute(update(Job).values(parent_id=None))
            for table in reversed(Base.metadata.sorted_tables):
                if table.name != "lease_clock":
                    session.execute(delete(table))
            session.execute(update(LeaseClock).values(seconds=0.0, wall=START))
        self.add_user(self.user)
        self.add_project(self.project)

    def add_user(self, name: str, **columns: Any) -> str:
        with self.database.write() as session:
            session.add(User(id=name, name=name, created_at=START, **columns))
        return name

    def add_project(self, name: str, weight: float = 1.0) -> str:
        with self.database.write() as session:
            session.add(Project(id=name, name=name, created_at=START, weight=weight))
        return name

    def worker(self, name: str = "gpu-1", num_devices: int = 1) -> str:
        devices = [DeviceInfo(index, "H100") for index in range(num_devices)]
        return workers.register(self.database, name, devices, host=name)

    def submit(self, name: str = "job", **changes: Any) -> Job:
        job, _ = self.jobs.create(self.new(name, **changes), Submitted(body_hash(name)))
        return job

    def new(self, name: str = "job", **changes: Any) -> NewJob:
        fields: dict[str, Any] = {
            "project_id": self.project,
            "user_id": self.user,
            "recipe": {"name": name},
            "base": "starter",
        }
        return NewJob(name=name, **(fields | changes))

    def running(self, name: str = "job", **changes: Any) -> Claim:
        """A job that runs and has made a step."""
        job = self.submit(name, **changes)
        claimed = claims.claim(self.database, self.worker())
        assert claimed is not None
        assert claimed.job_id == job.id
        claims.started(self.database, claimed)
        claims.record(self.database, claimed, [step(claimed.attempt, 1)])
        return claimed

    def job(self, job_id: str) -> Job:
        return self.jobs.get(job_id)

    def wait(self, seconds: float, keep: Iterable[Claim] = ()) -> list[sweep.Change]:
        """Time goes by, with sweeps as often as they must come, and heartbeats for `keep`."""
        changes: list[sweep.Change] = []
        while seconds > 0:
            pause = min(seconds, clock.LONGEST_TICK)
            seconds -= pause
            self.clock.now += timedelta(seconds=pause)
            for claimed in keep:
                claims.renew(self.database, claimed.worker_id, [claimed])
            changes += sweep.sweep(self.database)
        return changes

    def all(self, table: type[Any]) -> list[Any]:
        with self.database.read() as session:
            return list(session.scalars(select(table)))


def step(attempt: int, seq: int, **fields: Any) -> dict[str, Any]:
    event = {"run": "r", "attempt": attempt, "seq": seq, "type": "step", "time": "t"}
    return event | {"step": seq, "total_steps": 100, "loss": 1.0 / seq, **fields}


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy."""
    folder = tmp_path_factory.mktemp("template")
    migrate(f"sqlite:///{folder / 'tunesmith.db'}")
    return folder


@pytest.fixture(scope="session")
def postgres_template() -> Generator[str]:
    with postgres_database() as url:
        migrate(url)
        yield make_url(url).database or ""


class postgres_database:
    """A database of its own on the server of the tests, dropped at the end."""

    def __init__(self, template: str = "template1") -> None:
        self._name, self._template = f"tunesmith_{uuid.uuid4().hex}", template
        self._server = create_engine(
            make_url(POSTGRES).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
        )

    def __enter__(self) -> str:
        with self._server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {self._name} TEMPLATE {self._template}"))
        return make_url(POSTGRES).set(database=self._name).render_as_string(hide_password=False)

    def __exit__(self, *_: object) -> None:
        with self._server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {self._name} WITH (FORCE)"))
        self._server.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """The address of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'tunesmith.db'}"
        return
    if not POSTGRES:
        pytest.skip("TUNESMITH_TEST_POSTGRES is not set")
    with postgres_database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """The address of a migrated database; it is that of `world` where a test asks for both."""
    kind = "world" if "world" in request.fixturenames else "template"
    if request.param == "sqlite":
        folder = request.getfixturevalue(f"sqlite_{kind}")
        shutil.copytree(folder, tmp_path / "database")
        yield f"sqlite:///{tmp_path / 'database' / 'tunesmith.db'}"
        return
    if not POSTGRES:
        pytest.skip("TUNESMITH_TEST_POSTGRES is not set")
    with postgres_database(request.getfixturevalue(f"postgres_{kind}")) as made:
        yield made


@pytest.fixture(scope="session")
def sqlite_world(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with the first user and project, to copy."""
    folder = tmp_path_factory.mktemp("world") / "database"
    shutil.copytree(sqlite_template, folder)
    _populate(f"sqlite:///{folder / 'tunesmith.db'}")
    return folder


@pytest.fixture(scope="session")
def postgres_world(postgres_template: str) -> Generator[str]:
    with postgres_database(postgres_template) as url:
        _populate(url)
        yield make_url(url).database or ""


def _populate(url: str) -> None:
    injected = Clock()
    database = Database(url, clock=injected)
    upgrade(database)
    World(database, injected).reset()
    database.close()


@pytest.fixture
def world(url: str) -> Generator[World]:
    """A database with one user and one project, whose time the test decides."""
    injected = Clock()
    database = Database(url, clock=injected)
    yield World(database, injected)
    database.close()


@pytest.fixture
def one_step() -> Callable[..., dict[str, Any]]:
    return step


@pytest.fixture
def result() -> Result:
    return MODEL
