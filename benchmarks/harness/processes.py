"""Run a command and keep what it printed; watch the memory of a process from outside."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.measurement import BenchmarkError

PROBE_IMPORTS = """
import re, sys
import torch, transformers, peft
status = open("/proc/self/status").read() if sys.platform == "linux" else "VmRSS: 0 kB"
print(int(re.search(r"VmRSS:\\s+(\\d+) kB", status)[1]) * 1024)
"""


@dataclass(frozen=True)
class Finished:
    """A command that ended well."""

    started: float
    seconds: float
    stdout: str


def environment(threads: int, **extra: str) -> dict[str, str]:
    """The variables of every contender: the same threads, nothing from the network."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        **extra,
    }


def run(
    command: Sequence[str | Path],
    log: Path,
    env: dict[str, str] | None = None,
    watch: Callable[[subprocess.Popen[str]], None] | None = None,
) -> Finished:
    """Run to the end; standard error goes to the log. A failure shows the log's last lines."""
    log.parent.mkdir(parents=True, exist_ok=True)
    out = log.with_suffix(".out")
    with log.open("w", encoding="utf-8") as errors, out.open("w", encoding="utf-8") as output:
        started = time.time()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=errors, env=env, text=True
        )
        if watch:
            watch(process)
        code = process.wait()
        seconds = time.time() - started
    stdout = out.read_text(encoding="utf-8")
    if code != 0:
        tail = "\n".join((stdout + log.read_text(encoding="utf-8")).splitlines()[-25:])
        raise BenchmarkError(f"{command[0]} ended with exit code {code}; {log}:\n{tail}")
    return Finished(started, seconds, stdout)


class PeakMemory:
    """Follows the largest process below a command until the command ends.

    The kernel keeps the high-water mark, so looking rarely loses nothing but the very end; listing
    processes costs milliseconds, so that is done more rarely still.
    """

    INTERVAL_SECONDS = 0.1
    LOOKS_A_LISTING = 20

    def __init__(self) -> None:
        self.peak_bytes = 0

    def watch(self, process: subprocess.Popen[str]) -> None:
        """Sample until the process has ended."""
        family: list[psutil.Process] = []
        for look in itertools.count():
            if process.poll() is not None:
                return
            if look % self.LOOKS_A_LISTING == 0:
                family = _family(process.pid)
            self.peak_bytes = max([self.peak_bytes, *map(peak_bytes_of, family)])
            time.sleep(self.INTERVAL_SECONDS)


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def peak_bytes_of(process: psutil.Process) -> int:
    """The kernel's own high-water mark where there is one, else the size now; 0 once it is gone."""
    try:
        if sys.platform != "linux":
            return process.memory_info().rss
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace")
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def import_level_bytes(scratch: Path, threads: int) -> int:
    """Memory of a process that has imported torch, transformers and peft, and nothing more."""
    command = [sys.executable, "-c", PROBE_IMPORTS]
    return int(run(command, scratch / "logs" / "imports.log", environment(threads)).stdout)
