"""Progress of what takes longer than a second: bytes that travel, tasks of the server."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from tunesmith.cli.work import progress
from tunesmith.schemas.tasks import TaskRead
from tunesmith.sdk.connection import OnBytes
from tunesmith.sdk.tasks import OnProgress


@dataclass(frozen=True)
class Shown:
    """What the client calls while it works."""

    sent: OnBytes
    got: OnBytes
    task: OnProgress


@contextmanager
def shown(*, stopped: str = "Stopped.", quiet: bool = False) -> Generator[Shown]:
    """A bar on a terminal, lines now and then elsewhere; `stopped`: what Ctrl-C leaves behind."""
    with progress(stopped=stopped, quiet=quiet) as advance:

        def task(told: TaskRead) -> None:
            made = told.progress
            kind = "wait" if told.state == "queued" else str(made.get("activity") or "Working")
            advance(kind, int(made.get("done") or 0), int(made.get("total") or 0))

        yield Shown(
            sent=lambda done, total: advance("upload", done, total),
            got=lambda done, total: advance("download", done, total),
            task=task,
        )
