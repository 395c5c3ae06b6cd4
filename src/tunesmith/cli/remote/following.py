"""A job of the server on this terminal, as `tunesmith train` shows a run of this machine.

A thread reads the events, over as many connections as it takes; the terminal shows them, moves its
clock on, and hears Ctrl-C at once. Read `follow` first.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import replace
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

from tunesmith.cli.display import Display, choose_display
from tunesmith.cli.progress import Event, Notice, Progress, duration
from tunesmith.cli.remote.tables import short_id
from tunesmith.cli.terminal import command_line, complain, printable, say, table
from tunesmith.schemas.jobs import EventRead, JobDetails
from tunesmith.sdk import Client
from tunesmith.sdk.jobs import FINAL

PAUSED: Final = 75
LEFT: Final = 130  # as a shell says it of a program that Ctrl-C has ended
_TICK_SECONDS: Final = 0.25
_ASK_SECONDS: Final = 5.0  # how often a job that waits is asked what for
_WAITING: Final = {
    "validating_files": "Checking the files",
    "queued": "Waiting for a device",
    "starting": "Starting",
    "pausing": "Saving a checkpoint",
}
_News = SimpleQueue[EventRead | Exception | None]


def follow(
    client: Client,
    job_id: str,
    *,
    quiet: bool = False,
    json: bool = False,
    told: Collection[str] = (),
) -> JobDetails:
    """Show a job until it has ended or is paused; KeyboardInterrupt leaves it as it is.

    `told` are notices that the reader has seen already.
    """
    display = choose_display(sys.stderr if json else sys.stdout, quiet=quiet)
    try:
        return _watch(client, job_id, display, told)
    finally:
        display.close()


def follow_and_report(
    client: Client,
    job_id: str,
    *,
    quiet: bool = False,
    json: bool = False,
    told: Collection[str] = (),
) -> int:
    """Follow, and say how it ended; the exit code."""
    try:
        job = follow(client, job_id, quiet=quiet, json=json, told=told)
    except KeyboardInterrupt:
        here = command_line("jobs", "follow", short_id(job_id))
        say(f"\nThe job goes on without this terminal. Come back with\n  {here}", to=sys.stderr)
        return LEFT
    report(job, silent=json)
    return exit_code(job)


def exit_code(job: JobDetails) -> int:
    if job.status == "succeeded":
        return 0
    return PAUSED if job.status == "paused" else 1


def report(job: JobDetails, *, silent: bool = False) -> None:
    """How it ended, and what to type next."""
    here = short_id(job.id)
    if job.status == "failed":
        error = job.error or {}
        again = f"When that is mended: {command_line('jobs', 'retry', here)}"
        hint = "\n".join(filter(None, [str(error.get("hint") or ""), again]))
        complain(str(error.get("message") or job.reason or "The job has failed."), hint)
    elif silent:
        return
    elif job.status == "paused":
        resume = command_line("jobs", "resume", here)
        say(f"\nPaused at step {job.step}, checkpoint saved. Go on with\n  {resume}")
    elif job.status == "cancelled":
        say(f"\nCancelled at step {job.step}; its checkpoints are kept.")
    else:
        _say_finished(job)


def _say_finished(job: JobDetails) -> None:
    took = ""
    if job.started_at is not None and job.finished_at is not None:
        took = f" in {duration((job.finished_at - job.started_at).total_seconds())}"
    loss = f", loss {job.loss:.4f}" if job.loss is not None else ""
    say(f"\nFinished{took}: {job.step} steps{loss}.")
    rows = [("job", job.id)]
    if job.model_id is not None:
        rows.append(("model", job.model_id))
    say(table(rows))
    if job.model_id is not None:
        get = command_line("models", "download", short_id(job.model_id), "--to", "result")
        say(f"\nTake it home:\n  {get}")


def _watch(client: Client, job_id: str, display: Display, told: Collection[str]) -> JobDetails:
    news: _News = SimpleQueue()
    Thread(target=_read, args=(client, job_id, news), daemon=True).start()
    asks_at = math.inf
    while True:
        if time.monotonic() >= asks_at:
            asks_at = time.monotonic() + _ASK_SECONDS
            waits_for = _what_it_waits_for(client, job_id)
            if waits_for is not None and waits_for.text not in told:
                display.note(waits_for)
        try:
            event = news.get(timeout=_TICK_SECONDS)
        except Empty:
            display.tick()
            continue
        if isinstance(event, Exception):
            raise event
        if event is None or _ends(event):
            job = client.jobs.get(job_id)
            if event is None or job.status in FINAL or _is_last(job, event):
                return job
        if event.type == "status":
            asks_at = time.monotonic() + 1 if event.data.get("to") == "queued" else math.inf
        _show(display, event)


def _what_it_waits_for(client: Client, job_id: str) -> Notice | None:
    """More than its turn: no worker with its device, or a limit of its user."""
    job = client.jobs.get(job_id)
    if job.status != "queued" or job.waits_for is None:
        return None
    return Notice("note", printable(job.waits_for.message), printable(job.waits_for.hint))


def _read(client: Client, job_id: str, news: _News) -> None:
    """Every event into the queue; None behind the last, or the error that ended it."""
    try:
        for event in client.jobs.follow(job_id):
            news.put(event)
        news.put(None)
    except Exception as error:
        news.put(error)


def _ends(event: EventRead) -> bool:
    return event.type == "status" and event.data.get("to") in ("paused", *FINAL)


def _is_last(job: JobDetails, event: EventRead) -> bool:
    """Whether a pause is the present one, not one that was gone on from since."""
    return job.status == "paused" and event.number >= job.event_count


def _show(display: Display, event: EventRead) -> None:
    for told in as_run_events(event):
        display.show(told)
    if event.type == "status":
        if event.data.get("to") == "starting":
            # The clock and the smoothed curve of an attempt are its own; its steps go on.
            display.state = replace(display.state, status="starting", activity=None)
        if event.data.get("reason") and event.data.get("to") in ("queued", "starting"):
            display.note(Notice("note", printable(event.message)))
    display.tick()


def as_run_events(event: EventRead) -> Iterable[Event]:
    """An event of the server as the displays know them from the directory of a run."""
    if event.type == "status":
        activity = _WAITING.get(str(event.data.get("to")))
        if activity is not None:
            yield {"type": "progress", "activity": activity}
        return
    if event.seq is None:  # of the platform itself: nothing of the training
        return
    told: dict[str, Any] = {**event.data, "type": event.type, "attempt": event.attempt}
    yield {key: _plain(value) for key, value in told.items()}


def _plain(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def losses(state: Progress) -> str:
    """The smoothed loss and that of the validation, for one line."""
    parts = [f"loss {state.smoothed:.4f}"] if state.smoothed is not None else []
    if state.validation is not None:
        parts.append(f"validation loss {state.validation[1]:.4f}")
    return ", ".join(parts)
