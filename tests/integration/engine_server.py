"""Starts engine processes quickly: imports the engine once, then forks a child for each order.

Each child is a process of its own that runs `tunesmith.engine` from its first line to its exit
code, so it can be killed, and tests can start dozens. Orders and answers are JSON lines:
{"start": arguments, "env": {...}, "log": file} -> pid;  {"wait": pid} -> exit code, or -signal.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any

PRELOADED = (
    "tunesmith.engine.session",
    "peft",
    "transformers.models.llama.modeling_llama",
    "matplotlib.font_manager",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
)


def start(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.environ.update(order["env"])
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = importlib.import_module("tunesmith.engine.__main__").run(order["start"])
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        if sys.exc_info()[0] not in (None, SystemExit):
            sys.excepthook(*sys.exc_info())
        os._exit(code)


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        answer = start(order) if "start" in order else wait(order["wait"])
        os.write(1, f"{answer}\n".encode())


if __name__ == "__main__":
    main()
