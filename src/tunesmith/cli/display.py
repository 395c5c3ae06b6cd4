"""Where progress goes: a live panel on a terminal, plain lines anywhere else, or nowhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from tunesmith.cli.progress import (
    ASCII,
    UNICODE,
    Event,
    Notice,
    Progress,
    activity_text,
    advance,
    notices,
    panel,
    plain_line,
)
from tunesmith.cli.terminal import say

_STYLES = {
    "title": "bold",
    "strong": "bold",
    "faint": "dim",
    "bar": "cyan",
    "bar_rest": "bright_black",
    "activity": "cyan",
    "info": "",
    "note": "cyan",
    "attention": "yellow",
    "good": "green",
    "warning": "yellow",
    "error": "bold red",
    "": "",
}


class Display:
    """Shows events as they come. `state` is what they add up to."""

    def __init__(self) -> None:
        self.state = Progress()
        self._noted: set[Notice] = set()

    def show(self, event: Event) -> None:
        """Take an event in, and leave on the screen what it has to say."""
        self.state = advance(self.state, event)
        for notice in notices(event):
            self.note(notice)

    def note(self, notice: Notice) -> None:
        """A line that stays; the engine may repeat what the command line has said already."""
        key = Notice("", notice.text)
        if key not in self._noted:
            self._noted.add(key)
            self._write_notice(notice)

    def tick(self) -> None:
        """Time has passed."""

    def close(self) -> None:
        """The training has ended."""

    def _write_notice(self, notice: Notice) -> None:
        raise NotImplementedError


class QuietDisplay(Display):
    """Only warnings and errors."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def _write_notice(self, notice: Notice) -> None:
        if notice.style in ("warning", "error"):
            say(notice_text(notice), to=self._stream)


class PlainDisplay(Display):
    """One line now and then, without control characters: for logs and pipes."""

    def __init__(
        self,
        stream: TextIO,
        every_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._stream = stream
        self._every = every_seconds
        self._clock = clock
        self._last_time = -every_seconds
        self._last_activity = ""
        self._last_text = ""

    def show(self, event: Event) -> None:
        super().show(event)
        kind = event.get("type")
        if kind == "started":
            say(" | ".join(self.state.title), to=self._stream)
        elif kind == "step":
            self._step()
        elif kind == "progress":
            self._activity(str(event.get("activity")))

    def _write_notice(self, notice: Notice) -> None:
        say(notice_text(notice), to=self._stream)

    def _step(self) -> None:
        ends = self.state.step in (1, self.state.total_steps)
        if ends or self._clock() - self._last_time >= self._every:
            self._write(plain_line(self.state))

    def _activity(self, name: str) -> None:
        quick = name in ("evaluate", "save")  # their results are lines of their own
        late = self._clock() - self._last_time >= self._every
        text = activity_text(self.state)
        if (late and text != self._last_text) or (name != self._last_activity and not quick):
            self._last_activity, self._last_text = name, text
            self._write(text)

    def _write(self, line: str) -> None:
        self._last_time = self._clock()
        say(line, to=self._stream)


class LiveDisplay(Display):
    """A panel at the foot of the terminal; what stays scrolls up above it."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__()
        self._clock = clock
        self._start = clock()
        self._drawn = 0.0
        self._console = Console(file=stream, highlight=False)
        unicode = (stream.encoding or "ascii").lower().startswith("utf")
        self._marks = UNICODE if unicode else ASCII
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self._draw()

    def _write_notice(self, notice: Notice) -> None:
        from rich.text import Text

        self._console.print(Text(notice_text(notice), style=_STYLES.get(notice.style, "")))

    def tick(self) -> None:
        """Redraw, at most four times a second: the screen must not slow the training."""
        if self._clock() - self._drawn >= 0.25:
            self._draw()

    def close(self) -> None:
        if self._live.is_started:
            self._draw(last=True)
            self._live.stop()

    def _draw(self, *, last: bool = False) -> None:
        from rich.console import Group
        from rich.text import Text

        self._drawn = self._clock()
        lines = panel(
            self.state,
            width=self._console.width,
            elapsed=self._drawn - self._start,
            marks=self._marks,
        )
        texts = [
            Text.assemble(
                *((text, _STYLES.get(style, "")) for text, style in line),
                no_wrap=True,
                overflow="ellipsis",
            )
            for line in lines
        ]
        if last and self.state.step:
            self._live.transient = False
        self._live.update(Group(*texts), refresh=True)


def notice_text(notice: Notice) -> str:
    """A notice as one or two lines."""
    prefix = {"note": "Note: ", "warning": "Warning: ", "error": "Error: "}.get(notice.style, "")
    hint = f"\n  {notice.hint}" if notice.hint else ""
    return f"{prefix}{notice.text}{hint}"


def choose_display(stream: TextIO, *, quiet: bool) -> Display:
    """The display that suits a stream: live on a terminal, plain lines elsewhere."""
    import os

    if quiet:
        return QuietDisplay(stream)
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return LiveDisplay(stream)
    return PlainDisplay(stream)
