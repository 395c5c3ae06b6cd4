"""Models of GitHub, from a real HTTP server that speaks the part of its interface that is used."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from tunesmith.errors import ModelError
from tunesmith.server import github
from tunesmith.server.github import Github, is_github_name
from tunesmith.server.outgoing import AddressNotAllowed
from tunesmith.server.settings import Settings
from tunesmith.starter import starter_directory

COMMIT = "c0ffee" + "0" * 34
WEIGHTS = "model.safetensors"


@dataclass
class Repository:
    """What it has, what was asked of it, and how it misbehaves."""

    files: dict[str, bytes]
    has_release: bool = True
    leads_to: str = ""  # where assets redirect
    most_bytes: int | None = None  # of one answer: then the connection breaks
    damaged: str = ""
    status: int = 200
    asked: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Handler(BaseHTTPRequestHandler):
    repository: Repository

    def do_GET(self) -> None:
        own, path = self.repository, urlsplit(self.path).path
        bearer = self.headers.get("authorization", "")
        own.asked.append((path, self.headers.get("range", ""), bearer))
        name = path.rpartition("/")[2]
        if own.status != 200:
            self._send(b"{}", own.status, {})
        elif path == "/repos/someone/tiny/commits/v1":
            self._json({"sha": COMMIT})
        elif path == "/repos/someone/tiny/releases/tags/v1" and own.has_release:
            self._json({"assets": [self._asset(n, c) for n, c in own.files.items()]})
        elif path in ("/repos/someone/tiny/contents/", "/repos/someone/tiny/contents/in/folder"):
            self._json([self._entry(n, c) for n, c in own.files.items()])
        elif path.startswith("/download/") and own.leads_to:
            self._send(b"", 302, {"Location": own.leads_to + name})
        elif path.startswith(("/download/", "/raw/", "/stored/")):
            content = own.files[name]
            self._file(content if name != own.damaged else b"x" * len(content))
        else:
            self._send(b"{}", 404, {})

    def _asset(self, name: str, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        url = f"{self.repository.address}/download/{name}"
        return {"name": name, "size": len(content), "browser_download_url": url, "digest": digest}

    def _entry(self, name: str, content: bytes) -> dict[str, Any]:
        sha = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        url = f"{self.repository.address}/raw/{COMMIT}/{name}"
        told = {"name": name, "size": len(content), "sha": sha}
        return {**told, "type": "file", "download_url": url}

    def _file(self, content: bytes) -> None:
        first, _, last = self.headers["range"].removeprefix("bytes=").partition("-")
        self._send(content[int(first) : int(last) + 1], 206, {})

    def _json(self, content: Any) -> None:
        self._send(json.dumps(content).encode(), 200, {"Content-Type": "application/json"})

    def _send(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        most = self.repository.most_bytes
        self.wfile.write(body[:most])
        if most is not None and len(body) > most:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def repository() -> Iterator[Repository]:
    files = {path.name: path.read_bytes() for path in starter_directory().iterdir()}
    repository = Repository(files | {"train.py": b"code", "model.onnx": b"x"})
    handler = type("Bound", (Handler,), {"repository": repository})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    repository.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield repository
    server.shutdown()
    server.server_close()
    thread.join()


def client(repository: Repository, **settings: Any) -> Github:
    given: dict[str, Any] = {"allowed_networks": ["127.0.0.0/8"], "github_api": repository.address}
    return Github(Settings(**given | settings))


def bring(
    repository: Repository, target: Path, name: str = "someone/tiny", **settings: Any
) -> list[tuple[int, int]]:
    """Fetch all of it; what was told on the way."""
    told: list[tuple[int, int]] = []
    source = client(repository, **settings)
    model = source.ask(name, "v1")
    source.fetch(model, target, lambda done, total: told.append((done, total)))
    assert model.commit == COMMIT
    return told


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_assets_of_a_release_come_without_code(repository: Repository, tmp_path: Path) -> None:
    """A4"""
    told = bring(repository, tmp_path / "m")
    assert names(tmp_path / "m") == names(starter_directory())
    assert (tmp_path / "m" / WEIGHTS).read_bytes() == repository.files[WEIGHTS]
    assert told == sorted(told)
    assert (
        told[-1][0] == told[-1][1] == sum(len(repository.files[n]) for n in names(tmp_path / "m"))
    )
    assert not [path for path, _, _ in repository.asked if path.startswith("/raw/")]


@pytest.mark.parametrize("name", ["someone/tiny", "someone/tiny/in/folder"])
def test_without_a_release_the_files_at_the_tag_come(
    repository: Repository, tmp_path: Path, name: str
) -> None:
    repository.has_release = False
    bring(repository, tmp_path / "m", name)
    assert names(tmp_path / "m") == names(starter_directory())


def test_what_could_not_be_asked_for_is_named(repository: Repository, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        repository.port = free.getsockname()[1]
        with pytest.raises(ModelError, match="so someone/tiny did not come") as found:
            bring(repository, tmp_path / "m")
    assert found.value.code == "github_unreachable"


def test_a_download_that_was_cut_goes_on_where_it_stopped(
    repository: Repository, tmp_path: Path
) -> None:
    size = len(repository.files[WEIGHTS])
    repository.most_bytes = size * 2 // 3
    with pytest.raises(ModelError) as cut:
        bring(repository, tmp_path / "m")
    assert cut.value.code == "github_unreachable"
    kept = (tmp_path / "m" / f"{WEIGHTS}.part").stat().st_size
    assert kept > 0
    repository.most_bytes = None
    repository.asked.clear()
    bring(repository, tmp_path / "m")
    ranges = [wanted for path, wanted, _ in repository.asked if path.endswith(WEIGHTS)]
    assert ranges[0] == f"bytes={kept}-{size - 1}"
    assert (tmp_path / "m" / WEIGHTS).read_bytes() == repository.files[WEIGHTS]


def test_large_files_come_in_pieces(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github, "_PIECE", 1 << 20)
    bring(repository, tmp_path / "m")
    ranges = [wanted for path, wanted, _ in repository.asked if path.endswith(WEIGHTS)]
    assert len(ranges) == -(-len(repository.files[WEIGHTS]) // (1 << 20)) > 1
    assert (tmp_path / "m" / WEIGHTS).read_bytes() == repository.files[WEIGHTS]


def test_a_pointer_of_git_lfs_is_refused_with_what_to_do(
    repository: Repository, tmp_path: Path
) -> None:
    repository.has_release = False
    repository.files[WEIGHTS] = (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9000000\n"
    )
    with pytest.raises(ModelError, match="pointer of Git LFS") as refused:
        bring(repository, tmp_path / "m")
    assert refused.value.code == "model_is_lfs_pointer"
    assert "git lfs pull" in refused.value.hint
    assert WEIGHTS not in names(tmp_path / "m")


@pytest.mark.parametrize("has_release", [True, False])
def test_a_damaged_file_is_removed(
    repository: Repository, tmp_path: Path, has_release: bool
) -> None:
    repository.has_release, repository.damaged = has_release, "config.json"
    with pytest.raises(ModelError, match="arrived damaged") as damaged:
        bring(repository, tmp_path / "m")
    assert damaged.value.code == "download_damaged"
    assert not list((tmp_path / "m").glob("config.json*"))


@pytest.mark.parametrize(
    "place", ["https://example.com/", "http://github.com/", "http://169.254.169.254/", "file:///"]
)
def test_redirects_lead_to_hosts_of_github_only(
    repository: Repository, tmp_path: Path, place: str
) -> None:
    """FAULTS 24"""
    repository.leads_to = place
    with pytest.raises(AddressNotAllowed):
        bring(repository, tmp_path / "m")


def test_a_redirect_within_is_followed_and_the_token_goes_to_the_api(
    repository: Repository, tmp_path: Path
) -> None:
    repository.leads_to = f"{repository.address}/stored/"
    bring(repository, tmp_path / "m", github_token=SecretStr("ghp_secret"))
    assert {path for path, _, _ in repository.asked if path.startswith("/stored/")}
    assert {bearer for _, _, bearer in repository.asked} == {"Bearer ghp_secret"}


def test_an_address_inside_is_not_called(repository: Repository) -> None:
    """FAULTS 24: the API itself, too, unless an administrator allows its network."""
    with pytest.raises(AddressNotAllowed):
        client(repository, allowed_networks=[]).ask("someone/tiny", "v1")
    assert repository.asked == []


def test_what_is_not_there_or_no_model_is_told_before_a_download(repository: Repository) -> None:
    source = client(repository)
    with pytest.raises(ModelError) as missing:
        source.ask("someone/tiny", "v2")
    assert missing.value.code == "github_not_found"
    del repository.files["config.json"]
    with pytest.raises(ModelError) as without:
        source.ask("someone/tiny", "v1")
    assert without.value.code == "github_without_model"
    repository.files["pytorch_model.bin"] = repository.files.pop(WEIGHTS)
    with pytest.raises(ModelError) as pickled:
        source.ask("someone/tiny", "v1")
    assert pickled.value.code == "model_is_pickle"
    repository.status = 403
    with pytest.raises(ModelError) as limited:
        source.ask("someone/tiny", "v1")
    assert limited.value.code == "github_refused"
    assert limited.value.details["status"] == 403
    assert not [path for path, _, _ in repository.asked if path.startswith(("/download", "/raw"))]


def test_names_are_repositories_and_never_ways_out_of_one() -> None:
    for name in ("someone/tiny", "some-one/tiny.v2/models/a", "a/b_c"):
        assert is_github_name(name)
    for name in ("tiny", "a/..", "a/b/../c", "/a/b", "a//b", "https://github.com/a/b", "a/b?c", ""):
        assert not is_github_name(name)
