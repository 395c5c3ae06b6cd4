"""Follow an engine to its end: show its events, pass an interrupt on, say how it ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

from tunesmith.cli.display import Display
from tunesmith.cli.progress import Notice, Progress, advance
from tunesmith.runs import RunDir, checkpoints, clear_control, read_events, write_control
from tunesmith.runs.launch import Engine, launch_engine
from tunesmith.runs.logs import open_log


class Launch(Protocol):
    """Starts an engine on a run: a fresh one, or the one on standby."""

    def __call__(self, run: RunDir, *, resume: bool) -> Engine: ...


PAUSED = 75
_POLL_SECONDS = 0.1
_LOG_BLOCK = 16384


@dataclass(frozen=True)
class Outcome:
    """How a training ended: finished, paused, failed, or died without a word."""

    status: str
    exit_code: int
    state: Progress
    message: str = ""
    hint: str = ""


def train_run(
    run: RunDir, *, resume: bool, display: Display, launch: Launch = launch_engine
) -> Outcome:
    """Start the engine on a run and follow it to its end. Read this function first."""
    clear_control(run)  # an old request must not end the new attempt
    old, offset = read_events(run)
    for event in old:
        display.state = advance(display.state, event)
    log_size = _log_size(run)
    engine = launch(run, resume=resume)
    with _interrupts() as interrupts:
        end = _follow(engine, run, offset, display, interrupts)
        failed = end is None and engine.returncode != 0
        silent = _log_size(run) == log_size and not read_events(run, offset)[0]
        if failed and silent and launch is not launch_engine and not interrupts.asked:
            # It died on standby, before it had a log. Once more, so that the log says why.
            engine = launch_engine(run, resume=resume)
            end = _follow(engine, run, offset, display, interrupts)
    display.close()
    if end is not None:
        return _told(engine, end, display.state)
    if interrupts.asked == 1 and engine.returncode in (PAUSED, -signal.SIGTERM):
        return Outcome("paused", PAUSED, display.state)  # before the engine could say anything
    if engine.returncode == 2 and (lines := tail_of_log(run, start=log_size)):
        # Wrong input that the engine met before it could write events: its log holds the error.
        return Outcome("failed", 2, display.state, "\n".join(lines).removeprefix("Error: "))
    message = _last_words(run, engine, display.state, log_size)
    return Outcome("died", 1, display.state, message, _died_hint(engine, interrupts))


def earlier_outcome(run: RunDir) -> Outcome | None:
    """The outcome of a run that has finished already; None when something is left to do."""
    events, _ = read_events(run)
    if not events or events[-1]["type"] != "finished":
        return None
    state = Progress()
    for event in events:
        state = advance(state, event)
    return Outcome("finished", 0, state)


class Interrupts:
    """Counts the requests of a user to stop: the first pauses, the second is not asked twice."""

    def __init__(self) -> None:
        self.asked = 0
        self.obeyed = 0

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked += 1


@contextmanager
def _interrupts() -> Generator[Interrupts]:
    interrupts = Interrupts()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interrupts) for number in signals]
    try:
        yield interrupts
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _follow(
    engine: Engine, run: RunDir, offset: int, display: Display, interrupts: Interrupts
) -> dict[str, Any] | None:
    """Show events until the engine is gone; its last word, if it had one."""
    end: dict[str, Any] | None = None
    while True:
        gone = engine.poll() is not None  # asked first: what follows then reads everything
        events, offset = read_events(run, offset)
        for event in events:
            display.show(event)
            if event["type"] in ("finished", "paused", "failed"):
                end = event
        if gone:
            return end
        if interrupts.obeyed < interrupts.asked:
            interrupts.obeyed += 1
            _pass_on(engine, run, display, interrupts.obeyed)
        display.tick()
        time.sleep(_POLL_SECONDS)


def _pass_on(engine: Engine, run: RunDir, display: Display, times: int) -> None:
    if times == 1:
        write_control(run, "pause", by="terminal")
        engine.send_signal(signal.SIGTERM)
        text = "Pausing: a checkpoint is saved after this step. Press Ctrl-C again to end at once."
        display.note(Notice("attention", text))
    else:
        display.note(
            Notice("attention", "Ending at once; steps since the last checkpoint are lost.")
        )
        _kill_group(engine)


def _kill_group(engine: Engine) -> None:
    """End the engine with all its children: it leads a process group of its own."""
    try:
        os.killpg(engine.pid, signal.SIGKILL)
    except ProcessLookupError:
        engine.poll()  # it was faster


def _told(engine: Engine, end: dict[str, Any], state: Progress) -> Outcome:
    """The outcome that the last event tells."""
    if end["type"] == "finished":
        return Outcome("finished", 0, state)
    if end["type"] == "paused":
        return Outcome("paused", PAUSED, state)
    code = 2 if engine.returncode == 2 else 1
    return Outcome("failed", code, state, str(end.get("message") or ""), str(end.get("hint") or ""))


def _last_words(run: RunDir, engine: Engine, state: Progress, log_start: int) -> str:
    code = engine.returncode
    how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with code {code}"
    kept = checkpoints(run)
    saved = f"; the last checkpoint is at step {kept[-1].step}" if kept else "; nothing was saved"
    lines = tail_of_log(run, start=log_start)
    log = "\n".join(["", f"The end of {run.log_path}:", *(f"  {line}" for line in lines)])
    return f"The engine {how} at step {state.step}{saved}.{log if lines else ''}"


def _died_hint(engine: Engine, interrupts: Interrupts) -> str:
    if engine.returncode == -signal.SIGKILL and interrupts.obeyed < 2:
        return "If nobody ended it, the system did because memory ran out: see `tunesmith plan`."
    return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def tail_of_log(run: RunDir, *, start: int = 0, lines: int = 8) -> list[str]:
    """The last lines with any text that the log of a run holds from byte `start` on."""
    try:
        with open_log(run.log_path) as log:
            begin = max(start, log.size - _LOG_BLOCK)
            text = log.read(begin, log.size - begin).decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    printable = ("".join(c if c.isprintable() else " " for c in line) for line in text.split("\n"))
    return [line.rstrip()[:200] for line in printable if line.strip()][-lines:]


def _log_size(run: RunDir) -> int:
    try:
        with open_log(run.log_path) as log:
            return log.size
    except FileNotFoundError:
        return 0
