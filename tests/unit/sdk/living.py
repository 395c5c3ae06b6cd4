"""A real server process, and a proxy before it whose connections a test can break."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ADMIN_TOKEN = "tsk-admin-of-the-client-tests"


@dataclass(frozen=True)
class Live:
    """Where a server listens, and what it has said."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def end(self) -> None:
        """As a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def live_server(folder: Path, *, worker: bool = False, **settings: Any) -> Generator[Live]:
    """`python -m tunesmith.api` on a free port."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "serve.log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
    environment |= {f"TUNESMITH_{name.upper()}": str(value) for name, value in settings.items()}
    environment |= {"TUNESMITH_ADMIN_TOKEN": ADMIN_TOKEN, "TUNESMITH_RATE_LIMIT": "0"}
    environment |= {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tunesmith.api", "--data-dir", str(folder / "data")]
    command += ["--port", "0", *([] if worker else ["--no-worker"])]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment
        )
    live = Live("", log, process)
    try:
        yield replace(live, url=_address(process, log))
    finally:
        live.end()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    def found() -> str | None:
        assert process.poll() is None, log.read_text()
        told = re.search(r"listens on (http://\S+)", log.read_text())
        return told[1] if told else None

    return wait_for(found)


def wait_for(look: Callable[[], Any], seconds: float = 120.0) -> Any:
    """The first answer of `look` that is something."""
    until = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


class Proxy:
    """Passes bytes on until it is told to break: at once, or after some more in one direction."""

    def __init__(self, url: str) -> None:
        self.lead_to(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._left: dict[str, int | None] = {"up": None, "down": None}
        self._open: set[socket.socket] = set()
        self.passed = {"up": 0, "down": 0}
        self.breaks = 0
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._serve)
        self._acceptor.start()

    def lead_to(self, url: str) -> None:
        """Where new connections go."""
        host, port = url.removeprefix("http://").split(":")
        self._far = (host, int(port))

    def break_after(self, direction: str, num_bytes: int) -> None:
        """Break the connection once so many more bytes went `up` or `down`; 0: at the next one."""
        with self._lock:
            self._left[direction] = num_bytes

    def break_now(self) -> None:
        with self._lock:
            self.breaks += 1
            for side in self._open:
                _shut(side)

    def close(self) -> None:
        _shut(self._listener)  # wakes the thread that accepts
        self._acceptor.join()
        self._listener.close()
        self.break_now()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._pass, args=(near,)))
            self._threads[-1].start()

    def _pass(self, near: socket.socket) -> None:
        """One connection, both ways, until either end is closed."""
        with near:
            try:
                far = socket.create_connection(self._far)
            except OSError:
                return
            with far:
                with self._lock:
                    self._open |= {near, far}
                back = threading.Thread(target=self._pump, args=(far, near, "down"))
                back.start()
                self._pump(near, far, "up")
                back.join()
                with self._lock:
                    self._open -= {near, far}

    def _pump(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                kept = self._let_through(data, way)
                sink.sendall(kept)
                if len(kept) < len(data):
                    break
        _shut(source)
        _shut(sink)

    def _let_through(self, data: bytes, way: str) -> bytes:
        with self._lock:
            left = self._left[way]
            if left is not None and left < len(data):
                data, self._left[way] = data[:left], None
                self.breaks += 1
            elif left is not None:
                self._left[way] = left - len(data)
            self.passed[way] += len(data)
        return data


def _shut(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(url: str) -> Generator[Proxy]:
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
