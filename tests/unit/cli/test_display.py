"""The same progress on a terminal, in a log, and quietly."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import threading
from pathlib import Path

import pytest

from tunesmith.cli.display import LiveDisplay, PlainDisplay, QuietDisplay, choose_display
from tunesmith.cli.progress import Notice

EVENTS = [
    {"type": "started", "name": "客服", "stage": "sft", "attempt": 1},
    {"type": "progress", "activity": "tokenise", "done": 0, "total": 10, "unit": "rows"},
    {"type": "progress", "activity": "tokenise", "done": 9, "total": 10, "unit": "rows"},
    {"type": "warning", "code": "truncated", "message": "12 rows [bold]truncated", "hint": "see"},
    *({"type": "step", "step": n, "total_steps": 50, "loss": 5 / n} for n in range(1, 51)),
    {"type": "evaluation", "step": 50, "loss": 0.5, "best": True},
    {"type": "finished", "step": 50},
]


def test_a_log_gets_a_line_now_and_then_without_control_characters() -> None:
    stream, now = io.StringIO(), 0.0
    display = PlainDisplay(stream, every_seconds=10, clock=lambda: now)
    for event in EVENTS:
        display.show(event)
        now += 1.0
    display.close()
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    steps = [line.split()[1] for line in text.splitlines() if line.startswith("step ")]
    assert steps == ["1/50", "11/50", "21/50", "31/50", "41/50", "50/50", "50:"]
    assert text.count("Tokenising") == 1
    assert "Warning: 12 rows [bold]truncated\n  see\n" in text


def test_quiet_shows_only_warnings() -> None:
    stream = io.StringIO()
    display = QuietDisplay(stream)
    for event in EVENTS:
        display.show(event)
    assert stream.getvalue() == "Warning: 12 rows [bold]truncated\n  see\n"
    assert display.state.status == "finished"


def test_a_notice_that_was_shown_is_not_repeated_by_the_engine() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    display.note(Notice("note", "rows are few", "add some"))
    display.show({"type": "warning", "message": "rows are few", "hint": "add some"})
    assert stream.getvalue() == "Note: rows are few\n  add some\n"


def _terminal_output(encoding: str) -> str:
    """What a live display writes to a real pseudo-terminal."""
    master, slave = pty.openpty()
    content: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(master, content))
    reader.start()  # a terminal that nobody reads blocks the one who writes
    with open(slave, "w", encoding=encoding, errors="replace") as stream:
        display = LiveDisplay(stream, clock=iter(range(10_000)).__next__)
        for event in EVENTS:
            display.show(event)
            display.tick()
        display.close()
    reader.join()
    os.close(master)
    return b"".join(content).decode(encoding, "replace")


def _read_all(handle: int, content: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # the other end was closed
        while data := os.read(handle, 65536):
            content.append(data)


def test_a_terminal_gets_a_panel_and_markup_in_messages_is_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    text = _terminal_output("utf-8")
    assert "━" in text
    assert "客服" in text
    assert "12 rows [bold]truncated" in text
    assert "50/50 100%" in text


def test_a_terminal_without_unicode_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS row 34."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    text = _terminal_output("ascii")
    assert "####" in text
    assert "�" not in text


def test_the_display_suits_the_stream(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        assert isinstance(choose_display(stream, quiet=False), PlainDisplay)
        assert isinstance(choose_display(stream, quiet=True), QuietDisplay)
