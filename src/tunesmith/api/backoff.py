"""Guessing gets slower: each failed sign-in makes the next one wait longer, in this process.

    with backoff.guess(account="li.na", address="10.0.0.7"):
        sign_in(...)                  # NotAuthenticated counts, success is forgiven

A try counts when it begins, so that many at once are as slow as one after the other. Tokens are not
asked for here: whoever has one goes on working, whatever others try with the name.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

from tunesmith.server.errors import NotAuthenticated, RateLimited

ACCOUNT_TRIES: Final = 5  # free ones, before the first wait
ADDRESS_TRIES: Final = 20  # more, since an office may have one address
FIRST_WAIT: Final = 2.0  # seconds; each further failure doubles it
ACCOUNT_WAIT: Final = 300.0  # at most, so that nobody is kept out for long by somebody else
ADDRESS_WAIT: Final = 900.0
FORGOTTEN_AFTER: Final = 3600.0  # without a failure
_MOST_KEYS: Final = 10_000


class SignInPaused(RateLimited):
    """There were too many failed sign-ins of this account or from this address."""

    code = "sign_in_paused"


@dataclass
class _Failures:
    """The failures of one account or one address."""

    count: int = 0
    until: float = 0.0
    last: float = 0.0


class _Waits:
    """Failures by key, the least recent forgotten when there are too many keys."""

    def __init__(self, tries: int, longest: float) -> None:
        self._tries, self._longest = tries, longest
        self._by_key: OrderedDict[str, _Failures] = OrderedDict()

    def left(self, key: str, now: float) -> float:
        found = self._by_key.get(key)
        return max(0.0, found.until - now) if found is not None else 0.0

    def count(self, key: str, now: float) -> int:
        """One more; how many there are."""
        found = self._by_key.pop(key, None)
        if found is None or now - found.last > FORGOTTEN_AFTER:
            found = _Failures()
        found.count, found.last = found.count + 1, now
        if found.count >= self._tries:
            doubled = min(found.count - self._tries, 30)
            found.until = now + min(self._longest, FIRST_WAIT * 2.0**doubled)
        self._by_key[key] = found
        if len(self._by_key) > _MOST_KEYS:
            self._by_key.popitem(last=False)
        return found.count

    def forgive(self, key: str) -> None:
        """It was no failure after all."""
        found = self._by_key.get(key)
        if found is not None:
            found.count, found.until = max(0, found.count - 1), 0.0

    def forget(self, key: str) -> None:
        self._by_key.pop(key, None)


class Backoff:
    """Waits by account and by address; `on_failure` is told of each failure."""

    def __init__(
        self,
        on_failure: Callable[[str, str, int, float], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_failure`: account, address, failures of the account, seconds to wait now."""
        self._on_failure, self._clock = on_failure, clock
        self._accounts = _Waits(ACCOUNT_TRIES, ACCOUNT_WAIT)
        self._addresses = _Waits(ADDRESS_TRIES, ADDRESS_WAIT)
        self._lock = Lock()

    @contextmanager
    def guess(self, account: str, address: str) -> Generator[None]:
        """Around one try; SignInPaused while there is a wait."""
        account = account.casefold()[:200]
        failures = self._begin(account, address)
        try:
            yield
        except NotAuthenticated:
            self._on_failure(account, address, failures, self._left(account, address))
            raise
        except BaseException:
            with self._lock:
                self._accounts.forgive(account)
                self._addresses.forgive(address)
            raise
        with self._lock:
            self._accounts.forget(account)
            # Not forgotten: who has an account here may not guess those of others with it.
            self._addresses.forgive(address)

    def _begin(self, account: str, address: str) -> int:
        now = self._clock()
        with self._lock:
            wait = max(self._accounts.left(account, now), self._addresses.left(address, now))
            if wait <= 0:
                self._addresses.count(address, now)
                return self._accounts.count(account, now)
        seconds = math.ceil(wait)
        raise SignInPaused(
            f"There were too many failed sign-ins; the next one is possible in {seconds} seconds.",
            hint="Wait, or ask an administrator for a new password. Tokens work as before.",
            retry_after=seconds,
        )

    def _left(self, account: str, address: str) -> float:
        now = self._clock()
        with self._lock:
            return max(self._accounts.left(account, now), self._addresses.left(address, now))
