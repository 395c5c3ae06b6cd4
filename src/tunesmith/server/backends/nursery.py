"""Our side of the engine's nursery: a process with everything imported that forks engines.

Its start takes as long as that of an engine, so orders are written at once and answered later. A
nursery that dies is started again, less and less often; meanwhile engines are started directly.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final

log = logging.getLogger(__name__)
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
READY: Final = "ready"


class Order:
    """An engine that was asked for: `pid` once it is there, `is_lost` when it will not come."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.is_lost = False


class Nursery:
    """Keeps the process running and matches its answers to our orders."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = list(command), dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[int, Order] = {}
        self._num_orders = 0
        self._answer = b""
        self._pause, self._next_start = _FIRST_PAUSE, 0.0
        self.is_ready = False
        self._start()

    def order(self, arguments: Sequence[str], log_file: str, env: Mapping[str, str]) -> Order:
        """Ask for an engine; the order is lost at once where there is no nursery now."""
        self._num_orders += 1
        number = self._num_orders
        line = {
            "id": number,
            "arguments": list(arguments),
            "log": log_file,
            "environment": dict(env),
        }
        made = Order()
        try:
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            self._process.stdin.flush()
            self._waiting[number] = made
        except (AssertionError, OSError):
            made.is_lost = True
        return made

    def tend(self) -> None:
        """Take answers in; start the process again when it is time."""
        process = self._process
        if process is None:
            if time.monotonic() >= self._next_start:
                self._start()
            return
        self._read(process)
        if process.poll() is not None:
            self._read(process)
            log.warning("nursery %d ended with %d", process.pid, process.returncode)
            self._drop()

    def close(self) -> None:
        """End the process once it has done what it was asked for; its engines live on."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        try:
            process.stdin.close()
            # One that still imports would only see the end of its input afterwards.
            process.wait(timeout=5.0 if self.is_ready or self._waiting else 0.0)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        self._drop()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        log.info("nursery %d imports the engine", self._process.pid)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        while True:
            try:
                block = os.read(process.stdout.fileno(), 4096)
            except BlockingIOError:
                break
            if not block:
                break
            self._answer += block
        *lines, self._answer = self._answer.split(b"\n")
        for line in lines:
            self._take(line.decode())

    def _take(self, line: str) -> None:
        if line == READY:
            self.is_ready, self._pause = True, _FIRST_PAUSE
            log.info("nursery is ready")
            return
        number, _, pid = line.partition(" ")
        order = self._waiting.pop(int(number))
        order.pid, order.is_lost = int(pid) or None, pid == "0"

    def _drop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None and not pipe.closed:
                    try:
                        pipe.close()
                    except OSError as error:  # what could not be written is lost with the process
                        log.debug("closing a pipe of the nursery: %s", error)
        for order in self._waiting.values():
            order.is_lost = True
        self._waiting, self._answer, self.is_ready = {}, b"", False
        self._next_start = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
