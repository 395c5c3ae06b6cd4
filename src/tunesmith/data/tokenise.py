"""Files to a token table: read, convert, render, encode, fit; every row is accounted for."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunesmith.data.encoder import Encoded, Encoder
from tunesmith.data.formats import SAMPLE_ROWS, Layout, find_layout
from tunesmith.data.pool import in_order, num_processes, one_ahead
from tunesmith.data.readers import NOTICES, OnProblem, Row, Rows, read_rows
from tunesmith.data.renderer import EncodedRow, Renderer
from tunesmith.data.sides import View
from tunesmith.data.table import RowSink
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from tunesmith.recipe import Dataset

BATCH_ROWS = 256
_LARGE = 16 << 20  # bytes
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Source:
    """One file of a dataset in the recipe; `dataset` counts the recipe's datasets from 0."""

    file: Path
    name: str
    dataset: int
    wanted: Dataset
    max_rows: int | None
    encoding: str | None = None


@dataclass(frozen=True)
class Fit:
    """How rows are read, and what happens to long ones: the recipe's word, or windows for texts."""

    limit: int  # tokens
    overlong: Literal["truncate", "drop", "error", "windows"]
    context: int | None = None  # what the model has positions for
    view: View = "answers"


class Tokeniser:
    """Writes the records of some files into one table."""

    def __init__(
        self,
        renderer: Renderer,
        fit: Fit,
        writer: RowSink,
        on_progress: Progress,
        *,
        skips_bad_lines: bool = False,
    ) -> None:
        self._skips_bad_lines = skips_bad_lines  # counts what training stops at
        self._renderer = renderer
        self._fit = fit
        self._writer = writer
        self._on_progress = on_progress
        self._writes_tools = "tools" in renderer.chat_template
        self._num_records = 0
        self._rows_read = Counter[int]()  # by dataset

    def run(self, sources: Sequence[Source]) -> None:
        """Tokenise all files and finish the table."""
        tallies = [self._file(number, source) for number, source in enumerate(sources)]
        self._writer.finish(
            {
                "sources": [source.name for source in sources],
                "datasets": [source.dataset for source in sources],
                "tallies": [tally.to_json() for tally in tallies],
            }
        )

    def _file(self, number: int, source: Source) -> Tally:
        tally = Tally(source.name)
        skip = _counting(tally) if self._skips_bad_lines else None
        rows, layout = _begin(source, skip)
        room = self._room(source)
        tally.format, tally.why = layout.format, layout.why
        encoder = Encoder(self._renderer, layout, self._fit.view)
        waiting: deque[list[tuple[int, Row]]] = deque()
        batches = _remembered(_batches(islice(rows, room)), waiting)
        for encoded in _encoded(encoder, batches, source.file):
            self._writer.announce(waiting.popleft())
            self._take(number, encoded, tally)
            self._rows_read[source.dataset] += encoded.rows_read
            self._on_progress("tokenise", self._rows_read.total(), 0)
        tally.rows_unused = sum(1 for _ in rows)
        if self._fit.overlong == "error" and tally.truncated.count:
            raise _overlong(tally, self._fit)
        return tally

    def _room(self, source: Source) -> int | None:
        """How many rows the dataset may still give; None without a limit."""
        if source.max_rows is None:
            return None
        return source.max_rows - self._rows_read[source.dataset]

    def _take(self, number: int, encoded: Encoded, tally: Tally) -> None:
        """Count and write what became of a batch."""
        tally.rows_read += encoded.rows_read
        tally.untrained_turns += encoded.untrained
        for reason, line, example in encoded.dropped:
            tally.drop(reason, line, example)
        told = zip(encoded.lines, encoded.has_tools, encoded.records(), strict=True)
        for line, has_tools, rows in told:
            if has_tools and not self._writes_tools:
                tally.tools_ignored.add(line)
            self._record(number, line, rows, tally)

    def _record(self, number: int, line: int, rows: list[EncodedRow], tally: Tally) -> None:
        longest = max(row.longest for row in rows)
        is_overlong = longest > self._fit.limit and self._fit.overlong != "windows"
        if is_overlong and self._fit.overlong == "drop":
            tally.drop("overlong", line, f"{longest} tokens")
            return
        if is_overlong and self._fit.overlong == "error":
            tally.truncated.add(line)  # the whole file is read first, to name all of them
            return
        parts = [part for row in rows for part in self._fitted(row)]
        asks = self._fit.view == "prompts"  # what is learned there is not written yet
        fitted = parts if asks else [part for part in parts if _teaches(part)]
        if len(fitted) < len(rows) and self._fit.view == "judged":
            fitted = []  # one half of a pair says nothing about the other
        if any(_is_same_twice(part) for part in fitted):
            tally.drop("answers_equal_after_truncation" if is_overlong else "answers_equal", line)
            return
        if not fitted:
            reason = "no_trainable_tokens"
            tally.drop(f"{reason}_after_truncation" if is_overlong else reason, line)
            return
        if is_overlong:
            tally.truncated.add(line)
        self._write(number, line, rows, fitted)
        tally.rows_kept += 1
        tally.training_rows += len(fitted)
        if len(fitted) > 1 and self._fit.view in ("answers", "documents"):
            (tally.windows if self._fit.overlong == "windows" else tally.turns_apart).add(line)

    def _fitted(self, row: EncodedRow) -> Iterator[EncodedRow]:
        """The beginning of a row, or all windows of a document."""
        limit = self._fit.limit
        if row.longest <= limit:
            yield row
            return
        if row.split:
            yield _cut_pair(row, limit)
            return
        starts = range(0, len(row.ids), limit) if self._fit.overlong == "windows" else (0,)
        for start in starts:
            targets = row.targets[start : start + limit].copy()
            targets[0] = 0  # nothing comes before it in this row
            part = row.ids[start : start + limit]
            yield EncodedRow(part, targets, desirable=row.desirable)

    def _write(
        self, number: int, line: int, rows: Sequence[EncodedRow], fitted: Sequence[EncodedRow]
    ) -> None:
        full = [row.longest for row in rows]
        lengths = full if len(full) == len(fitted) else [len(part.ids) for part in fitted]
        digest = _digest(rows) if self._writer.keeps_digests else 0
        for part, full_length in zip(fitted, lengths, strict=True):
            self._writer.add(
                part.ids,
                part.targets,
                note=part.note,
                full_lengths=full_length,
                lines=line,
                records=self._num_records,
                sources=number,
                digests=digest,
                splits=part.split,
                desirable=int(part.desirable),
                margins=part.margin,
            )
        self._num_records += 1


