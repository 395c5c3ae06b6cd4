"""A process that has imported everything and forks an engine for each order it gets.

    {"id": 1, "arguments": ["train", "RUN"], "log": "FILE", "environment": {...}}    on its input
    1 12345                                   on its output: the order, and the process (or 0)

An engine that starts this way makes its first step in well under a second, since importing torch
and transformers takes five. Nothing here may start a thread or touch CUDA: neither survives a fork.
The children are in sessions of their own and live on when this process or its parent ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

PRELOADED = (
    "tunesmith.engine.session",
    "peft",
    "transformers.models.llama.modeling_llama",
    "transformers.models.qwen3.modeling_qwen3",
    "matplotlib.font_manager",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
)
READY = "ready"
Run = Callable[[list[str]], int]


def main(run: Run) -> int:
    """Say that everything is imported, then answer orders until nobody can give any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _reap)
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # objects that are never looked at again stay shared with the children
    _say(READY)
    for line in sys.stdin:
        _fork(json.loads(line), run)
    return 0


def _fork(order: dict[str, Any], run: Run) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become_engine(order, run, writer)
    os.close(writer)
    # From then on the process can be looked up, and its group ended.
    is_there = os.read(reader, 1) == b"1"
    os.close(reader)
    _say(f"{order['id']} {pid if is_there else 0}")


def _become_engine(order: dict[str, Any], run: Run, there: int) -> NoReturn:
    """In the child: leave everything of the parent's behind, then be the engine."""
    code = 70
    try:
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _redirect(order["log"], keep=there)
        os.write(there, b"1")
        os.close(there)
        os.environ.update(order["environment"])
        code = run([str(argument) for argument in order["arguments"]])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(log: str, *, keep: int) -> None:
    """All output goes to the log; no other file of the parent stays open but `keep`."""
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    for number in range(3, max(written, nothing) + 1):
        if number != keep:
            with suppress(OSError):  # it was not open
                os.close(number)


def _reap(*_: object) -> None:
    """Take the exit codes of children that have ended, so that none stays a zombie."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())
