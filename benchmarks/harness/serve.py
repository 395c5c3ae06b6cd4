"""How long `tunesmith serve` takes from its start to its first answer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import psutil

from harness.measurement import BenchmarkError
from harness.processes import environment

LONGEST_SECONDS = 120.0
_LISTENS = re.compile(r"listens on (http://\S+)")


@dataclass(frozen=True)
class Start:
    """One start: until `/api/v1/health` said 200, and what the processor did for it."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Starts:
    """Medians of starts on a new data directory and on one that exists."""

    new: Start
    existing: Start


def measure_serve(scratch: Path, repeats: int) -> Starts:
    """The first start of all only fills the caches; then each kind in turn."""
    new: list[Start] = []
    existing: list[Start] = []
    for _ in range(repeats + 1):
        folder = scratch / "serve"
        shutil.rmtree(folder, ignore_errors=True)
        new.append(_start(scratch, folder))
        existing.append(_start(scratch, folder))
    return Starts(_median(new[1:]), _median(existing[1:]))


def _median(starts: list[Start]) -> Start:
    return Start(
        median(each.seconds for each in starts), median(each.cpu_seconds for each in starts)
    )


def _start(scratch: Path, folder: Path) -> Start:
    log = scratch / "logs" / "serve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tunesmith", "serve", "--data-dir", str(folder)]
    command += ["--port", "0", "--no-worker"]
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(scratch),
        )
        try:
            _await_answer(process, log, began + LONGEST_SECONDS)
            seconds = time.perf_counter() - began
            used = psutil.Process(process.pid).cpu_times()
        finally:
            process.terminate()
            process.wait(30)
    return Start(seconds, used.user + used.system)


def _environment(scratch: Path) -> dict[str, str]:
    """With compiled modules, as an installed package has them."""
    variables = environment(1, PYTHONPYCACHEPREFIX=str(scratch / "pycache"))
    plain = {name: value for name, value in variables.items() if not name.startswith("TUNESMITH_")}
    plain.pop("PYTHONDONTWRITEBYTECODE", None)
    return plain


def _await_answer(process: subprocess.Popen[bytes], log: Path, until: float) -> None:
    while time.perf_counter() < until and process.poll() is None:
        told = _LISTENS.search(log.read_text("utf-8", "replace"))
        if told and httpx.get(f"{told[1]}/api/v1/health", timeout=10).status_code == 200:
            return
        time.sleep(0.005)
    lines = log.read_text("utf-8", "replace").splitlines()[-5:]
    raise BenchmarkError("tunesmith serve gave no answer:\n" + os.linesep.join(lines))