def _cut_pair(row: EncodedRow, limit: int) -> EncodedRow:
    """The beginning of each side of a pair."""
    sides = [(ids[:limit], targets[:limit]) for ids, targets in row.documents()]
    return EncodedRow(
        np.concatenate([ids for ids, _ in sides]),
        np.concatenate([targets for _, targets in sides]),
        split=len(sides[0][0]),
        margin=row.margin,
    )


def _teaches(row: EncodedRow) -> bool:
    """Whether there is something to learn, on both sides of a pair."""
    return all(targets.any() for _, targets in row.documents())


def _is_same_twice(row: EncodedRow) -> bool:
    """A pair whose two sides are one text: neither is better."""
    if not row.split:
        return False
    (chosen, _), (rejected, _) = row.documents()
    return np.array_equal(chosen, rejected)


def longer_rows_need(limit: int, context: int | None) -> str:
    """What to do about rows beyond the limit: the context of the model is the end of advice."""
    if context is None:
        return "Raise data.max_length, or split or shorten these rows"
    if limit < context:
        return (
            f"Raise data.max_length (this model takes {context} tokens at most), or split or "
            "shorten these rows"
        )
    return (
        f"{context} tokens are all that this model takes: split or shorten these rows, or choose a "
        "model with a longer context"
    )


def _counting(tally: Tally) -> OnProblem:
    """Counts a line that holds no row as one that was read and dropped."""

    def count(line: int, problem: DataError) -> None:
        if problem.code not in NOTICES:
            tally.rows_read += 1
            tally.drop(problem.code, line)

    return count


def _begin(source: Source, on_problem: OnProblem | None) -> tuple[Rows, Layout]:
    rows = read_rows(source.file, encoding=source.encoding, on_problem=on_problem)
    first = list(islice(rows, SAMPLE_ROWS))
    if not first:
        raise DataError(
            f"{source.name} holds no row that can be read.",
            hint="`tunesmith data check` says what is wrong with its lines.",
            code="no_rows",
            name=source.name,
        )
    layout = find_layout([row for _, row in first], source.wanted, source.name)
    return chain(first, rows), layout


def _batches(rows: Rows) -> Iterator[list[tuple[int, Row]]]:
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _remembered(
    batches: Iterator[list[tuple[int, Row]]], waiting: deque[list[tuple[int, Row]]]
) -> Iterator[list[tuple[int, Row]]]:
    """The batches, each also left in `waiting`."""
    for batch in batches:
        waiting.append(batch)
        yield batch


def _encoded(
    encoder: Encoder, batches: Iterator[list[tuple[int, Row]]], file: Path
) -> Iterator[Encoded]:
    """A large file in processes; for a small one it takes longer to start them than to read it."""
    if file.stat().st_size >= _LARGE and num_processes() > 1:
        return in_order(encoder, batches, processes=num_processes())
    return one_ahead(encoder, batches)


def _digest(rows: Sequence[EncodedRow]) -> int:
    """64 bits of the record's whole content before it is cut."""
    hashed = hashlib.blake2b(digest_size=8)
    for row in rows:
        hashed.update(np.int64(len(row.ids)).tobytes())
        hashed.update(row.ids.tobytes())
        hashed.update(row.targets.tobytes())
        if row.note:
            hashed.update(row.note)
        if not row.desirable or row.margin:
            hashed.update(repr((row.desirable, row.margin)).encode())
    return int.from_bytes(hashed.digest(), "little")


def _overlong(tally: Tally, fit: Fit) -> DataError:
    lines = ", ".join(map(str, tally.truncated.lines[:10]))
    return DataError(
        f"{tally.source}: {tally.truncated.count} rows are longer than {fit.limit} tokens "
        f"(first lines: {lines}), and data.overlong is 'error'.",
        hint=f"{longer_rows_need(fit.limit, fit.context)}, or set data.overlong to truncate or "
        "drop.",
        code="overlong_rows",
        rows=tally.truncated.count,
        limit=fit.limit,
        lines=tally.truncated.lines,
    )
