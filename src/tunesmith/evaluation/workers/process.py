"""A process that answers one JSON line for each it is asked, with limits of time and memory."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

MOST_BYTES: Final = 8 << 20  # of one answer
_TOLD: Final = 1500


class WorkerFailed(RuntimeError):
    """The process gave no answer: `reason` is `slow`, `died` or `garbled`."""

    def __init__(self, reason: str, told: str = "") -> None:
        super().__init__(f"{reason}: {told}")
        self.reason = reason
        self.told = told


@dataclass(frozen=True)
class Limits:
    """What a process may use; seconds are for one answer."""

    seconds: float = 20.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 16 << 20
    processes: int | None = None


class Worker:
    """Starts the program when it is asked, and again after it was ended."""

    def __init__(self, program: Path, *arguments: str, limits: Limits) -> None:
        # -I: neither the environment nor the current folder decides what is imported.
        self._command = [sys.executable, "-I", str(program), *arguments]
        self._limits = limits
        self._folder = tempfile.TemporaryDirectory(prefix="tunesmith-worker-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._folder.cleanup()

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer to one job; WorkerFailed, and then the process is gone."""
        process = self._process or self._start()
        deadline = time.monotonic() + self._limits.seconds
        try:
            line = _exchange(process, orjson.dumps(job) + b"\n", deadline)
        except WorkerFailed as failure:
            self.end()
            raise WorkerFailed(failure.reason, failure.told or self._last_words()) from None
        try:
            answer = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            self.end()
            raise WorkerFailed("garbled", line[:200].decode("utf-8", "replace")) from error
        if not isinstance(answer, dict):
            self.end()
            raise WorkerFailed("garbled", line[:200].decode("utf-8", "replace"))
        return answer

    def end(self) -> None:
        """Kill the process with all its children."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._words().open("wb") as words:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                cwd=self._folder.name,
                env={"PATH": os.defpath, "PYTHONUTF8": "1"},
                preexec_fn=self._limit,
                start_new_session=True,
                bufsize=0,
            )
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        return self._process

    def _words(self) -> Path:
        return Path(self._folder.name, "stderr.log")

    def _last_words(self) -> str:
        return self._words().read_bytes()[-_TOLD:].decode("utf-8", "replace").strip()

    def _limit(self) -> None:
        limits = self._limits
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if limits.processes is not None:
            resource.setrlimit(resource.RLIMIT_NPROC, (limits.processes, limits.processes))


def _exchange(process: subprocess.Popen[bytes], order: bytes, deadline: float) -> bytes:
    """Write the order and read one line, whichever of both the process is ready for."""
    assert process.stdin is not None
    assert process.stdout is not None
    source, target = process.stdout.fileno(), process.stdin.fileno()
    left, answer = memoryview(order), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        selector.register(target, selectors.EVENT_WRITE)
        while b"\n" not in answer:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready or time.monotonic() > deadline:
                raise WorkerFailed("slow")
            for key, _ in ready:
                if key.fd == source:
                    answer += _read(source, len(answer))
                    continue
                left = _write(target, left)
                if not left:
                    selector.unregister(target)
    return bytes(answer.partition(b"\n")[0])


def _read(source: int, known: int) -> bytes:
    some = os.read(source, 1 << 16)
    if not some:
        raise WorkerFailed("died")
    if known + len(some) > MOST_BYTES:
        raise WorkerFailed("garbled", f"an answer of more than {MOST_BYTES >> 20} MB")
    return some


def _write(target: int, left: memoryview) -> memoryview:
    try:
        return left[os.write(target, left) :]
    except BrokenPipeError as error:
        raise WorkerFailed("died") from error
