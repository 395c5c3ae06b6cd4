"""Encoded rows on disk: one long run of token ids, memory-mapped, and small arrays about its rows.

    ids      uint32  all rows one after the other
    targets  uint8   1 where predicting the token counts in the loss
    offsets  int64   row i is ids[offsets[i]:offsets[i + 1]]
    marks    uint64  digests of the values of columns that a split was asked to look at

A record is one row of the user's data. It becomes several rows where a template renders its turns
apart or where a long document is split into windows; `records` says which rows belong together.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import orjson

from tunesmith.data.columns import marks_of
from tunesmith.data.draws import Ints, Marks

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
_CODES = {np.int64: "q", np.uint16: "H", np.uint64: "Q"}  # of typed arrays: 8 bytes a value


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
    marks: dict[str, Marks]  # by column, one for each row; see draws.py
    source_names: list[str]
    about: dict[str, Any]

    @classmethod
    def open(cls, directory: Path) -> TokenTable:
        """Map a written table; TableBroken when a file is missing or short."""
        try:
            about: dict[str, Any] = orjson.loads((directory / _ABOUT).read_bytes())
            columns = {name: np.load(directory / f"{name}.npy") for name in _COLUMNS}
            marks = {
                name: np.load(directory / f"marks-{number}.npy")
                for number, name in enumerate(about.get("columns", []))
            }
            num_tokens = int(columns["lengths"].sum())
            ids = _mapped(directory / "ids.bin", np.dtype(np.uint32), num_tokens)
            targets = _mapped(directory / "targets.bin", np.dtype(np.uint8), num_tokens)
        except (OSError, ValueError, EOFError) as error:
            raise TableBroken(f"{directory}: {error}") from error
        offsets = _offsets(columns["lengths"])
        names = about["sources"]
        return cls(ids, targets, offsets, **columns, marks=marks, source_names=names, about=about)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def num_records(self) -> int:
        return int(self.records[-1]) + 1 if len(self) else 0

    @property
    def first_rows(self) -> Ints:
        """The first row of every record."""
        return np.flatnonzero(np.diff(self.records, prepend=-1))

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
            marks={name: marks[rows] for name, marks in self.marks.items()},
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


class RowSink(Protocol):
    """Takes encoded rows from the tokeniser."""

    keeps_digests: bool  # making one takes as long as everything else about a row

    def announce(self, rows: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """The raw rows, by line, that the next tokens come from."""
        ...

    def add(
        self, ids: npt.NDArray[np.uint32], targets: npt.NDArray[np.uint8], **facts: int
    ) -> None:
        """One row; `facts` are what its tokens do not tell."""
        ...

    def finish(self, about: dict[str, Any]) -> None:
        """All rows were added."""
        ...


class TableWriter:
    """Appends rows to a table in a new folder, with marks for some columns of the raw rows."""

    keeps_digests = True

    def __init__(self, directory: Path, columns: Sequence[str] = ()) -> None:
        self._directory = directory
        self._columns = {name: array(_CODES[dtype]) for name, dtype in _COLUMNS.items()}
        self._marked = tuple(columns)
        self._marks = array("Q")
        self._marks_of_line: dict[int, tuple[int, ...]] = {}

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

    def announce(self, rows: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """The raw rows, by line, that the next tokens come from."""
        if self._marked:
            self._marks_of_line = {line: marks_of(row, self._marked) for line, row in rows}

    def add(
        self, ids: npt.NDArray[np.uint32], targets: npt.NDArray[np.uint8], **facts: int
    ) -> None:
        """Append one row; `facts` are the columns that its tokens do not tell."""
        self._ids.write(ids.tobytes())
        self._targets.write(targets.tobytes())
        known = {"lengths": len(ids), "label_counts": int(targets.sum()), **facts}
        for name, column in self._columns.items():
            column.append(known[name])
        if self._marked:
            self._marks.extend(self._marks_of_line[facts["lines"]])

    def finish(self, about: dict[str, Any]) -> None:
        """Write the small arrays; a table without them does not open."""
        for name, dtype in _COLUMNS.items():
            np.save(self._directory / f"{name}.npy", np.array(self._columns[name], dtype=dtype))
        marks, every = np.array(self._marks, np.uint64), len(self._marked)
        for number in range(every):
            np.save(self._directory / f"marks-{number}.npy", marks[number::every])
        about = {**about, "columns": self._marked}
        (self._directory / _ABOUT).write_bytes(orjson.dumps(about))
