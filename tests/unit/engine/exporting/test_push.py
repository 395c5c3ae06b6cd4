"""An export goes up to a hub: the real client, over real HTTP, to a server that keeps what comes.

The server speaks the part of the hub's API that an upload needs: who one is, making a model, which
files are large, the storage of large files by their SHA-256, and the commit.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tunesmith.engine.exporting.command import Order, export
from tunesmith.engine.exporting.errors import ExportFailed, ExportRefused
from tunesmith.engine.exporting.narrator import Narrator

TOKEN = "hf_good"
# The hub's client hands its large files to its own HTTP library in a way that library deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@dataclass
class Hub:
    """What was uploaded; `full` makes it refuse commits."""

    url: str = ""
    made: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    stored: dict[str, bytes] = field(default_factory=dict[str, bytes])
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    full: bool = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._send(401, {"error": "Invalid username or password."})
        elif self.path == "/api/whoami-v2":
            self._send(200, {"type": "user", "name": "me", "auth": {}})
        else:
            self._send(200, {"id": "me/bot", "sha": "0" * 40, "siblings": []})

    def do_PUT(self) -> None:
        content = self._body()
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.stored[oid] = content
        self._send(200, {})

    def do_POST(self) -> None:
        content = self._body()
        if self.path == "/api/repos/create":
            self.hub.made.append(json.loads(content))
            self._send(200, {"url": f"{self.hub.url}/me/bot", "name": "me/bot", "id": "me/bot"})
        elif self.path == "/api/validate-yaml":  # the head of the card
            self._send(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            self._send(
                200, {"files": [self._mode(f["path"]) for f in json.loads(content)["files"]]}
            )
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [self._place(each) for each in json.loads(content)["objects"]]
            self._send(200, {"transfer": "basic", "objects": objects})
        elif "/commit/" in self.path and not self.hub.full:
            self._commit(content)
        else:
            self._send(507, {"error": "No room is left for this model."})

    def _mode(self, path: str) -> dict[str, Any]:
        mode = "lfs" if path.endswith(".safetensors") else "regular"
        return {"path": path, "uploadMode": mode, "shouldIgnore": False}

    def _place(self, wanted: dict[str, Any]) -> dict[str, Any]:
        place = {"href": f"{self.hub.url}/store/{wanted['oid']}"}
        return {"oid": wanted["oid"], "size": wanted["size"], "actions": {"upload": place}}

    def _commit(self, content: bytes) -> None:
        for line in content.splitlines():
            told = json.loads(line)
            value = told["value"]
            if told["key"] == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif told["key"] == "lfsFile":
                self.hub.files[value["path"]] = self.hub.stored[value["oid"]]
        url = f"{self.hub.url}/me/bot/commit/{'1' * 40}"
        self._send(200, {"success": True, "commitOid": "1" * 40, "commitUrl": url})

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _send(self, status: int, told: Any) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Generator[Hub]:
    made = Hub()
    handler = type("Handler", (_Handler,), {"hub": made})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", made.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def pushed(run: Path, out: Path) -> dict[str, Any]:
    wanted = Order(str(run), "merged", out, push="me/bot", parity=False)
    return export(wanted, Narrator(io.StringIO()))


def test_every_file_of_the_export_arrives_as_it_is(make_run: Any, tmp_path: Path, hub: Hub) -> None:
    out = tmp_path / "out"
    assert pushed(make_run("qwen3"), out)["pushed"] == f"{hub.url}/me/bot"
    [made] = hub.made
    assert made["name"] == "bot"
    assert made.get("private") is True or made.get("visibility") == "private"
    here = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert {name: hub.files.get(name) for name in here} == here
    assert any(name.endswith(".safetensors") for name in here)


def test_a_login_that_the_hub_does_not_know_is_refused_before_any_work(
    make_run: Any, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(ExportRefused, match="did not confirm the login"):
        pushed(make_run("qwen3"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert hub.made == []


def test_a_hub_without_room_leaves_the_export_here(make_run: Any, tmp_path: Path, hub: Hub) -> None:
    hub.full = True
    with pytest.raises(ExportFailed, match="The export itself is complete in"):
        pushed(make_run("qwen3"), tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").is_file()
    assert hub.files == {}
