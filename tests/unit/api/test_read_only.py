"""FAULTS 27: a data directory turns read-only. Reading works, a change is refused in words."""

from __future__ import annotations

from pathlib import Path

from tests.mounts import read_only
from tests.unit.api.conftest import Server


def test_reading_works_and_a_change_is_refused_in_words(server: Server, data_dir: Path) -> None:
    watch = server.platform.storage
    with read_only(data_dir):
        watch.read_only_since()
        health = server.client("nobody").get("/api/v1/health").json()
        assert health["status"] == "read_only"
        assert health["read_only_since"]
        assert server.member.get("/api/v1/me").status_code == 200
        assert server.member.get("/api/v1/jobs").status_code == 200
        refused = server.admin.post("/api/v1/projects", json={"name": "new"})
        assert refused.status_code == 503
        assert "read-only" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"]
        server.platform.database.engine.dispose()  # its files were opened below the mount
    watch.read_only_since()
    assert server.client("nobody").get("/api/v1/health").json()["status"] == "ok"
    assert server.admin.post("/api/v1/projects", json={"name": "new"}).status_code == 201
