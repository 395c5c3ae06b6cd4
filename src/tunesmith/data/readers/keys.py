"""Keys that one JSON object names twice: parsers keep the last value and say nothing.

A parsed row has as many keys as its text has closing quotes with a colon behind, unless a key was
lost. Counting both costs about a fiftieth of an import; only the few pieces whose counts differ are
looked at again, and only their odd lines parsed once more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

_END_OF_KEY = int.from_bytes(b'":', "little")
_ESCAPE = ord("\\")


def may_have_doubled_keys(text: bytes, rows: Sequence[Any]) -> bool:
    """False when the parsed rows certainly have all keys of their text."""
    written = _num_written(text)
    if written == _num_shallow(rows):
        return False
    try:
        return written != _num_written(orjson.dumps(rows))
    except orjson.JSONEncodeError:  # deeper than it writes
        return True


def doubled_key(text: bytes) -> str | None:
    """The first key that an object within a JSON text names twice."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            found.append(next(name for name in names if names.count(name) > 1))

    try:
        json.loads(text, object_pairs_hook=note)
    except (ValueError, RecursionError):  # what only orjson reads is left to it
        return None
    return found[0] if found else None


def _num_written(text: bytes) -> int:
    """Quotes with a colon behind; within a text they have a backslash before them."""
    characters = np.frombuffer(text, np.uint8)
    return sum(_num_at(characters, offset) for offset in (0, 1))


def _num_at(characters: npt.NDArray[np.uint8], offset: int) -> int:
    """Those that begin at even or at odd places, found two characters at a time."""
    pairs = characters[offset : offset + (len(characters) - offset) // 2 * 2].view("<u2")
    at = np.flatnonzero(pairs == _END_OF_KEY) * 2 + offset
    return int(np.count_nonzero(characters[at[at > 0] - 1] != _ESCAPE))


def _num_shallow(rows: Sequence[Any]) -> int:
    """The keys of the rows and of the objects in their lists, as rows of messages have them.

    A wrong number where rows differ or hold something else: then they are looked at again.
    """
    total = sum(map(len, rows))
    try:
        for name, value in rows[0].items() if rows else ():
            if type(value) is list:
                lists = map(itemgetter(name), rows)
                total += sum(map(len, chain.from_iterable(lists)))
    except (KeyError, TypeError):
        return -1
    return total
