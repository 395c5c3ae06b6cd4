"""From the engine's thread to the event loop: the pieces of one request, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tunesmith.serving.order import Delta, Listener, Order

if TYPE_CHECKING:
    from tunesmith.serving.engine import Engine, Row


class Flow:
    """The answers of one request; leaving it early frees their slots."""

    def __init__(self, engine: Engine, orders: Sequence[Order]) -> None:
        self._engine = engine
        self._queue: asyncio.Queue[tuple[int, Delta]] = asyncio.Queue()
        self._open = len(orders)
        listeners = [partial(self._hear, number) for number in range(len(orders))]
        self._rows: list[Row] = engine.submit(list(zip(orders, listeners, strict=True)))

    def _hear(self, number: int, delta: Delta) -> None:
        self._queue.put_nowait((number, delta))

    async def batches(self) -> AsyncIterator[list[tuple[int, Delta]]]:
        """(number of the order, piece), all that are there at once; raises a piece's error."""
        try:
            while self._open:
                batch = [await self._queue.get()]
                while not self._queue.empty():
                    batch.append(self._queue.get_nowait())
                for _, delta in batch:
                    if delta.error is not None:
                        raise delta.error
                    self._open -= delta.is_last
                yield batch
        finally:
            self.leave()

    def leave(self) -> None:
        """Nobody listens any more."""
        if self._open:
            self._engine.cancel(self._rows)
            self._open = 0


class Postman:
    """Carries pieces from the engine's thread into the event loop, all of a step in one go."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None

    def deliver(self, pieces: Sequence[tuple[Listener, Delta]]) -> None:
        """Called by the engine."""
        if self.loop is None or self.loop.is_closed():
            return  # the server has ended, so nobody listens
        self.loop.call_soon_threadsafe(_tell, pieces)


def _tell(pieces: Sequence[tuple[Listener, Delta]]) -> None:
    for listener, delta in pieces:
        listener(delta)
