"""Serving processes that live and say nothing: none keeps a deployment waiting for ever."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.unit.server.conftest import World

from tunesmith.server import clock, ids
from tunesmith.server.backends.local import Process
from tunesmith.server.datadir import DataDir
from tunesmith.server.deployments.hosting import Hosting, HostingSettings
from tunesmith.server.deployments.process import ServingProcess
from tunesmith.server.deployments.states import LOADING_SECONDS, SILENCE_SECONDS
from tunesmith.server.tables import Deployment, Serving, Worker


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "ready"}')

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the screen of the tests."""


class _Loading(_Ready):
    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b'{"status": "loading"}')


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives and never listens."""
    waits = [sys.executable, "-c", "import time; time.sleep(120)"]
    with subprocess.Popen(waits, start_new_session=True) as child:
        yield child
        child.kill()


def _process(folder: Path, child: subprocess.Popen[bytes], port: int) -> ServingProcess:
    folder.mkdir(parents=True)
    (folder / "key").write_text("key")
    address = f"http://127.0.0.1:{port}"
    made = ServingProcess(folder.name, folder, address, "key", Process.of(child.pid), child)
    made.note()
    return made


def _starting(world: World, serving_id: str, address: str) -> None:
    """A deployment on its way, whose process was started by a worker before."""
    worker = world.worker()
    with world.database.write() as session:
        moment = clock.read(session)
        session.add(
            Serving(
                id=serving_id, worker_id=worker, base="starter", address=address, secret="key",
                memory_bytes=1, started_at=moment.wall,
            )
        )  # fmt: skip
        session.flush()
        row = Deployment(
            id=ids.new(ids.DEPLOYMENT, moment.wall), project_id=world.project, user_id=world.user,
            name="starter", base="starter", status="starting", serving_id=serving_id,
            idle_seconds=900, used_lease=moment.lease, heard_lease=moment.lease,
            created_at=moment.wall, changed_at=moment.wall,
        )  # fmt: skip
        session.add(row)


def test_a_model_whose_process_lives_and_never_answers_fails_in_time(
    world: World, tmp_path: Path, silent: subprocess.Popen[bytes]
) -> None:
    place = DataDir(tmp_path)
    process = _process(place.servings / "srv-silent", silent, _closed_port())
    _starting(world, process.id, process.address)
    with world.database.read() as session:
        name = session.get_one(Worker, world.worker()).name
    hosting = Hosting(world.database, place, name, HostingSettings())
    statuses: list[str] = []
    reason = ""
    for _ in range(5):
        hosting.round()
        [row] = world.all(Deployment)
        statuses.append(row.status)
        reason = row.reason
        world.wait(SILENCE_SECONDS / 3)
    assert statuses[0] == "starting"
    assert (statuses[-1], reason) == ("failed", "silent")
    assert silent.wait(10) != 0


def test_a_model_that_is_loading_for_ever_fails_in_time_and_says_so(
    world: World, tmp_path: Path, silent: subprocess.Popen[bytes]
) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Loading)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = DataDir(tmp_path)
    process = _process(place.servings / "srv-loads", silent, server.server_port)
    (process.folder / "serving.log").write_text("loading the model\n")
    _starting(world, process.id, process.address)
    with world.database.read() as session:
        name = session.get_one(Worker, world.worker()).name
    hosting = Hosting(world.database, place, name, HostingSettings())
    step = SILENCE_SECONDS - 30
    statuses: list[str] = []
    for _ in range(int(LOADING_SECONDS / step) + 3):  # in the end the process goes, too
        hosting.round()
        statuses.append(world.all(Deployment)[0].status)
        world.wait(step)
    [row] = world.all(Deployment)
    assert statuses == ["starting"] * (len(statuses) - 2) + ["failed"] * 2
    assert row.reason == "serving_slow"
    assert "after 60 minutes. It said last: loading the model" in str(row.error)
    assert silent.wait(10) != 0
    server.shutdown()
    server.server_close()


def test_a_process_that_was_ready_and_hangs_is_told_from_one_that_is_busy(
    tmp_path: Path, silent: subprocess.Popen[bytes]
) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Ready)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    process = _process(tmp_path / "srv-hangs", silent, server.server_port)
    assert process.is_ready()
    server.shutdown()
    server.server_close()
    assert process.is_ready()  # not looked at so soon
    assert process.silences == 0
    for _ in range(11):
        process.looked = 0.0
        assert process.is_ready()
    assert not process.is_stuck()
    process.looked = 0.0
    process.is_ready()
    assert process.is_stuck()
    process.kill()
    assert not process.is_alive()
