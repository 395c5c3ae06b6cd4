"""FAULTS 15 over HTTP: a database that is locked or has stopped. 503, when to return, no loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text
from tests.unit.api.conftest import Server, serving
from tests.unit.server.conftest import POSTGRES, postgres_database
from tests.unit.server.gate import gate

from tunesmith.server.database import Database
from tunesmith.server.migrations.upgrade import migrate
from tunesmith.server.settings import Settings

Away = Callable[[], Any]


@contextmanager
def locked(url: str) -> Generator[None]:
    """Somebody holds the write lock, or everything."""
    holder = Database(url)
    lock = "LOCK TABLE users, projects, tokens, jobs, audit IN ACCESS EXCLUSIVE MODE"
    with holder.write() as session:
        session.execute(text("SELECT 1" if holder.is_sqlite else lock))
        yield
    holder.close()


@pytest.fixture(params=["sqlite locked", "postgresql locked", "postgresql stopped"])
def faulty(
    request: pytest.FixtureRequest, settings: Settings
) -> Generator[tuple[Server, Callable[[], Any]]]:
    """A server, and a block in which its database is away."""
    if request.param == "sqlite locked":
        with serving(_impatient(settings)) as server:
            yield server, lambda: locked(settings.database)
        return
    if not POSTGRES:
        pytest.skip("TUNESMITH_TEST_POSTGRES is not set")
    with postgres_database() as url, gate(url) as door:
        migrate(url)

        @contextmanager
        def stopped() -> Generator[None]:
            door.shut()
            yield
            door.open()

        is_locked = request.param == "postgresql locked"
        with serving(_impatient(settings, database_url=door.url)) as server:
            yield server, (lambda: locked(url)) if is_locked else stopped


def _impatient(settings: Settings, **changes: Any) -> Settings:
    return Settings.load(data_dir=settings.data_dir, rate_limit=0, database_timeout=0.3, **changes)


def test_a_database_that_is_away_is_a_503_that_says_when_to_come_back(
    faulty: tuple[Server, Callable[[], Any]],
) -> None:
    server, away = faulty
    job = {"name": "bot", "base": "starter", "datasets": ["builtin:shop"]}
    key = {"Idempotency-Key": "once"}
    with away():
        began = time.monotonic()
        answer = server.member.post("/api/v1/jobs", json=job, headers=key)
        assert time.monotonic() - began < 20
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        error = answer.json()["error"]
        assert error["code"] == "database_unavailable"
        assert "running jobs go on" in error["message"]
        chinese = server.member.post(
            "/api/v1/jobs", json=job, headers=key | {"Accept-Language": "zh"}
        )
        assert "正在运行的任务不受影响" in chinese.json()["error"]["message"]
        openai = server.member.post("/v1/fine_tuning/jobs", json={"model": "starter"})
        assert openai.status_code in (400, 503)
    made = server.member.post("/api/v1/jobs", json=job, headers=key)
    assert made.status_code == 201, made.text
    listed = server.member.get("/api/v1/jobs").json()["data"]
    assert [each["id"] for each in listed] == [made.json()["id"]]
