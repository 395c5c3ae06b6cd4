"""Work that the engine does for an evaluation, in a process of its own."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

import orjson

from tunesmith.errors import RunFailed
from tunesmith.runs.launch import engine_command, engine_environment

OnProgress = Callable[[str, int, int], None]


def let_engine(*words: str, what: str, code: str, on_progress: OnProgress) -> dict[str, Any]:
    """Run a command of the engine and pass its progress on; what it said when it was done.

    Args:
        what: Could not be done, for the error: `The losses could not be measured`.

    Raises:
        RunFailed: With what the engine said last.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            engine_command(*words), stdout=subprocess.PIPE, stderr=errors, env=engine_environment()
        ) as process,
    ):
        assert process.stdout is not None
        told: dict[str, Any] = {}
        for line in process.stdout:
            told = orjson.loads(line)
            if told["kind"] != "done":
                on_progress(told["kind"], told["done"], told["total"])
        if process.wait() != 0:
            errors.seek(0)
            said = errors.read()[-1500:].decode(errors="replace").strip()
            raise RunFailed(
                f"{what}: {said.removeprefix('Error: ')}",
                hint="`tunesmith doctor` says whether this machine is ready.",
                code=code,
            )
    return told
