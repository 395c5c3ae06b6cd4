"""Progress of work on data: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import typer

from tunesmith.cli.progress import duration
from tunesmith.cli.terminal import say
from tunesmith.data.tokenise import Progress

_QUIET_SECONDS = 1.0  # work that is done sooner says nothing
_RATED_SECONDS = 0.5  # before that, a rate would be a guess
_LINE_SECONDS = 5.0  # between plain lines
_WORDS = {
    "read": "Reading",
    "download": "Downloading",
    "write": "Writing",
    "tokenise": "Counting tokens",
    "match": "Comparing",
}


@contextmanager
def progress(*, quiet: bool = False) -> Generator[Progress]:
    """A function that takes (kind of work, done, total); total 0 where nobody knows."""
    shown = _Nothing() if quiet else _Bar() if sys.stderr.isatty() else _Lines()
    try:
        yield shown.advance
    except KeyboardInterrupt:
        shown.close()
        say("Stopped; nothing was published.", to=sys.stderr)
        raise typer.Exit(130) from None
    finally:
        shown.close()


class _Nothing:
    def advance(self, kind: str, done: int, total: int) -> None:
        """Take in how far the work is."""

    def close(self) -> None:
        """The work has ended."""


class _Clock(_Nothing):
    """Seconds of the work at hand: each kind has a rate of its own."""

    def __init__(self) -> None:
        self._kind = ""
        self._started = time.monotonic()

    def _seconds(self, kind: str) -> float:
        now = time.monotonic()
        if kind != self._kind:
            self._kind, self._started = kind, now
        return now - self._started


class _Lines(_Clock):
    """A line now and then, for logs."""

    def __init__(self) -> None:
        super().__init__()
        self._said = time.monotonic()

    def advance(self, kind: str, done: int, total: int) -> None:
        seconds, now = self._seconds(kind), time.monotonic()
        if now - self._said < _LINE_SECONDS:
            return
        self._said = now
        say(f"{_word(kind)}: {_told(kind, done, total, seconds)}", to=sys.stderr)


class _Bar(_Clock):
    """One line that moves, gone when the work is done."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()
        self._live: Any = None

    def advance(self, kind: str, done: int, total: int) -> None:
        seconds = self._seconds(kind)
        if time.monotonic() - self._began < _QUIET_SECONDS:
            return
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=8)
            self._live.start()
        from rich.text import Text

        bar = Text()
        if total:
            filled = round(30 * min(1.0, done / total))
            bar.append("━" * filled, style="cyan").append("━" * (30 - filled), style="bright_black")
        self._live.update(
            Text.assemble(f"{_word(kind)} ", bar, f" {_told(kind, done, total, seconds)}")
        )

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()


def _word(kind: str) -> str:
    return _WORDS.get(kind, kind)


def _told(kind: str, done: int, total: int, seconds: float) -> str:
    """Such as `45% · 312 MB of 690 MB · 55 MB/s · 7 s left`."""
    share = [f"{done / total:.0%}"] if total else []
    amount = _amount(kind, done) + (f" of {_amount(kind, total)}" if total else "")
    if seconds < _RATED_SECONDS or not done:
        return " · ".join([*share, *([amount] if done else [])])
    rate = done / seconds
    left = [f"{duration((total - done) / rate)} left"] if total else []
    return " · ".join([*share, amount, f"{_amount(kind, int(rate))}/s", *left])


def _amount(kind: str, number: int) -> str:
    if kind in ("read", "download"):
        return size(number)
    return f"{number:,} {'passes' if kind == 'match' else 'rows'}"


def size(number: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "KB", "MB"):
        if number < 1000:
            return (
                f"{number:.0f} {unit}"
                if unit == "bytes" or number >= 10
                else f"{number:.1f} {unit}"
            )
        number /= 1000
    return f"{number:.1f} GB"
