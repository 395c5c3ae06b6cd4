"""Callers that were looked up a moment ago: a page that asks ten things asks once who it is.

A token that is revoked, or a role that is changed, counts at once in the process that did it, and
within a second in others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tunesmith.server.access import Caller

SECONDS: Final = 1.0
_MOST: Final = 10_000


class Known:
    """By the hash of their token; `clear` after every change of users, tokens, roles, projects."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._callers: dict[str, tuple[float, Caller]] = {}

    def get(self, token_hash: str) -> Caller | None:
        found = self._callers.get(token_hash)
        return found[1] if found is not None and self._clock() < found[0] else None

    def put(self, token_hash: str, caller: Caller) -> None:
        if len(self._callers) >= _MOST:
            self._callers.clear()
        bare = replace(caller, request_id="", address="", language="en")
        self._callers[token_hash] = (self._clock() + SECONDS, bare)

    def clear(self) -> None:
        self._callers.clear()
