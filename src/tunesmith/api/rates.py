"""How often one may ask: a bucket of tokens for each caller, in the memory of this process."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

from tunesmith.server.errors import RateLimited

_MOST_KEYS: Final = 10_000  # those who have asked least lately are forgotten


class Rates:
    """`a_minute` requests each, all at once or spread; 0 is no limit."""

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_minute, self._clock = a_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, key: str) -> None:
        """One request of `key`; RateLimited with the seconds until the next one is free."""
        self._refuse(self._take(key) if self._a_minute else 0.0)

    def _refuse(self, wait: float) -> None:
        if wait > 0:
            raise RateLimited(
                f"There were more than {self._a_minute} requests in a minute.",
                hint=f"Try again in {wait:.0f} seconds.",
                retry_after=max(1, math.ceil(wait)),
            )

    def refuse(self, key: str) -> None:
        """RateLimited where `take` would be, without taking: for what counts only when it fails."""
        self._refuse(self._take(key, 0.0) if self._a_minute else 0.0)

    def _take(self, key: str, amount: float = 1.0) -> float:
        """Seconds to wait; 0 where there was room."""
        now, a_second = self._clock(), self._a_minute / 60
        with self._lock:
            left, then = self._buckets.pop(key, (float(self._a_minute), now))
            left = min(float(self._a_minute), left + (now - then) * a_second)
            fits = left >= 1
            self._buckets[key] = (left - amount if fits else left, now)
            if len(self._buckets) > _MOST_KEYS:
                self._buckets.popitem(last=False)
        return 0.0 if fits else (1 - left) / a_second
