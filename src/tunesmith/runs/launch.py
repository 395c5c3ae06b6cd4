"""Start the engine as a process of its own that survives whoever started it.

Importing torch takes seconds, so a command may start an engine on standby first, check its input
meanwhile, and then send the order. This module imports little for the same reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.runs.rundir import RunDir

Engine = subprocess.Popen[bytes]


def engine_command(*arguments: str) -> list[str]:
    """The command line of the engine; it runs in the Python that runs this."""
    return [sys.executable, "-m", "tunesmith.engine", *arguments]


def engine_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the engine: that of the caller, plus what Python must start with."""
    environment = dict(os.environ if base is None else base)
    # UTF-8 everywhere, whatever the locale says, and a log that shows each line at once.
    environment.update({"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"})
    return environment


def launch_engine(run: RunDir, *, resume: bool) -> Engine:
    """Start the training of a run: own session, all output in logs/train.log, no pipe."""
    from tunesmith.runs.files import storage_errors

    with storage_errors(run.log_path):
        run.log_path.parent.mkdir(parents=True, exist_ok=True)
        log = run.log_path.open("ab")
    with log:
        return subprocess.Popen(
            engine_command(*train_arguments(run, resume=resume)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=engine_environment(),
            start_new_session=True,
        )


def train_arguments(
    run: RunDir, *, resume: bool, attempt: int | None = None, num_ranks: int = 1
) -> list[str]:
    """What the engine is told to train a run.

    `attempt` where somebody else counts the starts; `num_ranks` processes train together.
    """
    return [
        "train",
        str(run.path),
        *(["--resume"] if resume else []),
        *([] if attempt is None else ["--attempt", str(attempt)]),
        *([] if num_ranks == 1 else ["--ranks", str(num_ranks)]),
    ]


class Standby:
    """An engine that imports its libraries and waits for its order on standard input."""

    def __init__(self) -> None:
        self._wanted = False
        self._process = subprocess.Popen(
            engine_command("standby"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=engine_environment(),
            start_new_session=True,
        )

    def launch(self, run: RunDir, *, resume: bool) -> Engine:
        """Send the order; an engine that died meanwhile is started afresh, so its log tells why."""
        order = {"arguments": train_arguments(run, resume=resume), "log": str(run.log_path)}
        run.log_path.parent.mkdir(parents=True, exist_ok=True)
        pipe = self._process.stdin
        assert pipe is not None, "launch is called once"
        try:
            with pipe:
                pipe.write(json.dumps(order).encode() + b"\n")
        except BrokenPipeError:
            return launch_engine(run, resume=resume)
        self._wanted = True
        return self._process

    def __enter__(self) -> Standby:
        return self

    def __exit__(self, *_: object) -> None:
        """Without an order the engine is not needed; with one it lives its own life."""
        if not self._wanted:
            self._process.kill()
            self._process.communicate()


def await_order() -> list[str] | None:
    """On the side of the engine: its arguments, once they come; None when nobody wants it.

    From then on all output goes to the log that the order names, and standard input is closed.
    """
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return None
    order = json.loads(line)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)
    return [str(argument) for argument in order["arguments"]]
