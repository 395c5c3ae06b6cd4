"""Downloads from a hub that runs in the test: what is fetched, what is not, and what fails."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tunesmith.models.files import check_model_files

TinyModel = Callable[[str], Path]
COMMIT = "c0ffee" + "0" * 34

# Downloads in a process of its own: the hub client reads its settings when it is imported.
SCRIPT = """
import json, sys
from tunesmith.engine import model_sources
from tunesmith.models import hubs
from tunesmith.errors import TunesmithError
hubs.HUB_ANSWER_SECONDS = 1.0
told = []
try:
    found = model_sources.resolve_name(sys.argv[1], on_progress=lambda *now: told.append(now))
    print(json.dumps({"found": str(found), "progress": told}))
except TunesmithError as error:
    print(json.dumps(error.to_dict()))
"""


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's interface that a download needs."""

    files: dict[str, bytes]
    asked: list[str]
    silent = threading.Event()
    is_silent = False

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        type(self).asked.append(path)
        if self.is_silent:
            self.silent.wait(30)
        if path == "/api/models/someone/tiny/revision/main":
            self._json({"id": "someone/tiny", "sha": COMMIT, "siblings": [], "private": False})
        elif path == f"/api/models/someone/tiny/tree/{COMMIT}":
            self._json(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}
                    for name, content in self.files.items()
                ]
            )
        elif path.startswith(f"/someone/tiny/resolve/{COMMIT}/"):
            self._file(self.files[path.rpartition("/")[2]])
        elif path == "/api/models/someone/gated/revision/main":
            self._json({}, 403, {"X-Error-Code": "GatedRepo"})
        else:
            self._json({"error": "none"}, 404, {"X-Error-Code": "RepoNotFound"})

    def _json(self, content: Any, status: int = 200, more: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, more or {})

    def _file(self, content: bytes) -> None:
        headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        self._send(content, 200, headers)

    def _send(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def hub(tiny_model_dir: TinyModel) -> Iterator[str]:
    files = {file.name: file.read_bytes() for file in tiny_model_dir("llama").iterdir()}
    Hub.files = {**files, "pytorch_model.bin": b"pickle", "modeling.py": b"code", "README.md": b"#"}
    Hub.asked, Hub.is_silent = [], False
    Hub.silent.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Hub.silent.set()
    server.shutdown()
    server.server_close()
    thread.join()


def download(name: str, hub: str, cache: Path, **settings: str) -> dict[str, Any]:
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("HF_") and not key.lower().endswith("_proxy")
    }
    environment |= {"HF_ENDPOINT": hub, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name],
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_download_takes_weights_and_settings_but_no_code(hub: str, tmp_path: Path) -> None:
    result = download("someone/tiny", hub, tmp_path)
    folder = Path(result["found"])
    assert folder.name == COMMIT
    assert {file.name for file in folder.iterdir()} == {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert not any(path.endswith((".bin", ".py")) for path in Hub.asked)
    assert check_model_files(folder).num_tensors == 20
    done, total, unit = result["progress"][-1]
    assert unit == "bytes"
    assert 0 < done == total


def test_what_was_downloaded_works_without_the_hub(hub: str, tmp_path: Path) -> None:
    """FAULTS 32: local models work while the hub is offline."""
    first = download("someone/tiny", hub, tmp_path)
    assert download("someone/tiny", hub, tmp_path, HF_HUB_OFFLINE="1")["found"] == first["found"]
    closed = download("someone/tiny", "http://127.0.0.1:9", tmp_path)
    assert closed["found"] == first["found"]


def test_a_hub_that_swallows_packets_does_not_hang_the_run(hub: str, tmp_path: Path) -> None:
    """FAULTS 32: a download fails fast."""
    Hub.is_silent = True
    assert download("someone/tiny", hub, tmp_path)["code"] == "hub_unreachable"


def test_a_model_that_the_hub_does_not_have_is_named(hub: str, tmp_path: Path) -> None:
    error = download("someone/absent", hub, tmp_path)
    assert error["code"] == "model_not_found"
    assert "There is no folder someone/absent here" in error["message"]
    assert "the hub has no model of that name" in error["message"]


def test_a_gated_model_says_how_to_get_access(hub: str, tmp_path: Path) -> None:
    error = download("someone/gated", hub, tmp_path)
    assert error["code"] == "model_gated"
    assert "HF_TOKEN" in error["hint"]
