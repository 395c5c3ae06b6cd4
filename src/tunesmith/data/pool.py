"""Work on the pieces of a dataset in several processes, results in the order of the pieces."""

from __future__ import annotations

import gc
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from typing import Any, TypeVar

from tunesmith.errors import RunFailed

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_PROCESSES = 8
_AHEAD = 2  # pieces that wait for each process: bounds the memory


def num_processes() -> int:
    """The cores that this process may use, 8 at most; TUNESMITH_PROCESSES says otherwise."""
    wanted = os.environ.get("TUNESMITH_PROCESSES", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    return min(
        MAX_PROCESSES, len(os.sched_getaffinity(0)) if _HAS_AFFINITY else os.cpu_count() or 1
    )


_HAS_AFFINITY = hasattr(os, "sched_getaffinity")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, processes: int
) -> Iterator[Result]:
    """work(item) for each item; one process works in place.

    `work` is pickled once for each process, items and results each time.
    """
    if processes < 2:
        yield from map(work, items)
        return
    context = get_context("spawn")  # a fork would copy the threads' locks of this process
    settings: dict[str, Any] = {"mp_context": context, "initializer": _prepare, "initargs": (work,)}
    with ProcessPoolExecutor(processes, **settings) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                with _interrupts_held_back():  # submitting starts processes
                    waiting.append(pool.submit(_do, item))
                if len(waiting) > processes * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise RunFailed(
                "A process that was reading the data ended unexpectedly; it may have been out of "
                "memory.",
                hint="Run the command again with TUNESMITH_PROCESSES=1.",
                code="process_lost",
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def one_ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """work(item) for each item, in a thread that is one item ahead of whoever takes the results.

    For work that leaves the interpreter free most of the time, as a tokenizer does.
    """
    with ThreadPoolExecutor(1) as thread:
        before: Future[Result] | None = None
        for item in items:
            coming = thread.submit(work, item)
            if before is not None:
                yield before.result()
            before = coming
        if before is not None:
            yield before.result()


@contextmanager
def _interrupts_held_back() -> Generator[None]:
    """A new process inherits what is held back: it never hears of Ctrl-C, not even while it starts.

    This process hears of it a moment later.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_work: Callable[[Any], Any] | None = None  # of this process


def _do(item: Any) -> Any:
    assert _work is not None
    return _work(item)


def _prepare(work: Callable[[Any], Any]) -> None:
    """Take the work over. Ctrl-C reaches the whole group; only the parent decides what it means.

    Rows hold no cycles, and looking for some among so many takes a fifth of the time.
    """
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each process has a core of its own
    global _work
    _work = work
