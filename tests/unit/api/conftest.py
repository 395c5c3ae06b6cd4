"""The real application on a real database, with a client for each kind of caller.

`server` runs on SQLite, `server_on_both` on PostgreSQL too where TUNESMITH_TEST_POSTGRES is set.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from tests.unit.server.conftest import POSTGRES, postgres_database

from tunesmith.api.app import create_app
from tunesmith.server import tasks
from tunesmith.server.datadir import prepare
from tunesmith.server.migrations.upgrade import migrate
from tunesmith.server.platform import Platform, build_platform
from tunesmith.server.settings import Settings
from tunesmith.server.task_runner import perform

ADMIN_TOKEN = "tsk-admin-of-the-tests-of-the-api"


@dataclass
class Server:
    """An installation with two projects: `ours`, and `theirs` that only a foreigner is in."""

    platform: Platform
    app: FastAPI
    project: str = ""
    their_project: str = ""
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    users: dict[str, str] = field(default_factory=dict[str, str])

    def client(self, who: str = "member") -> TestClient:
        """A client for admin, manager (admin of the project), member, viewer, foreigner, nobody."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who != "nobody" else {}
        return TestClient(
            self.app, base_url="http://localhost", headers=headers, raise_server_exceptions=False
        )

    @property
    def admin(self) -> TestClient:
        return self.client("admin")

    @property
    def member(self) -> TestClient:
        return self.client("member")

    @property
    def viewer(self) -> TestClient:
        return self.client("viewer")

    @property
    def foreigner(self) -> TestClient:
        return self.client("foreigner")

    def finish_tasks(self) -> int:
        """Do all background tasks that wait, here and now; how many they were."""
        done = 0
        while (claimed := tasks.claim(self.platform.database)) is not None:
            perform(self.platform, claimed)
            done += 1
        return done

    def token(self, who: str, **changes: Any) -> str:
        """Another token of a user, made over the API."""
        body = {"name": "extra", "scopes": ["read", "write"]} | changes
        answer = self.client(who).post("/api/v1/tokens", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["secret"]


@contextmanager
def serving(settings: Settings) -> Generator[Server]:
    """The application with its people; the database is migrated."""
    with application(settings) as server:
        server.platform.people.first_start(ADMIN_TOKEN)
        _populate(server)
        yield server


@contextmanager
def application(settings: Settings) -> Generator[Server]:
    """The application on whatever its database holds."""
    prepare(settings.data_dir)
    platform = build_platform(settings)
    try:
        yield Server(platform, create_app(platform), tokens={"admin": ADMIN_TOKEN})
    finally:
        platform.close()


def _populate(server: Server) -> None:
    admin = server.admin
    server.users["admin"] = admin.get("/api/v1/me").json()["user"]["id"]
    server.project = admin.get("/api/v1/projects").json()["data"][0]["id"]
    made = admin.post("/api/v1/projects", json={"name": "theirs"})
    assert made.status_code == 201, made.text
    server.their_project = made.json()["id"]
    for who, role in (("manager", "admin"), ("member", "member"), ("viewer", "viewer")):
        _add_user(server, who, server.project, role)
    _add_user(server, "foreigner", server.their_project, "admin")


def _add_user(server: Server, name: str, project: str, role: str) -> None:
    made = server.admin.post("/api/v1/users", json={"name": name, "project_ids": []})
    assert made.status_code == 201, made.text
    server.users[name] = user = made.json()["id"]
    path = f"/api/v1/projects/{project}/members/{user}"
    assert server.admin.put(path, json={"role": role}).status_code == 200
    _, secret, _ = server.platform.people.open_session(user)
    server.tokens[name] = secret


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a migrated database to copy."""
    folder = tmp_path_factory.mktemp("installation")
    migrate(f"sqlite:///{folder / 'tunesmith.db'}")
    return folder


@pytest.fixture
def data_dir(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of its own, which all code finds under TUNESMITH_DATA_DIR."""
    folder = tmp_path / "data"
    shutil.copytree(migrated, folder)
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    return Settings.load(data_dir=data_dir, rate_limit=0, deployment_wait_seconds=0.2)


@pytest.fixture(scope="session")
def populated(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Server]:
    """A data directory whose people are there, to copy, and who they are."""
    folder = tmp_path_factory.mktemp("populated") / "data"
    shutil.copytree(migrated, folder)
    with serving(Settings.load(data_dir=folder, rate_limit=0)) as running:
        return folder, running


@pytest.fixture
def server(settings: Settings, populated: tuple[Path, Server]) -> Iterator[Server]:
    folder, known = populated
    shutil.copytree(folder, settings.data_dir, dirs_exist_ok=True)
    with application(settings) as made:
        people = {"tokens": dict(known.tokens), "users": dict(known.users)}
        yield replace(made, project=known.project, their_project=known.their_project, **people)


@pytest.fixture(params=["sqlite", "postgresql"])
def server_on_both(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Server]:
    if request.param == "sqlite":
        with serving(settings) as running:
            yield running
        return
    if not POSTGRES:
        pytest.skip("TUNESMITH_TEST_POSTGRES is not set")
    with postgres_database() as url:
        migrate(url)
        changed = Settings.load(data_dir=settings.data_dir, rate_limit=0, database_url=url)
        with serving(changed) as running:
            yield running
