"""Progress of work on data: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import typer

from tunesmith.cli.language import chinese
from tunesmith.cli.progress import duration
from tunesmith.cli.terminal import say
from tunesmith.data.tokenise import Progress

_QUIET_SECONDS = 1.0  # work that is done sooner says nothing
_RATED_SECONDS = 0.5  # before that, a rate would be a guess
_LINE_SECONDS = 5.0  # between plain lines
_BAR = 30  # columns, where there is room
_WORDS_ZH = {
    "read": "读取",
    "download": "下载",
    "upload": "发送",
    "write": "写入",
    "tokenise": "统计 token",
    "match": "比对",
    "check": "检查",
    "copy": "复制",
    "measure": "计算",
    "wait": "等待服务器",
    "Scoring": "评分",
    "Answering": "回答",
    "Loading the model": "加载模型",
    "Comparing the models": "比较模型",
}
_SIDES_ZH = {"base": "基座", "tuned": "微调后", "base and tuned": "基座和微调后"}
_WORDS = {
    "read": "Reading",
    "download": "Downloading",
    "upload": "Sending",
    "write": "Writing",
    "tokenise": "Counting tokens",
    "match": "Comparing",
    "check": "Checking",
    "copy": "Copying",
    "measure": "Measuring",
    "wait": "Waiting for the server",
}


@contextmanager
def progress(
    *, quiet: bool = False, stopped: str = "Stopped; nothing was published."
) -> Generator[Progress]:
    """A function that takes (kind of work, done, total); total 0 where nobody knows.

    `stopped`: what Ctrl-C means for what was begun.
    """
    shown = _Nothing() if quiet else _Bar() if sys.stderr.isatty() else _Lines()
    try:
        yield shown.advance
    except KeyboardInterrupt:
        shown.close()
        say(stopped, to=sys.stderr)
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
        self._line = ""

    def advance(self, kind: str, done: int, total: int) -> None:
        seconds, now = self._seconds(kind), time.monotonic()
        if now - self._said < _LINE_SECONDS:
            return
        self._said = now
        told = _told(kind, done, total, seconds)
        line = f"{_word(kind)}: {told}" if told else _word(kind)
        if line != self._line:
            say(line, to=sys.stderr)
        self._line = line


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

        word, told, bar = _word(kind), _told(kind, done, total, seconds), Text()
        room = min(_BAR, self._live.console.width - len(word) - len(told) - 3)
        if total and room > 0:
            filled = round(room * min(1.0, done / total))
            bar.append("━" * filled, style="cyan")
            bar.append("━" * (room - filled), style="bright_black")
        self._live.update(
            Text.assemble(f"{word} ", bar, f" {told}", no_wrap=True, overflow="ellipsis")
        )

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()


def _word(kind: str) -> str:
    """Behind a comma stands which of two models is at work."""
    what, comma, side = kind.partition(", ")
    if not chinese():
        return _WORDS.get(what, what) + comma + side
    return _WORDS_ZH.get(what, what) + (f"（{_SIDES_ZH.get(side, side)}）" if side else "")


def _told(kind: str, done: int, total: int, seconds: float) -> str:
    """Such as `45% · 312 MB of 690 MB · 55 MB/s · 7 s left`."""
    share = [f"{done / total:.0%}"] if total else []
    of, remains = (" / {}", "剩余 {}") if chinese() else (" of {}", "{} left")
    amount = _amount(kind, done) + (of.format(_amount(kind, total)) if total else "")
    if seconds < _RATED_SECONDS or not done:
        return " · ".join([*share, *([amount] if done else [])])
    rate = done / seconds
    left = [remains.format(duration((total - done) / rate))] if total else []
    return " · ".join([*share, amount, f"{_amount(kind, rate, is_rate=True)}/s", *left])


def _amount(kind: str, number: float, *, is_rate: bool = False) -> str:
    if kind in ("read", "download", "upload", "copy"):
        return size(number)
    is_slow = is_rate and number < 10  # `0 rows/s` would look as if it stood
    figure = f"{number:.2g}" if is_slow else f"{int(number):,}"
    passes, rows = ("轮", "行") if chinese() else ("passes", "rows")
    return f"{figure} {passes if kind == 'match' else rows}"


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
