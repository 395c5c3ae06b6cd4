"""Streams of server-sent events: what is stored first, then what happens, without a gap.

A stream holds no thread and no connection to the database; it waits for the feed (server/feed.py),
and reads the database only where its client is behind.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from anyio import to_thread
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from tunesmith.errors import InputError, TunesmithError
from tunesmith.server.feed import MOST_A_TICK, Feed, Message, Watch

PING_SECONDS: Final = 15
SEND_SECONDS: Final = 60.0  # a client that takes nothing for so long is gone
CHECK_SECONDS: Final = 60.0  # how often a stream asks whether its reader still may
_LONGEST_NUMBER: Final = 18

Check = Callable[[], object]


def last_number(header: str | None, after: int) -> int:
    """Where a stream goes on: behind the number of Last-Event-ID, else behind `after`."""
    if header is None or not header.strip():
        return after
    text = header.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
        raise InputError(
            f"Last-Event-ID is {text[:100]!r}, and the ids of this stream are numbers.",
            hint="Send the id of the last event that you have, or no such header.",
            code="bad_event_id",
            param="Last-Event-ID",
        )
    return int(text)


def streamed(events: AsyncIterator[bytes]) -> Response:
    """The answer; a comment comes every quarter of a minute when nothing happens."""
    return EventSourceResponse(events, ping=PING_SECONDS, send_timeout=SEND_SECONDS, sep="\n")


async def job_events(feed: Feed, job_id: str, after: int, may: Check) -> AsyncIterator[bytes]:
    """All events of a job behind a number, to its last; `may` raises once the reader may not."""
    place, checks = _Place(after), _Checks(may)
    with feed.watch(job_id) as watch:
        while not place.ended:
            async for texts in _stored(feed, job_id, place):
                yield texts
            async for text in _live(watch, place, checks):
                yield text
            if checks.refused:
                return


class _Place:
    """How far a stream is."""

    def __init__(self, number: int) -> None:
        self.number, self.ended = number, False

    def pass_on(self, message: Message) -> None:
        self.number, self.ended = message.number, message.is_last


class _Checks:
    """Asks now and then whether the reader still may read."""

    def __init__(self, may: Check) -> None:
        self._may, self._next, self.refused = may, time.monotonic() + CHECK_SECONDS, False

    async def still(self) -> bool:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + CHECK_SECONDS
            try:
                await to_thread.run_sync(self._may)
            except TunesmithError:
                self.refused = True
        return not self.refused


async def _stored(feed: Feed, job_id: str, place: _Place) -> AsyncIterator[bytes]:
    """What the database has behind the place, in parts."""
    while not place.ended:
        found = await feed.stored(job_id, place.number)
        if found:
            place.pass_on(found[-1])
            yield b"".join(message.text or b"" for message in found)
        if len(found) < MOST_A_TICK:
            return


async def _live(watch: Watch, place: _Place, checks: _Checks) -> AsyncIterator[bytes]:
    """What the feed says, until a number is missing, or it is over."""
    while not place.ended and await checks.still():
        message = await watch.next(CHECK_SECONDS)
        if message is None:
            continue
        if message.is_last and message.text is None and message.number == 0:  # deleted
            place.ended = True
            return
        if message.number <= place.number:
            continue
        if message.text is None or message.number > place.number + 1:
            return
        place.pass_on(message)
        yield message.text


async def all_events(feed: Feed, projects: frozenset[str], may: Check) -> AsyncIterator[bytes]:
    """States of all jobs of some projects as they change, and their events but steps."""
    checks = _Checks(may)
    with feed.watch(projects=projects) as watch:
        yield b"event: ready\ndata: {}\n\n"
        while await checks.still():
            message = await watch.next(CHECK_SECONDS)
            if message is not None:
                # A page that was too slow to follow loads its list again.
                yield message.text or b"event: reload\ndata: {}\n\n"
