"""The log of a job: its end at once, older parts on request, all of it as a download.

Offsets count the bytes since the job first printed something, and stay what they are when the
oldest parts of a long log are dropped (tunesmith.runs.logs).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tunesmith.runs.logs import OpenLog, open_log
from tunesmith.server.access import Caller
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import NotFound
from tunesmith.server.services.jobs import visible

MOST_BYTES: Final = 1 << 20
_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class LogPart:
    """A part of a log as text, and the bytes that it is; those before `first` are gone."""

    text: str
    start: int
    end: int
    size: int
    first: int = 0


@dataclass(frozen=True)
class WholeLog:
    """All that is kept of a log, to be sent; `size` is its number of bytes."""

    size: int
    blocks: Iterator[bytes]


class JobLogs:
    """What the process of a job printed."""

    def __init__(self, database: Database, place: DataDir) -> None:
        self._database, self._place = database, place

    def part(
        self, caller: Caller, job_id: str, *, start: int | None = None, num_bytes: int = 65_536
    ) -> LogPart:
        """So many bytes from `start` on, or the last ones; whole lines where they fit.

        A job that has not started has an empty log.
        """
        path = self._path(caller, job_id)
        num_bytes = min(max(num_bytes, 1), MOST_BYTES)
        try:
            with open_log(path) as log:
                return _read(log, start, num_bytes)
        except FileNotFoundError:
            return LogPart("", 0, 0, 0)

    def whole(self, caller: Caller, job_id: str) -> WholeLog:
        """All that is kept, as it is now; NotFound before the job has started."""
        path = self._path(caller, job_id)
        stack = ExitStack()
        try:
            log = stack.enter_context(open_log(path))
        except FileNotFoundError:
            raise NotFound(
                f"Job {job_id} has no log yet.",
                hint="It begins when a worker starts the job.",
                code="no_log",
                id=job_id,
            ) from None
        return WholeLog(log.size - log.first, _sent(log, stack))

    def _path(self, caller: Caller, job_id: str) -> Path:
        with self._database.read() as session:
            job = visible(session, caller, job_id)
        return self._place.run(job.id) / "logs" / "train.log"


def plain_text(data: bytes) -> str:
    """Text without colours and other orders to a terminal; a progress line becomes lines."""
    text = _ESCAPES.sub("", data.decode("utf-8", "replace"))
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _sent(log: OpenLog, stack: ExitStack) -> Iterator[bytes]:
    with stack:
        yield from log.blocks()


def _read(log: OpenLog, start: int | None, num_bytes: int) -> LogPart:
    is_tail, size = start is None, log.size
    begin = max(log.first, size - num_bytes) if start is None else max(log.first, min(start, size))
    data = log.read(begin, num_bytes)
    if is_tail and begin > 0 and b"\n" in data:  # the end of a line whose beginning is not here
        cut = data.index(b"\n") + 1
        begin, data = begin + cut, data[cut:]
    if begin + len(data) < size and b"\n" in data:
        data = data[: data.rindex(b"\n") + 1]
    return LogPart(plain_text(data), begin, begin + len(data), size, log.first)
