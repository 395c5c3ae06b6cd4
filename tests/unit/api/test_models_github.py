"""Imports from GitHub over HTTP, by a real process that talks to a server of the test."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.test_models_hub import work
from tests.unit.server.test_github import COMMIT, Repository, names, repository

from tunesmith.starter import starter_directory

__all__ = ["repository"]  # a fixture


def test_a_model_of_a_release_is_imported(
    server: Server,
    repository: Repository,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A4"""
    monkeypatch.setenv("TUNESMITH_GITHUB_API", repository.address)
    monkeypatch.setenv("TUNESMITH_ALLOWED_NETWORKS", "127.0.0.0/8")
    order = {"source": "github", "name": "someone/tiny", "revision": "v1", "shown_name": "tiny"}
    task_id = server.member.post("/api/v1/models/import", json=order).json()["id"]
    work(server, "http://127.0.0.1:9")
    task = server.member.get(f"/api/v1/tasks/{task_id}").json()
    assert task["state"] == "succeeded", task["error"]
    model = server.member.get("/api/v1/models/tiny").json()
    assert (model["source"], model["details"]["commit"]) == ("github", COMMIT)
    assert model["details"]["revision"] == "v1"
    kept = names(data_dir / "models" / model["id"])
    assert kept == names(starter_directory()) | {"manifest.json"}


@pytest.mark.parametrize("name", ["tiny", "a/../b", "https://github.com/a/b", "-a/b"])
def test_what_is_no_repository_is_refused_at_once(server: Server, name: str) -> None:
    answer = server.member.post("/api/v1/models/import", json={"source": "github", "name": name})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "not_a_github_name")
