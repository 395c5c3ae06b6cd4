"""Pairs of rows of a version that say nearly the same, to be compared side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from tunesmith.data.check.duplicates import (
    SIMILARITY,
    Keys,
    NearDuplicates,
    band_keys,
    exact_duplicates,
)
from tunesmith.data.check.inspect import texts_of
from tunesmith.data.store import Version
from tunesmith.data.store.rows import StoredRow, stored_rows
from tunesmith.data.tokenise import Progress

MOST_PAIRS: Final = 1000
_EXCERPT: Final = 400  # characters
_AT_ONCE: Final = 256  # pairs that are compared


@dataclass(frozen=True)
class Pair:
    """A row, and an earlier one that it nearly repeats; `similarity` is estimated."""

    row: int
    same_as: int
    similarity: float
    text: str
    same_text: str


@dataclass(frozen=True)
class NearPairs:
    """How many rows nearly repeat an earlier one, and the first of them with their pairs."""

    rows: int
    near: int
    exact: int  # rows that repeat an earlier one word for word; no pairs
    pairs: list[Pair]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "similarity_from": SIMILARITY}


def near_pairs(version: Version, *, on_progress: Progress) -> NearPairs:
    """All pairs are found, as `check` finds them; the texts of the first thousand are kept."""
    _, repeated = exact_duplicates(version.column("digest"))
    exact = set(repeated.tolist())
    with (
        tempfile.TemporaryDirectory(prefix="near-") as folder,
        NearDuplicates(Path(folder)) as near,
    ):
        done = 0
        for keys in _keys(version):
            near.add(keys)
            done += len(keys)
            on_progress("read", done, version.manifest.rows)
        found = [
            (earlier, later)
            for earlier, later in near.groups(lambda at, of: on_progress("match", at, of))
            if later not in exact
        ]
    shown = found[:MOST_PAIRS]
    return NearPairs(version.manifest.rows, len(found), len(exact), _told(version, shown))


def _keys(version: Version) -> Iterator[Keys]:
    for batch in version.batches():
        yield _keys_of([_text(row) for row in stored_rows([batch])])


def _keys_of(texts: list[str]) -> Keys:
    return band_keys(pa.array(texts, pa.large_string()))


def _text(row: StoredRow) -> str:
    question, answer, whole = texts_of(row.record)
    return f"{question}\n{answer}" if whole is None else whole


def _told(version: Version, pairs: list[tuple[int, int]]) -> list[Pair]:
    """Pairs by their places as pairs of ids and texts."""
    wanted = sorted({place for pair in pairs for place in pair})
    ids, texts = dict[int, int](), dict[int, str]()
    for place, row in _rows_at(version, wanted):
        ids[place], texts[place] = row.id, _text(row)
    told: list[Pair] = []
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs[start : start + _AT_ONCE]
        mine = _keys_of([texts[later] for _, later in some]).view(np.uint16)
        theirs = _keys_of([texts[earlier] for earlier, _ in some]).view(np.uint16)
        same = (mine == theirs).mean(axis=1).tolist()
        told += [
            Pair(
                ids[later],
                ids[earlier],
                round(share, 3),
                texts[later][:_EXCERPT],
                texts[earlier][:_EXCERPT],
            )
            for (earlier, later), share in zip(some, same, strict=True)
        ]
    return told


def _rows_at(version: Version, places: list[int]) -> Iterator[tuple[int, StoredRow]]:
    """The rows at some places, counted from 0, in order."""
    start, left = 0, iter(places)
    place = next(left, None)
    for batch in version.batches():
        while place is not None and place < start + len(batch):
            yield place, next(stored_rows([batch.slice(place - start, 1)]))
            place = next(left, None)
        start += len(batch)
