"""Several requests under way at once, as many as wanted and no more; answers as they come."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from tunesmith.evaluation.endpoint import Asker

Item = TypeVar("Item")
Result = TypeVar("Result")


def as_answered(
    asker: Asker, ask: Callable[[Item], Result], items: Iterable[Item], parallel: int
) -> Generator[tuple[Item, Result]]:
    """Each item with its result; an error, or an end of the caller, abandons what is under way."""
    waiting = iter(items)
    pool = ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="requests")
    under_way: dict[Future[Result], Item] = {}
    try:
        under_way.update((pool.submit(ask, item), item) for item in islice(waiting, parallel))
        while under_way:
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                item = under_way.pop(future)
                result = future.result()
                for following in islice(waiting, 1):
                    under_way[pool.submit(ask, following)] = following
                yield item, result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        asker.abandon(under_way)
        pool.shutdown()
