"""Encoded rows on disk: one long run of token ids, memory-mapped, and small arrays about its rows.

    ids      uint32  all rows one after the other
    targets  uint8   1 where predicting the token counts in the loss
    offsets  int64   row i is ids[offsets[i]:offsets[i + 1]]

A record is one row of the user's data. It becomes several rows where a template renders its turns
apart or where a long document is split into windows; `records` says which rows belong together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import orjson

Ints = npt.NDArray[np.int64]
_COLUMNS = {
    "lengths": np.int64,
    "full_lengths": np.int64,
    "label_counts": np.int64,
    "lines": np.int64,
    "records": np.int64,
    "sources": np.uint16,
    "digests": np.uint64,
}
_ABOUT = "table.json"


class TableBroken(ValueError):
    """A table on disk is not complete."""


@dataclass(frozen=True)
class TokenTable:
    """Rows of token ids with targets, and where each row comes from."""

    ids: npt.NDArray[np.uint32]
    targets: npt.NDArray[np.uint8]
    offsets: Ints
    lengths: Ints  # tokens
    full_lengths: Ints  # tokens before truncation
    label_counts: Ints  # supervised tokens
    lines: Ints  # line or row number in the source file, from 1
    records: Ints  # number of the record in this table, from 0, never falling
    sources: npt.NDArray[np.uint16]
    digests: npt.NDArray[np.uint64]  # equal for equal records
    source_names: list[str]
    about: dict[str, Any]

    @classmethod
    def open(cls, directory: Path) -> TokenTable:
        """Map a written table; TableBroken when a file is missing or short."""
        try:
            about: dict[str, Any] = orjson.loads((directory / _ABOUT).read_bytes())
            columns = {name: np.load(directory / f"{name}.npy") for name in _COLUMNS}
            num_tokens = int(columns["lengths"].sum())
            ids = _mapped(directory / "ids.bin", np.dtype(np.uint32), num_tokens)
            targets = _mapped(directory / "targets.bin", np.dtype(np.uint8), num_tokens)
        except (OSError, ValueError, EOFError) as error:
            raise TableBroken(f"{directory}: {error}") from error
        offsets = _offsets(columns["lengths"])
        return cls(ids, targets, offsets, **columns, source_names=about["sources"], about=about)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def num_records(self) -> int:
        return int(self.records[-1]) + 1 if len(self) else 0

    def row(self, index: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
        """Ids and targets of one row."""
        part = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return self.ids[part], self.targets[part]

    def rows_of(self, records: Ints) -> Ints:
        """The rows of some records, record by record."""
        starts = np.searchsorted(self.records, records, side="left")
        counts = np.searchsorted(self.records, records, side="right") - starts
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(starts, counts) + within

    def take(self, rows: Ints) -> TokenTable:
        """A small table in memory with these rows, whose records are counted from 0 again."""
        parts = [self.row(int(index)) for index in rows]
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        columns["records"] = np.unique(columns["records"], return_inverse=True)[1].astype(np.int64)
        return replace(
            self,
            ids=np.concatenate([ids for ids, _ in parts] or [np.zeros(0, np.uint32)]),
            targets=np.concatenate([targets for _, targets in parts] or [np.zeros(0, np.uint8)]),
            offsets=_offsets(columns["lengths"]),
            **columns,
        )


def _offsets(lengths: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _mapped(file: Path, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    expected = count * dtype.itemsize
    if file.stat().st_size != expected:
        raise ValueError(f"{file.name} has {file.stat().st_size} bytes instead of {expected}")
    if count == 0:  # an empty file cannot be mapped
        return np.zeros(0, dtype)
    return np.memmap(file, dtype=dtype, mode="r", shape=(count,))


class TableWriter:
    """Appends rows to a table in a new folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._columns: dict[str, list[int]] = {name: [] for name in _COLUMNS}

    def __enter__(self) -> TableWriter:
        self._ids: BinaryIO = (self._directory / "ids.bin").open("wb")
        self._targets: BinaryIO = (self._directory / "targets.bin").open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ids.close()
        self._targets.close()

    def add(
        self, ids: npt.NDArray[np.uint32], targets: npt.NDArray[np.uint8], **facts: int
    ) -> None:
        """Append one row; `facts` are the columns that its tokens do not tell."""
        self._ids.write(ids.tobytes())
        self._targets.write(targets.tobytes())
        known = {"lengths": len(ids), "label_counts": int(targets.sum()), **facts}
        for name, column in self._columns.items():
            column.append(known[name])

    def finish(self, about: dict[str, Any]) -> None:
        """Write the small arrays; a table without them does not open."""
        for name, dtype in _COLUMNS.items():
            np.save(self._directory / f"{name}.npy", np.array(self._columns[name], dtype=dtype))
        (self._directory / _ABOUT).write_bytes(orjson.dumps(about))
