"""The engine on standby: it waits for its order and leaves when nobody wants it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tunesmith.runs.launch import engine_command, engine_environment, train_arguments
from tunesmith.runs.rundir import RunDir

_STANDBY = """
import sys
from tunesmith.runs.launch import await_order
order = await_order()
print("order", order, "中文", flush=True)
print("stdin holds", repr(sys.stdin.read()), file=sys.stderr, flush=True)
sys.exit(0 if order else 7)
"""


def _standby(order: bytes) -> tuple[int, bytes]:
    done = subprocess.run(
        [sys.executable, "-c", _STANDBY],
        input=order,
        capture_output=True,
        env=engine_environment(),
        check=False,
    )
    return done.returncode, done.stdout


def test_an_order_moves_all_output_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "日志 train.log"
    log.write_text("before\n")
    order = f'{{"arguments": ["train", "a run"], "log": "{log}"}}\n'
    assert _standby(order.encode()) == (0, b"")
    assert log.read_text().splitlines() == [
        "before",
        "order ['train', 'a run'] 中文",
        "stdin holds ''",
    ]


def test_without_an_order_the_engine_leaves() -> None:
    assert _standby(b"")[0] == 7
    assert _standby(b'{"arguments": ["train"')[0] == 7


def test_the_engine_runs_in_this_python_and_in_utf8(tmp_path: Path) -> None:
    assert engine_command("plan", "x") == [sys.executable, "-m", "tunesmith.engine", "plan", "x"]
    environment = engine_environment({"LC_ALL": "C", "PATH": "/bin"})
    assert environment["PYTHONUTF8"] == "1"
    assert environment["PATH"] == "/bin"
    run = RunDir(tmp_path)
    assert train_arguments(run, resume=True) == ["train", str(tmp_path), "--resume"]
