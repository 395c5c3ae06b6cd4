"""The event stream of a run: append-only JSON lines, written by one engine, read by anyone.

An event is identified by (run, attempt, seq). A crash can tear the last line; the next writer
repairs that, and a reader leaves a half-written line for later.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import orjson

from tunesmith.runs.files import storage_errors
from tunesmith.runs.lock import read_holder
from tunesmith.runs.rundir import RunDir

Event = dict[str, Any]
_BLOCK = 64 * 1024


class EventWriter:
    """Appends events of one attempt. One writer at a time: hold the lock of the run."""

    def __init__(
        self, run: RunDir, attempt: int, *, clock: Callable[[], datetime] | None = None
    ) -> None:
        self._run = run
        self._attempt = attempt
        self._clock = clock or _now
        self._guard = threading.Lock()
        with storage_errors(run.events_path):
            self._file = os.open(run.events_path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            _repair_last_line(self._file)
        last = last_event(run)
        self._seq = last["seq"] + 1 if last and last.get("attempt") == attempt else 1

    def emit(self, event_type: str, **fields: Any) -> None:
        """Append one whole line; NaN and infinity become null."""
        with self._guard:  # a background thread may report progress while the loop reports steps
            event = {
                "run": self._run.name,
                "attempt": self._attempt,
                "seq": self._seq,
                "time": self._clock().isoformat(timespec="milliseconds"),
                "type": event_type,
                **fields,
            }
            line = _encode(event)
            with storage_errors(self._run.events_path):
                # First: a signal handler that raises once the line is there must not let the
                # next event have its number, too.
                self._seq += 1
                self._append(line)

    def _append(self, line: bytes) -> None:
        size = os.fstat(self._file).st_size
        view = memoryview(line)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            self._seq -= 1
            # Leave no half line behind; should that fail too, the next writer repairs it.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            raise

    def fsync(self) -> None:
        """Wait until all events are on the disk; called with each checkpoint."""
        with storage_errors(self._run.events_path):
            os.fsync(self._file)

    def close(self) -> None:
        """Sync and close; closing twice is harmless."""
        if self._file >= 0:
            handle, self._file = self._file, -1
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(
    path: Path | RunDir, offset: int = 0, *, most_bytes: int | None = None
) -> tuple[list[Event], int]:
    """All whole events from a byte offset on, and the offset to go on from.

    `most_bytes` bounds what is read at once, give or take a line; then read on from there.

    An offset within a line skips to the next one. A whole line that is no event (a disk that lost
    power can leave one) is reported in its place as a `warning` event with code `broken_event`.
    """
    path = path.events_path if isinstance(path, RunDir) else path
    try:
        with path.open("rb") as file:
            start = _line_start(file, offset)
            data = file.read(-1 if most_bytes is None else most_bytes)
            if data and not data.endswith(b"\n"):  # the rest of the line that it was cut in
                data += file.readline()
    except FileNotFoundError:
        return [], 0
    end = data.rfind(b"\n") + 1
    events: list[Event] = []
    position = start
    for line in data[:end].split(b"\n")[:-1]:
        if line.strip():
            events.append(_decode(line, position))
        position += len(line) + 1
    return events, start + end


def last_event(run: RunDir) -> Event | None:
    """The last whole event, read from the end of the file; None when there is none."""
    try:
        with run.events_path.open("rb") as file:
            position = file.seek(0, os.SEEK_END)
            tail = b""
            while position > 0:
                size = min(_BLOCK, position)
                position -= size
                file.seek(position)
                tail = file.read(size) + tail
                event = _last_event_in(tail, starts_at_line=position == 0)
                if event is not None:
                    return event
    except FileNotFoundError:
        return None
    return None


def next_attempt(run: RunDir) -> int:
    """One more than the highest attempt so far, one that died before its first event included."""
    event = last_event(run)
    holder = read_holder(run.lock_path)
    return max(int(event["attempt"]) if event else 0, holder.attempt if holder else 0) + 1


def _now() -> datetime:
    return datetime.now(UTC)


def _encode(event: Event) -> bytes:
    try:
        # orjson writes NaN and infinity as null, which is what the contract asks for.
        return orjson.dumps(
            event, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
        )
    except orjson.JSONEncodeError:
        line = json.dumps(_harmless(event), ensure_ascii=False, allow_nan=False)
        return line.encode("utf-8") + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"an event cannot hold a {type(value).__name__}")


def _harmless(value: Any) -> Any:
    """The same value as plain JSON: odd file names and scalars of numpy and torch made harmless."""
    if isinstance(value, str | Path):
        return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {
            str(_harmless(key)): _harmless(item)
            for key, item in cast("Mapping[Any, Any]", value).items()
        }
    if isinstance(value, Sequence | set | frozenset):
        return [_harmless(item) for item in cast("Sequence[Any]", value)]
    item = getattr(value, "item", None)  # a numpy or torch scalar
    if callable(item):
        return _harmless(item())
    raise TypeError(f"an event cannot hold a {type(value).__name__}")


def _decode(line: bytes, position: int) -> Event:
    event = _try_decode(line)
    if event is not None:
        return event
    return {
        "type": "warning",
        "code": "broken_event",
        "message": f"The line at byte {position} of events.jsonl is damaged and was left out "
        f"({len(line)} bytes).",
        "hint": "",
    }


def _try_decode(line: bytes) -> Event | None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return cast("Event", event) if isinstance(event, dict) and "type" in event else None


def _last_event_in(tail: bytes, *, starts_at_line: bool) -> Event | None:
    lines = tail[: tail.rfind(b"\n") + 1].split(b"\n")
    for line in reversed(lines if starts_at_line else lines[1:]):
        event = _try_decode(line) if line.strip() else None
        if event is not None and {"attempt", "seq"} <= event.keys():
            return event
    return None


def _line_start(file: Any, offset: int) -> int:
    """Move to the first line that starts at or after `offset`."""
    if offset <= 0:
        return 0
    offset = min(offset, file.seek(0, os.SEEK_END))
    file.seek(offset - 1)
    if file.read(1) == b"\n":
        return offset
    rest = file.readline()
    return offset + len(rest) if rest.endswith(b"\n") else offset


def _repair_last_line(handle: int) -> None:
    """Cut a torn last line off; a whole one that lacks only its line end gets it."""
    size = os.fstat(handle).st_size
    start, tail = size, b""
    while start > 0 and b"\n" not in tail:
        step = min(_BLOCK, start)
        start -= step
        tail = os.pread(handle, step, start) + tail
    line = tail[tail.rfind(b"\n") + 1 :]
    if not line:
        return
    if _try_decode(line) is not None:
        os.write(handle, b"\n")
    else:
        os.ftruncate(handle, size - len(line))
