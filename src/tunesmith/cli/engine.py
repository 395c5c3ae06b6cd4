"""Commands that the engine answers: start it by name and leave with its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

from tunesmith.errors import InputError
from tunesmith.runs.launch import engine_command, engine_environment


def become_engine(*arguments: str) -> None:
    """Turn this process into the engine, terminal and all; it never returns."""
    require_torch()
    sys.stdout.flush()
    sys.stderr.flush()
    command = engine_command(*arguments)
    os.execve(command[0], command, engine_environment())


def run_engine(*arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the engine to its end in this terminal, or catch what it says."""
    require_torch()
    return subprocess.run(
        engine_command(*arguments),
        env=engine_environment(),
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.PIPE if capture else None,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def require_torch() -> None:
    """An error with a mend where the engine's libraries are not installed."""
    missing = [name for name in ("torch", "transformers", "peft") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"Training and chat need {', '.join(missing)}, which this Python has not installed.",
            hint="pip install 'tunesmith[engine]'",
            code="engine_not_installed",
            missing=missing,
        )
