"""What an export is doing, on standard error: a line that moves on a terminal, else a line a turn.

Some steps tell how far they are, others only that they go on; both show at least the time.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO

from tunesmith.runs.files import format_bytes

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 5.0
QUIET_SECONDS = 1.0  # a step that is over before that needs no line about its end


class Narrator:
    """Tells one step after the other; `tell` may come as often as it likes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._pause = TERMINAL_SECONDS if self._is_terminal else LOG_SECONDS
        self._lock = threading.Lock()
        self._what = ""
        self._share = ""
        self._begun = self._told = 0.0

    @contextmanager
    def step(self, what: str) -> Generator[Narrator]:
        """A part of the work; while it lasts, the time that it took so far is shown."""
        self._what, self._share = what, ""
        self._begun = self._told = time.monotonic()
        if not self._is_terminal:
            self._write(what)
        over = threading.Event()
        clock = threading.Thread(target=self._tick, args=(over,), daemon=True)
        clock.start()
        try:
            yield self
        finally:
            over.set()
            clock.join()
            self._end()

    def tell(self, done: float, total: float, unit: str) -> None:
        """How far the step is."""
        if unit == "bytes":
            share = f"{format_bytes(done)} of {format_bytes(total)}"
        else:
            share = f"{done:,.0f} of {total:,.0f} {unit}"
        self._share = share
        self._show()

    def note(self, text: str) -> None:
        """A line that stays."""
        with self._lock:
            self._clear()
            self._stream.write(text + "\n")
            self._stream.flush()

    def _tick(self, over: threading.Event) -> None:
        while not over.wait(self._pause):
            self._show()

    def _show(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._told < self._pause:
                return
            self._told = now
            share = f": {self._share}" if self._share else ""
            self._write(f"{self._what}{share} ({now - self._begun:.0f} s)")

    def _write(self, text: str) -> None:
        self._clear()
        self._stream.write(text + ("" if self._is_terminal else "\n"))
        self._stream.flush()

    def _end(self) -> None:
        took = time.monotonic() - self._begun
        with self._lock:
            self._clear()
            if took >= QUIET_SECONDS or self._is_terminal:
                self._stream.write(f"{self._what}: done in {took:.1f} s\n")
            self._stream.flush()

    def _clear(self) -> None:
        if self._is_terminal:
            self._stream.write("\r\033[K")
