"""A serving process of our own, for as long as a model is asked: `python -m tunesmith.serving`.

A base and an adapter on it are served by one process, which answers for both at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import orjson

from tunesmith.errors import InputError, RunFailed
from tunesmith.evaluation.adapters import (
    dtype_of_adapter,
    is_unserved,
    makes_reward_model,
)
from tunesmith.evaluation.endpoint import Endpoint
from tunesmith.models.files import is_reward_model
from tunesmith.runs.files import storage_errors
from tunesmith.runs.launch import engine_environment

PROGRAM = "tunesmith.serving"
START_SECONDS = 600.0  # a hub model may have to be downloaded first
_NAME, _TUNED = "evaluated", "evaluated-tuned"
_POLL_SECONDS = 0.1
_END_SECONDS = 10.0


class ServingFailed(RunFailed):
    """The model could not be served."""

    code = "serving_failed"


def can_serve() -> bool:
    """Whether this installation can serve models."""
    return find_spec(PROGRAM) is not None and find_spec("torch") is not None


@dataclass(frozen=True)
class Weights:
    """What the engine loads to be a model, and an adapter to put on it."""

    target: str
    adapter: Path | None = None

    @property
    def words(self) -> list[str]:
        """The same on the command line of the engine."""
        return [self.target, *([] if self.adapter is None else ["--adapter", str(self.adapter)])]

    @property
    def is_reward_model(self) -> bool:
        """Whether it is known to score answers and write none."""
        place = Path(self.target).expanduser()
        folders = (place / "artifacts" / "model", place / "model", place)
        return any(map(is_reward_model, folders)) or makes_reward_model(self.adapter or place)

    @property
    def is_asked(self) -> bool:
        """Whether a serving process takes it, so that it can be asked for answers."""
        place = Path(self.target).expanduser()
        return not self.is_reward_model and not is_unserved(self.adapter or place)


class Place:
    """Where a model answers: an address that is there, or a process that is started when needed."""

    def __init__(self, model: str, endpoint: Endpoint | None = None) -> None:
        self.model = model
        self.endpoint = endpoint
        self._open = contextlib.ExitStack()
        self._served: Endpoint | None = None

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._served = None

    def weights(self) -> Weights:
        """Where its files lie, for what is measured without asking."""
        return Weights(self.model)

    def reach(self, log: Path, on_wait: Callable[[], None]) -> Endpoint:
        """The address; the first call starts the process and waits until it answers."""
        if self.endpoint is not None:
            return self.endpoint
        if self._served is None:
            self._served = self._open.enter_context(served(self.model, log=log, on_wait=on_wait))
        return self._served

    def is_beside(self, other: Place) -> bool:
        """Whether both answer from one process, so that both may be asked at once."""
        _ = other
        return False


class SharedProcess:
    """One process for a base and an adapter on it; whoever reaches it first starts it."""

    def __init__(self, base: str, tuned: str, dtype: str) -> None:
        self._words = (base, "--dtype", dtype, f"--adapter={_TUNED}={tuned}")
        self._open = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._served: Endpoint | None = None

    def reach(self, log: Path, on_wait: Callable[[], None]) -> Endpoint:
        """Its address, once it answers; from any thread."""
        while not self._lock.acquire(timeout=_POLL_SECONDS):
            on_wait()
        try:
            if self._served is None:
                on_wait()
                self._served = self._open.enter_context(
                    served(*self._words, log=log, on_wait=on_wait)
                )
            return self._served
        finally:
            self._lock.release()

    def close(self) -> None:
        self._open.close()
        self._served = None


class SharedPlace(Place):
    """One of the two models of a shared process."""

    def __init__(self, model: str, name: str, process: SharedProcess) -> None:
        super().__init__(model)
        self._name, self._process = name, process

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def reach(self, log: Path, on_wait: Callable[[], None]) -> Endpoint:
        """The address under this model's name."""
        return replace(self._process.reach(log, on_wait), model=self._name)

    def is_beside(self, other: Place) -> bool:
        return isinstance(other, SharedPlace) and other._process is self._process


def places_of(base: str, tuned: str) -> tuple[Place, Place]:
    """Where two models answer: in one process where one is an adapter on the other."""
    dtype = dtype_of_adapter(base, tuned)
    if dtype is None:
        return Place(base), Place(tuned)
    process = SharedProcess(base, tuned, dtype)
    return SharedPlace(base, _NAME, process), SharedPlace(tuned, _TUNED, process)


@contextlib.contextmanager
def served(
    model: str, *words: str, log: Path, on_wait: Callable[[], None] = lambda: None
) -> Generator[Endpoint]:
    """An endpoint that serves a model, a run or an adapter, on a port of this machine alone.

    Args:
        words: More of the command line.
    """
    if not can_serve():
        raise InputError(
            f"{model} cannot be served here: the engine is not installed.",
            hint="pip install 'tunesmith[engine]', or name an address with --endpoint.",
            code="engine_not_installed",
        )
    with tempfile.TemporaryDirectory(prefix="tunesmith-served-") as folder:
        ready = Path(folder, "ready.json")
        command = [
            *(sys.executable, "-m", PROGRAM, model, "--host", "127.0.0.1", "--port", "0"),
            *("--name", _NAME, "--ready-file", str(ready)),
            *("--parent", str(os.getpid()), *words),
        ]
        with storage_errors(log), log.open("wb") as said:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=engine_environment(),
                start_new_session=True,
            )
        try:
            url = _await(process, ready, log, on_wait)
            yield Endpoint(f"{url}/v1", _NAME, patience=20.0)
        finally:
            _end(process)


def _await(
    process: subprocess.Popen[bytes], ready: Path, log: Path, on_wait: Callable[[], None]
) -> str:
    """Wait until the model answers; its address."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        gone = process.poll() is not None
        if ready.exists() and "url" in (told := orjson.loads(ready.read_bytes())):
            return str(told["url"])
        if gone:
            raise _failed(process, log)
        on_wait()
        time.sleep(_POLL_SECONDS)
    raise ServingFailed(
        f"The model was not ready after {START_SECONDS:.0f} s.", hint=f"Its log is {log}."
    )


def _failed(process: subprocess.Popen[bytes], log: Path) -> RunFailed | InputError:
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    # Behind the lines of the log stands the error in plain words.
    told = text.rpartition("Error: ")[2][-1500:] or f"it ended with code {process.returncode}"
    if process.returncode == 2:
        return InputError(told, code="serving_failed")
    return ServingFailed(f"The model could not be served: {told}", hint=f"Its log is {log}.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process with its children: politely, then at once."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
