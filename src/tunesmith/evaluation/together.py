"""Both models of one process take the exam at the same time, so the base is loaded once.

Each side runs in a thread of its own; progress of both is told as one. What goes wrong on one side,
or Ctrl-C, ends the other at its next answer: what was answered is kept as ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from tunesmith.evaluation.predictions import OnProgress

Result = TypeVar("Result")


class _Abandoned(Exception):
    """The other side failed, or the user stopped both."""


class _Progress:
    """What two threads tell, as one."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._sides: dict[int, tuple[str, int, int]] = {}
        self.stopped = False

    def of(self, side: int) -> OnProgress:
        def tell(kind: str, done: int, total: int) -> None:
            with self._lock:
                if self.stopped:
                    raise _Abandoned
                self._sides[side] = (kind, done, total)
                same = [told for told in self._sides.values() if told[0] == kind]
                self._on_progress(kind, sum(t[1] for t in same), sum(t[2] for t in same))

        return tell


def both(
    first: Callable[[OnProgress], Result],
    second: Callable[[OnProgress], Result],
    on_progress: OnProgress,
) -> tuple[Result, Result]:
    """The results of two functions that run at once; the first error ends both."""
    progress = _Progress(on_progress)
    with ThreadPoolExecutor(2, thread_name_prefix="side") as pool:
        futures = [pool.submit(one, progress.of(n)) for n, one in enumerate((first, second))]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            progress.stopped = any(not future.done() for future in futures)
    for future in futures:
        _raise_own(future)
    return futures[0].result(), futures[1].result()


def _raise_own(future: Future[Result]) -> None:
    """The error of a side, unless it only followed the other's."""
    error = future.exception()
    if error is not None and not isinstance(error, _Abandoned):
        raise error
