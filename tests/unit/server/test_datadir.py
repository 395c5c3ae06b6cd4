"""One server on a data directory, its secret, and what a read-only one says."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.mounts import read_only

from tunesmith.runs.files import StorageRefused
from tunesmith.server.datadir import (
    FOLDERS,
    StorageWatch,
    held,
    holder_of,
    prepare,
    serving,
)
from tunesmith.server.errors import DataDirectoryInUse

SERVER = """
import os, sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tunesmith.server.datadir import prepare, serving
with serving(prepare(Path(sys.argv[1]))):
    forks = sys.argv[2:] == ["fork"]
    if forks and os.fork() == 0:
        print("serving", flush=True)  # from here on the child has nothing of the lock
        sys.stdin.read()  # it outlives its parent
        os._exit(0)
    if not forks:
        print("serving", flush=True)
    sys.stdin.readline()
"""


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(root), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n")


def test_the_layout_is_made_once_with_a_secret_of_its_own(tmp_path: Path) -> None:
    place = prepare(tmp_path / "数据 directory")
    assert all((place.root / name).is_dir() for name in FOLDERS)
    assert stat.S_IMODE(place.secret_path.stat().st_mode) == 0o600
    assert len(place.secret()) == 32
    assert prepare(place.root).secret() == place.secret()
    assert prepare(tmp_path / "other").secret() != place.secret()
    assert {path.name for path in place.root.iterdir()} == {*FOLDERS, "secret"}


def test_processes_that_start_together_have_one_secret(tmp_path: Path) -> None:
    found: list[bytes] = []
    barrier = threading.Barrier(8)

    def run() -> None:
        barrier.wait()
        found.append(prepare(tmp_path / "data").secret())

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_second_server_names_the_first_and_leaves_it_alone(tmp_path: Path) -> None:
    """FAULTS 26."""
    first = start(tmp_path)
    with (
        pytest.raises(DataDirectoryInUse, match="not disturbed") as found,
        serving(prepare(tmp_path)),
    ):
        pass
    assert found.value.exit_code == 2
    assert found.value.details["pid"] == first.pid
    assert found.value.details["host"] == os.uname().nodename
    assert str(first.pid) in found.value.message
    assert found.value.details["since"] in found.value.message
    assert first.poll() is None
    end(first)
    with serving(prepare(tmp_path)):
        pass


@pytest.mark.parametrize("arguments", [(), ("fork",)])
def test_a_server_that_was_killed_has_lost_the_directory(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    first = start(tmp_path, *arguments)
    assert holder_of(tmp_path / "serve.lock") is not None
    first.send_signal(signal.SIGKILL)
    first.wait()
    with serving(prepare(tmp_path)):
        holder = holder_of(tmp_path / "serve.lock")
        assert holder is not None
        assert holder.pid == os.getpid()
    assert holder_of(tmp_path / "serve.lock") is None
    first.communicate()


def test_a_look_at_a_lock_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "serve.lock"
    assert holder_of(path) is None
    with held(path) as other:
        assert other is None
        with held(path) as second:
            assert second == holder_of(path)
        assert holder_of(path) is not None  # the second did not end the first


@contextmanager
def unwritable(folder: Path) -> Generator[None]:
    """With permissions, or with a mount where we are root."""
    if os.geteuid() == 0:
        with read_only(folder):
            yield
        return
    folder.chmod(0o500)
    try:
        yield
    finally:
        folder.chmod(0o700)


def test_a_read_only_directory_says_so_and_since_when(tmp_path: Path) -> None:
    """FAULTS 27."""
    place = prepare(tmp_path / "data")
    watch = StorageWatch(place.root)
    assert watch.read_only_since() is None
    with unwritable(place.root):
        since = watch.read_only_since()
        assert since is not None
        assert watch.read_only_since() == since
        with pytest.raises(StorageRefused, match="read-only since") as found:
            watch.refuse()
        assert found.value.code == "data_directory_read_only"
        with pytest.raises(StorageRefused, match="read-only since") as found:
            prepare(place.root)
        assert found.value.exit_code == 2, "a service that is started again and again helps nobody"
    assert watch.read_only_since() is None
    watch.refuse()


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(StorageRefused, match="runs is a file") as found:
        prepare(tmp_path)
    assert found.value.exit_code == 2


def serve(root: Path) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
    command = [sys.executable, "-m", "tunesmith", "serve", "--port", "0", "--no-worker"]
    return subprocess.Popen(
        [*command, "--data-dir", str(root)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_second_serve_does_not_start_and_the_first_still_answers(tmp_path: Path) -> None:
    """FAULTS 26, with the command itself."""
    first = serve(tmp_path / "data")
    try:
        assert first.stdout is not None
        told = next(line for line in first.stdout if "listens on" in line)
        address = told.split("listens on ")[1].split()[0]
        second = serve(tmp_path / "data")
        _, error = second.communicate(timeout=60)
        assert second.returncode == 2
        assert f"process {first.pid} on {os.uname().nodename}" in error
        assert "Traceback" not in error
        assert first.poll() is None
        assert httpx.get(f"{address}/api/v1/health").status_code == 200
    finally:
        first.terminate()
        first.communicate(timeout=60)
    third = serve(tmp_path / "data")
    assert third.stdout is not None
    assert any("listens on" in line for line in third.stdout)
    third.terminate()
    third.communicate(timeout=60)
