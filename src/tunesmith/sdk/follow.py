"""The events of a job as they happen, over connections that may break."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import httpx

from tunesmith.schemas.jobs import EventRead, JobDetails
from tunesmith.sdk.connection import ApiError, Connection, NotReachable

_FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})
_PATIENCE: Final = 120.0  # seconds without a server until it counts as gone
_SILENCE: Final = 60.0  # a server sends a comment every 15 seconds


def follow(connection: Connection, job_id: str, after: int) -> Iterator[EventRead]:
    """Events behind the number `after`, each once and in order, until the job has ended."""
    place = f"/api/v1/jobs/{job_id}/events/stream"
    broken_since: float | None = None
    while True:
        try:
            for event in _stream(connection, place, after):
                after, broken_since = event.number, None
                yield event
            if _has_ended(connection, job_id, after):
                return
            broken_since = None
        except (httpx.TransportError, NotReachable, ApiError) as error:
            hopeless = isinstance(error, ApiError) and error.status < 500 and error.status != 429
            broken_since = broken_since or time.monotonic()
            if hopeless or time.monotonic() - broken_since > _PATIENCE:
                if isinstance(error, httpx.TransportError):
                    raise connection.not_reachable(error) from error
                raise
        time.sleep(0.5)


def _stream(connection: Connection, place: str, after: int) -> Iterator[EventRead]:
    headers = {"Last-Event-ID": str(after), "Accept": "text/event-stream"}
    timeout = httpx.Timeout(_SILENCE, connect=5.0)
    with connection.stream(place, headers=headers, timeout=timeout) as answer:
        parser = _Parser()
        for line in answer.iter_lines():
            data = parser.feed(line)
            if data is not None:
                yield EventRead.model_validate_json(data)


def _has_ended(connection: Connection, job_id: str, after: int) -> bool:
    job = connection.get(f"/api/v1/jobs/{job_id}", JobDetails)
    return job.status in _FINAL and job.event_count <= after


@dataclass
class _Parser:
    """Lines of server-sent events to their data (HTML standard, section 9.2)."""

    _data: list[str] = field(default_factory=list[str])

    def feed(self, line: str) -> str | None:
        """The data of an event, at the empty line behind it."""
        if not line:
            data, self._data = "\n".join(self._data), []
            return data or None
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        return None
