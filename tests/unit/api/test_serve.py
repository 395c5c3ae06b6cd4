"""`tunesmith serve` as a process: what it loads, and its worker, which comes back and goes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import httpx
import psutil
import pytest

Found = TypeVar("Found")
HEAVY = {
    *("torch", "transformers", "peft", "numpy", "pyarrow", "matplotlib", "tokenizers", "jinja2"),
    *("alembic", "apprise", "authlib"),
}


def until(look: Callable[[], Found | None], seconds: float = 60) -> Found:
    """What `look` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


class Serve:
    """A server on a free port."""

    def __init__(self, folder: Path, *arguments: str, python: tuple[str, ...] = ()) -> None:
        """`python`: options of the interpreter."""
        self.log = folder / "serve.log"
        environment = os.environ | {
            "TUNESMITH_DATA_DIR": str(folder / "data"),
            "TUNESMITH_WARM_ENGINE": "false",
            "TUNESMITH_WORKER_NAME": "tested",
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *python, "-m", "tunesmith.api", "--port", "0", *arguments],
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def port(self) -> int:
        found = until(lambda: re.search(r"listens on http://127.0.0.1:(\d+)", self.text()))
        return int(found[1])

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def registered(self, times: int = 1) -> bool:
        return len(re.findall(r"worker tested \(wk-", self.text())) >= times

    def worker(self) -> psutil.Process | None:
        children = psutil.Process(self.process.pid).children()
        return next((c for c in children if "tunesmith.server" in " ".join(c.cmdline())), None)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    server = Serve(tmp_path)
    yield server
    server.process.kill()
    server.process.wait()


@pytest.mark.usefixtures("data_dir")
def test_nothing_that_only_some_requests_need_is_loaded_at_the_first_answer(tmp_path: Path) -> None:
    """Python itself tells each module that the process imports, on a database that is migrated."""
    server = Serve(tmp_path, "--no-worker", python=("-X", "importtime"))
    try:
        answer = httpx.get(f"http://127.0.0.1:{server.port()}/api/v1/health", timeout=60)
        assert answer.status_code == 200
        loaded = set(re.findall(r"^import time:.*\| +([\w.]+)$", server.text(), re.MULTILINE))
        assert {"fastapi", "sqlalchemy.orm", "tunesmith.api.app"} <= loaded
        assert not loaded & HEAVY
        assert server.end() == 0
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.usefixtures("data_dir")
def test_the_first_requests_of_all_may_come_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models of bodies are built when they are first used, by whichever thread comes first."""
    monkeypatch.setenv("TUNESMITH_ADMIN_TOKEN", token := "tsk-the-first-of-all-administrators")
    server = Serve(tmp_path, "--no-worker")
    try:
        asking = httpx.Client(
            base_url=f"http://127.0.0.1:{server.port()}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )
        with asking, ThreadPoolExecutor(12) as clients:
            made = clients.map(
                lambda n: asking.post("/projects", json={"name": f"project {n}"}), range(12)
            )
            assert {(each.status_code, each.json()["name"]) for each in made} == {
                (201, f"project {n}") for n in range(12)
            }
        assert server.end() == 0
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.slow
def test_a_worker_that_dies_is_started_again_and_ends_with_the_server(serve: Serve) -> None:
    """FAULTS 7, on one machine."""
    until(serve.registered)
    first = until(serve.worker)
    first.kill()
    until(lambda: serve.registered(2))
    assert f"The worker (process {first.pid}) ended with code -9; another starts" in serve.text()
    second = until(serve.worker)
    assert second.pid != first.pid
    assert serve.end() == 0
    until(lambda: not second.is_running())


@pytest.mark.slow
def test_a_server_that_is_killed_takes_its_worker_along_and_the_next_one_has_its_own(
    serve: Serve, tmp_path: Path
) -> None:
    """FAULTS 10"""
    until(serve.registered)
    orphan = until(serve.worker)
    serve.process.kill()
    serve.process.wait()
    again = Serve(tmp_path)
    try:
        until(again.registered)
        assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
        assert again.worker() is not None
        assert again.end() == 0
    finally:
        again.process.kill()
        again.process.wait()


@pytest.mark.slow
def test_a_port_that_is_taken_is_told_with_what_to_do(serve: Serve, tmp_path: Path) -> None:
    port = serve.port()
    (tmp_path / "other").mkdir()
    other = Serve(tmp_path / "other", "--port", str(port), "--no-worker")
    assert other.process.wait(60) == 2
    assert f"127.0.0.1:{port} cannot be listened on" in other.text()
    assert "--port 0 takes a free one" in other.text()
    assert "Traceback" not in other.text()
