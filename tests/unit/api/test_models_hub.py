"""Imports from a hub that runs in the test: a real HTTP server and a real process of the import."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.datasets import lines

from tunesmith.starter import starter_directory

COMMIT = "c0ffee" + "0" * 34
WEIGHTS = "model.safetensors"
# A process of its own, as the server has: the hub's client reads its settings when it is imported.
WORK = """
from tunesmith.server import tasks
from tunesmith.server.platform import build_platform
from tunesmith.server.settings import Settings
from tunesmith.server.task_runner import perform
platform = build_platform(Settings.load())
while (claimed := tasks.claim(platform.database)) is not None:
    perform(platform, claimed)
platform.close()
"""


@dataclass
class Hub:
    """What the hub has, what it was asked for, and how it misbehaves."""

    files: dict[str, bytes]
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # path, range
    most_bytes: int | None = None  # of one answer: then the connection breaks, and it is down
    is_down: bool = False
    is_gated: bool = False
    port: int = 0


class Handler(BaseHTTPRequestHandler):
    """The part of the hub's interface that a download needs."""

    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append((path, self.headers.get("range", "")))
        if self.hub.is_down:
            self._send(b"{}", 503, {})
        elif self.hub.is_gated:
            self._send(b"{}", 403, {"X-Error-Code": "GatedRepo"})
        elif path.startswith("/api/models/someone/tiny/revision/"):
            siblings = [{"rfilename": n, "size": len(c)} for n, c in self.hub.files.items()]
            self._json({"id": "someone/tiny", "sha": COMMIT, "siblings": siblings})
        elif path.startswith("/api/datasets/someone/rows/revision/"):
            siblings = [{"rfilename": n, "size": len(c)} for n, c in self.hub.files.items()]
            self._json({"id": "someone/rows", "sha": COMMIT, "siblings": siblings})
        elif path.startswith(f"/datasets/someone/rows/resolve/{COMMIT}/"):
            self._file(self.hub.files[path.partition(f"/{COMMIT}/")[2]])
        elif path == f"/api/models/someone/tiny/tree/{COMMIT}":
            rows = [
                {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}
                for name, content in self.hub.files.items()
            ]
            self._json(rows)
        elif path.startswith(f"/someone/tiny/resolve/{COMMIT}/"):
            self._file(self.hub.files[path.rpartition("/")[2]])
        else:
            self._send(b"{}", 404, {"X-Error-Code": "RepoNotFound"})

    def _file(self, content: bytes) -> None:
        wanted = self.headers.get("range", "")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(content[start:], 206 if wanted else 200, headers)

    def _json(self, content: Any) -> None:
        self._send(json.dumps(content).encode(), 200, {"Content-Type": "application/json"})

    def _send(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        most = self.hub.most_bytes
        if self.command == "GET":
            self.wfile.write(body[:most])
            if most is not None and len(body) > most:
                self.hub.is_down = self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def hub() -> Iterator[Hub]:
    files = {path.name: path.read_bytes() for path in starter_directory().iterdir()}
    hub = Hub(files | {"pytorch_model.bin": b"pickle", "modeling.py": b"code", "x.onnx": b"x"})
    handler = type("Bound", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


def import_model(
    server: Server, endpoint: str, name: str = "someone/tiny", **changes: Any
) -> dict[str, Any]:
    """The task of an import once its process has ended."""
    body = {"source": "hub", "name": name} | changes
    answer = server.member.post("/api/v1/models/import", json=body)
    assert answer.status_code == 202, answer.text
    work(server, endpoint)
    return server.member.get(f"/api/v1/tasks/{answer.json()['id']}").json()


def work(server: Server, endpoint: str) -> None:
    """Do what waits, in a process that has this hub."""
    data_dir = server.platform.settings.data_dir
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and not name.lower().endswith("_proxy")
    }
    environment |= {
        "TUNESMITH_DATA_DIR": str(data_dir), "HF_ENDPOINT": endpoint,
        "HF_HOME": str(data_dir / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", WORK], env=environment, check=True, timeout=120)


def test_a_model_of_a_hub_is_imported_without_code_and_pickles(
    server: Server, hub: Hub, data_dir: Path
) -> None:
    """A4"""
    task = import_model(server, f"http://127.0.0.1:{hub.port}")
    assert task["state"] == "succeeded", task["error"]
    model = server.member.get("/api/v1/models/someone/tiny").json()
    assert model["id"] == task["result"]["model_id"]
    assert (model["source"], model["details"]["commit"]) == ("hub", COMMIT)
    folder = data_dir / "models" / model["id"]
    kept = {path.name for path in folder.iterdir()}
    assert kept == {path.name for path in starter_directory().iterdir()} | {"manifest.json"}
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    fetched = {path.rpartition("/")[2] for path, _ in hub.asked if "/resolve/" in path}
    assert not fetched & {"pytorch_model.bin", "modeling.py", "x.onnx"}
    assert not [path for path in (data_dir / "cache" / "downloads").iterdir() if path.is_dir()]


def large_weights(weights: bytes, more: int) -> bytes:
    """The same with one more tensor: the hub's client writes in blocks of 10 MB."""
    size = int.from_bytes(weights[:8], "little")
    header, data = json.loads(weights[8 : 8 + size]), weights[8 + size :]
    end = len(data) + more
    header["more"] = {"dtype": "U8", "shape": [more], "data_offsets": [len(data), end]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data + bytes(more)


def test_a_download_that_was_cut_goes_on_where_it_stopped(server: Server, hub: Hub) -> None:
    """FAULTS 32: the bytes that came are not asked for again, by another import either."""
    hub.files[WEIGHTS] = large_weights(hub.files[WEIGHTS], 16_000_000)
    hub.most_bytes = 15_000_000
    task = import_model(server, f"http://127.0.0.1:{hub.port}")
    assert task["state"] == "failed"
    assert task["error"]["code"] in ("hub_unreachable", "download_failed"), task["error"]
    hub.most_bytes, hub.is_down = None, False
    hub.asked.clear()
    task = import_model(server, f"http://127.0.0.1:{hub.port}")
    assert task["state"] == "succeeded", task["error"]
    wanted = [wanted for path, wanted in hub.asked if path.endswith(WEIGHTS) and wanted]
    assert [int(each.removeprefix("bytes=").partition("-")[0]) > 9_000_000 for each in wanted] == [
        True
    ]


def test_without_a_network_the_import_fails_at_once_and_says_so(server: Server) -> None:
    """FAULTS 32"""
    task = import_model(server, "http://127.0.0.1:9")
    assert (task["state"], task["error"]["code"]) == ("failed", "hub_unreachable")
    assert "Hub not reachable; local models only" in task["error"]["message"]


def test_a_model_of_pickles_is_refused_before_it_is_downloaded(server: Server, hub: Hub) -> None:
    del hub.files[WEIGHTS]
    task = import_model(server, f"http://127.0.0.1:{hub.port}")
    assert task["error"]["code"] == "model_is_pickle"
    assert "pytorch_model.bin of someone/tiny is a pickle" in task["error"]["message"]
    assert not [path for path, _ in hub.asked if "/resolve/" in path]


def test_code_in_the_settings_of_a_hub_is_refused_and_removed(
    server: Server, hub: Hub, data_dir: Path
) -> None:
    config = json.loads(hub.files["config.json"]) | {"auto_map": {"AutoModel": "modeling.M"}}
    hub.files["config.json"] = json.dumps(config).encode()
    task = import_model(server, f"http://127.0.0.1:{hub.port}")
    assert task["error"]["code"] == "model_has_code"
    assert not list((data_dir / "models").iterdir())
    assert not list((data_dir / "cache" / "downloads").glob("*/*"))


def test_gated_and_unknown_models_say_what_to_do(server: Server, hub: Hub) -> None:
    endpoint = f"http://127.0.0.1:{hub.port}"
    assert import_model(server, endpoint, "someone/none")["error"]["code"] == "model_not_found"
    hub.is_gated = True
    assert import_model(server, endpoint)["error"]["code"] == "model_gated"


def fetch_dataset(server: Server, hub: Hub, **body: Any) -> dict[str, Any]:
    """The task of a dataset that is fetched from the hub."""
    body = {"hub_id": "someone/rows"} | body
    answer = server.member.post("/api/v1/datasets/import-hub", json=body)
    assert answer.status_code == 202, answer.text
    work(server, f"http://127.0.0.1:{hub.port}")
    return server.member.get(f"/api/v1/tasks/{answer.json()['task']['id']}").json()


def test_a_dataset_of_a_hub_is_fetched_without_its_script(
    server: Server, hub: Hub, data_dir: Path
) -> None:
    hub.files = {
        "data/train-0.jsonl": lines(6),
        "data/train-1.jsonl": lines(4, 50),
        "data/test-0.jsonl": lines(9, 90),
        "rows.py": b"print('loaded')",
        "README.md": b"# rows",
        "dataset_infos.json": b"{}",
    }
    task = fetch_dataset(server, hub)
    assert task["state"] == "succeeded", task["error"]
    assert task["result"]["rows"] == 10
    assert task["result"]["name"] == "rows"
    fetched = {path.rpartition("/")[2] for path, _ in hub.asked if "/resolve/" in path}
    assert fetched == {"train-0.jsonl", "train-1.jsonl"}
    held_out = fetch_dataset(server, hub, name="held-out", files=["data/test-*"])
    assert held_out["result"]["rows"] == 9
    version = server.viewer.get(f"/api/v1/datasets/{task['result']['dataset_id']}/versions/1")
    assert version.json()["sources"][0]["file"] == "data_train-0.jsonl"
    assert version.json()["note"] == "someone/rows of Hugging Face"
    assert list((data_dir / "cache" / "unpacked").iterdir()) == []


def test_a_dataset_that_does_not_come_leaves_nothing(server: Server, hub: Hub) -> None:
    hub.files = {"rows.py": b"print('loaded')"}
    assert fetch_dataset(server, hub)["error"]["code"] == "hub_dataset_without_data"
    missing = fetch_dataset(server, hub, hub_id="someone/other")
    assert missing["error"]["code"] == "hub_dataset_not_found"
    hub.is_down = True
    assert fetch_dataset(server, hub)["error"]["code"] == "hub_dataset_not_found"
    assert server.viewer.get("/api/v1/datasets").json()["data"] == []
    for hub_id in ("../../etc", "https://example.com/x", "a/b/c", "-x/y", ""):
        answer = server.member.post(
            "/api/v1/datasets/import-hub", json={"hub_id": hub_id, "name": "x"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "not_a_hub_id")
