"""One engine at a time; a killed one cannot keep the next one out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tunesmith.errors import RunDirError
from tunesmith.runs import RunDir, acquire_lock, living_holder, next_attempt

_HOLD = """
import sys, time
from pathlib import Path
from tunesmith.runs import RunDir, acquire_lock
with acquire_lock(RunDir(Path(sys.argv[1])), attempt=3):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", "name: x\n", recipe_name="x")


def _other_engine(run: RunDir) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_living_holder_is_named_and_a_killed_one_is_taken_over(run: RunDir) -> None:
    """FAULTS rows 1 and 26: a real process, a real SIGKILL."""
    other = _other_engine(run)
    try:
        with (
            pytest.raises(RunDirError, match=f"in use by process {other.pid}"),
            acquire_lock(run, attempt=4),
        ):
            pytest.fail("two engines in one run")
        holder = living_holder(run)
        assert holder is not None
        assert holder.pid == other.pid
    finally:
        other.send_signal(signal.SIGKILL)
    # Not reaped yet: until `wait` the dead process is a zombie, and a zombie holds nothing.
    deadline = time.monotonic() + 10
    while living_holder(run) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert next_attempt(run) == 4  # attempt 3 died before its first event, and still counts
    with acquire_lock(run, attempt=4) as mine:
        assert mine.pid == os.getpid()
    other.communicate()


def test_the_lock_is_free_after_use_and_after_an_error(run: RunDir) -> None:
    with pytest.raises(ZeroDivisionError), acquire_lock(run, attempt=1):
        raise ZeroDivisionError
    assert living_holder(run) is None
    with acquire_lock(run, attempt=2):
        assert living_holder(run) is not None


def test_a_process_number_that_was_given_away_again_is_not_the_holder(run: RunDir) -> None:
    with acquire_lock(run, attempt=1) as mine:
        pass
    stale = replace(mine, started=mine.started - 1)
    run.lock_path.write_text(json.dumps(asdict(stale)))
    assert living_holder(run) is None


def test_a_holder_from_before_a_restart_of_the_machine_is_gone(run: RunDir) -> None:
    with acquire_lock(run, attempt=1) as mine:
        pass
    run.lock_path.write_text(json.dumps(asdict(replace(mine, boot_id="another boot"))))
    assert living_holder(run) is None


def test_a_holder_on_another_machine_counts_until_the_run_is_silent(run: RunDir) -> None:
    with acquire_lock(run, attempt=1) as mine:
        pass
    away = replace(mine, boot_id="another", namespace="another", host="gpu-7")
    run.lock_path.write_text(json.dumps(asdict(away)))
    with pytest.raises(RunDirError, match="gpu-7") as caught, acquire_lock(run, attempt=2):
        pytest.fail("taken from a machine that still works")
    assert "silent for 180 seconds" in caught.value.hint
    long_ago = time.time() - 1000
    os.utime(run.lock_path, (long_ago, long_ago))
    with acquire_lock(run, attempt=2):
        assert living_holder(run) is not None


@pytest.mark.parametrize("content", [b"", b'{"pid": 1', b"[]", b'{"pid": 1}', b"\0\0\0"])
def test_a_torn_lock_holds_nobody_out(run: RunDir, content: bytes) -> None:
    run.lock_path.write_bytes(content)
    with acquire_lock(run, attempt=1):
        assert living_holder(run) is not None


def test_a_lock_taken_over_meanwhile_is_not_released(run: RunDir) -> None:
    with acquire_lock(run, attempt=1) as mine:
        later = replace(mine, attempt=2)
        run.lock_path.write_text(json.dumps(asdict(later)))
    assert json.loads(run.lock_path.read_text())["attempt"] == 2
