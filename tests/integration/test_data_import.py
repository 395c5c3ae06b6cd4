"""Imports of real size: interrupted, killed, and large ones in bounded memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import psutil
import pytest

from tunesmith.data.store import Catalog

ROW = {
    "question": "Where is my parcel? " * 8,
    "answer": "It left the warehouse this morning. " * 12,
}


def _large(path: Path, rows: int) -> Path:
    with path.open("wb") as file:
        for number in range(rows):
            file.write(orjson.dumps({**ROW, "number": number}) + b"\n")
    return path


def _start(path: Path, data: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tunesmith", "data", "import", str(path), "--name", "big"]
    environment = {**os.environ, "TUNESMITH_DATA_DIR": str(data)}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _wait_for_a_draft(process: subprocess.Popen[bytes], data: Path) -> None:
    """Until rows have been written and the import is not done."""
    while not list(data.glob("datasets/big/draft-*/version/part-*.parquet")):
        assert process.poll() is None, "the import ended before it could be interrupted"
        time.sleep(0.01)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_an_import_that_is_stopped_leaves_nothing_half_published(
    kind: signal.Signals, tmp_path: Path
) -> None:
    path, data = _large(tmp_path / "big.jsonl", 150_000), tmp_path / "data"
    process = _start(path, data)
    with process:
        _wait_for_a_draft(process, data)
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, kind)
        _, error = process.communicate(timeout=60)
    assert process.returncode == (130 if kind == signal.SIGINT else -kind)
    assert b"Traceback" not in error
    assert Catalog(data).names() == []
    psutil.wait_procs(children, timeout=30)
    assert not any(child.is_running() for child in children)
    if kind == signal.SIGINT:
        assert b"nothing was published" in error
        assert not list(data.glob("datasets/big/draft-*"))


def test_the_memory_of_an_import_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """C5: memory is bounded; four times the rows take some tens of bytes each more."""
    peaks = [
        _peak(_large(tmp_path / f"{n}.jsonl", n), tmp_path / f"data-{n}") for n in (40_000, 160_000)
    ]
    grown = peaks[1] - peaks[0]
    assert grown < 60e6, peaks


def _peak(path: Path, data: Path) -> int:
    process = _start(path, data)
    peak = 0
    with process:
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peak = max(peak, parent.memory_info().rss)
            except psutil.Error:
                break
            time.sleep(0.02)
        process.communicate()
    assert process.returncode == 0
    assert Catalog(data).open("big").manifest.rows
    return peak
