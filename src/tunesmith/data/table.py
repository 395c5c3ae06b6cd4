"""Encoded rows on disk: one long run of token ids, memory-mapped, and small arrays about its rows.

    ids      uint32  all rows one after the other
    targets  uint8   1 where predicting the token counts in the loss
    offsets  int64   row i is ids[offsets[i]:offsets[i + 1]]
    splits   int64   where the worse answer of a pair begins in its row; 0 in rows that are no pairs
    marks    uint64  digests of the values of columns that a split was asked to look at
    notes    bytes   of questions: each one's record as JSON, for the rewards of answers

A record is one row of the user's data. It becomes several rows where a template renders its turns
apart or where a long document is split into windows; `records` says which rows belong together.
A pair is one row, question and better answer first, then question and worse answer: so whatever
counts, draws, or groups rows keeps the two together.
"""

from __future__ import annotations

import hashlib
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
    "splits": np.int64,
    "desirable": np.uint8,
    "margins": np.float32,
}
_USUAL = {"splits": 0, "desirable": 1, "margins": 0.0}
_ABOUT = "table.json"
_CODES = {
    np.int64: "q",
    np.uint16: "H",
    np.uint64: "Q",
    np.uint8: "B",
    np.float32: "f",
}  # of arrays


class TableBroken(ValueError):
    """A table on disk is not complete."""


@dataclass(frozen=True)
class Notes:
    """A text for each row, all behind each other; rows without notes have no offsets."""

    content: npt.NDArray[np.uint8]
    offsets: Ints

    @classmethod
    def open(cls, directory: Path, num_rows: int) -> Notes:
        """Map the notes of a written table; ValueError where they are short."""
        if not (directory / "notes.npy").is_file():
            return NO_NOTES
        offsets = np.load(directory / "notes.npy")
        if len(offsets) != num_rows + 1:
            raise ValueError(f"notes.npy has {len(offsets) - 1} entries instead of {num_rows}")
        return cls(_mapped(directory / "notes.bin", np.dtype(np.uint8), int(offsets[-1])), offsets)

    def of(self, row: int) -> bytes:
        """The note of one row; empty without."""
        if not len(self.offsets):
            return b""
        return self.content[int(self.offsets[row]) : int(self.offsets[row + 1])].tobytes()

    def take(self, rows: Ints) -> Notes:
        """Those of some rows."""
        if not len(self.offsets):
            return self
        parts = [self.of(int(row)) for row in rows]
        content = np.frombuffer(b"".join(parts), np.uint8)
        return Notes(content, _offsets(np.array([len(part) for part in parts], np.int64)))


NO_NOTES = Notes(np.zeros(0, np.uint8), np.zeros(0, np.int64))


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
    splits: Ints  # tokens of the better answer's side, 0 where the row is no pair
    desirable: npt.NDArray[np.uint8]  # 0 where the answer was found bad
    margins: npt.NDArray[np.float32]  # by how much the better answer of a pair is better
    marks: dict[str, Marks]  # by column, one for each row; see draws.py
    notes: Notes  # of questions; empty for other rows
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
            notes = Notes.open(directory, len(columns["lengths"]))
        except (OSError, ValueError, EOFError) as error:
            raise TableBroken(f"{directory}: {error}") from error
        offsets = _offsets(columns["lengths"])
        names = about["sources"]
        return cls(
            ids,
            targets,
            offsets,
            **columns,
            marks=marks,
            notes=notes,
            source_names=names,
            about=about,
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def content(self) -> str:
        """SHA-256 over the tokens and targets of all rows of the written table, in order."""
        return self.about["content"]

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

    def documents(self, index: int) -> list[tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]]:
        """Ids and targets of what is read apart from all else: the row, or both sides of a pair."""
        ids, targets = self.row(index)
        at = int(self.splits[index])
        return [(ids[:at], targets[:at]), (ids[at:], targets[at:])] if at else [(ids, targets)]

    @property
    def longest_document(self) -> int:
        """Tokens of the longest text that attention has to span."""
        return int(np.maximum(self.splits, self.lengths - self.splits).max(initial=0))

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
            notes=self.notes.take(rows),
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
        self,
        ids: npt.NDArray[np.uint32],
        targets: npt.NDArray[np.uint8],
        note: bytes = b"",
        **facts: float,
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
        self._notes = list[bytes]()
        self._content = hashlib.sha256()

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
        self,
        ids: npt.NDArray[np.uint32],
        targets: npt.NDArray[np.uint8],
        note: bytes = b"",
        **facts: float,
    ) -> None:
        """Append one row; `facts` are the columns that its tokens do not tell."""
        tokens, learned = ids.tobytes(), targets.tobytes()
        self._ids.write(tokens)
        self._targets.write(learned)
        self._content.update(len(ids).to_bytes(8, "little") + tokens + learned)
        known: dict[str, Any] = {
            **_USUAL,
            "lengths": len(ids),
            "label_counts": int(targets.sum()),
            **facts,
        }
        if known["splits"] or not known["desirable"]:
            judged = (known["splits"], known["desirable"], known["margins"])
            self._content.update(repr(judged).encode())
        if note:
            self._notes.append(note)
            self._content.update(note)
        for name, column in self._columns.items():
            column.append(known[name])
        if self._marked:
            self._marks.extend(self._marks_of_line[int(facts["lines"])])

    def finish(self, about: dict[str, Any]) -> None:
        """Write the small arrays; a table without them does not open."""
        for name, dtype in _COLUMNS.items():
            np.save(self._directory / f"{name}.npy", np.array(self._columns[name], dtype=dtype))
        marks, every = np.array(self._marks, np.uint64), len(self._marked)
        for number in range(every):
            np.save(self._directory / f"marks-{number}.npy", marks[number::every])
        if self._notes:  # every row has one, or none has
            (self._directory / "notes.bin").write_bytes(b"".join(self._notes))
            sizes = np.array([len(note) for note in self._notes], np.int64)
            np.save(self._directory / "notes.npy", _offsets(sizes))
        about = {**about, "columns": self._marked, "content": self._content.hexdigest()}
        (self._directory / _ABOUT).write_bytes(orjson.dumps(about))
