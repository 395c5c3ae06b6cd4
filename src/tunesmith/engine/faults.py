"""Faults on demand, for the tests of what a run survives. Off unless TUNESMITH_FAULT is set.

TUNESMITH_FAULT is a list such as `kill@step:7,oom@step:3,nan@step:5,kill@checkpoint-optimizer:10`:
a kind, the point in the program, and the step. Each fault happens once a process.
"""

from __future__ import annotations

import errno
import os
import signal

import torch

VARIABLE = "TUNESMITH_FAULT"


class Faults:
    """The faults that are still to come."""

    def __init__(self, text: str | None = None) -> None:
        text = os.environ.get(VARIABLE, "") if text is None else text
        self._waiting = {tuple(entry.split("@", 1)) for entry in text.split(",") if "@" in entry}

    def at(self, point: str, step: int) -> str | None:
        """Let a fault happen; a kind that the caller has to act out is returned."""
        for kind, place in sorted(self._waiting):
            if place == f"{point}:{step}":
                self._waiting.discard((kind, place))
                if kind == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if kind == "full":
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if kind == "oom":
                    raise torch.OutOfMemoryError("fault on demand: out of memory")
                return kind
        return None
