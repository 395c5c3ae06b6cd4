"""Runs a grader that is a program, in a process of its own with limits.

The limits keep an accident small: time, memory, size of files and of what it prints, an empty
environment and folder. They are no wall against somebody who means harm, so an administrator has
to allow such graders (setting `python_graders`).
"""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import tempfile
from typing import Any, Final

import orjson

SECONDS: Final = 20.0
_MEMORY_BYTES: Final = 1 << 30
_FILE_BYTES: Final = 16 << 20
_TOLD: Final = 2000
# Reads {"source", "sample", "item"} and prints {"reward"} or {"error"} as its last line.
_PROGRAM: Final = """
import json, sys, traceback
given = json.load(sys.stdin)
told = sys.stdout
sys.stdout = sys.stderr
try:
    names = {"__name__": "grader"}
    exec(compile(given["source"], "grader.py", "exec"), names)
    answer = {"reward": repr(float(names["grade"](given["sample"], given["item"])))}
except BaseException:
    answer = {"error": traceback.format_exc(limit=-3)}
told.write(json.dumps(answer))
"""


class SourceFailed(RuntimeError):
    """The program ended with an error of its own."""


class SourceSilent(RuntimeError):
    """The program took too long, or returned no number."""


def run_source(source: str, sample: dict[str, Any], item: Any, seconds: float = SECONDS) -> float:
    """What `grade(sample, item)` of the source returns; SourceFailed, SourceSilent."""
    given = orjson.dumps({"source": source, "sample": sample, "item": item})
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", _PROGRAM],
                input=given,
                capture_output=True,
                cwd=folder,
                env={},
                timeout=seconds,
                preexec_fn=_limit,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SourceSilent(f"no reward after {seconds:g} s") from error
    return _reward(done.stdout, done.stderr)


def _reward(printed: bytes, complained: bytes) -> float:
    try:
        answer: dict[str, Any] = orjson.loads(printed)
    except orjson.JSONDecodeError as error:
        told = complained.decode("utf-8", "replace")[-_TOLD:]
        raise SourceFailed(told or "the process ended without a word") from error
    if "error" in answer:
        raise SourceFailed(str(answer["error"])[-_TOLD:])
    reward = float(answer["reward"])
    if not math.isfinite(reward):
        raise SourceSilent("the reward is not finite")
    return reward


def _limit() -> None:
    seconds = math.ceil(SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
