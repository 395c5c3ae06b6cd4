"""Files to a token table: read, convert, render, encode, fit; every row is accounted for."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunesmith.data.conversation import Conversation, Record
from tunesmith.data.convert import RowUnusable, to_learn
from tunesmith.data.formats import SAMPLE_ROWS, Layout, find_layout
from tunesmith.data.readers import OnProblem, Row, Rows, read_rows
from tunesmith.data.renderer import EncodedRow, Rendered, Renderer, texts_in
from tunesmith.data.table import RowSink
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Encoding

    from tunesmith.recipe import Dataset

BATCH_ROWS = 256
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
    """What happens to long rows: `windows` splits documents, the others are the recipe's words."""

    limit: int  # tokens
    overlong: Literal["truncate", "drop", "error", "windows"]


@dataclass(frozen=True)
class _Batch:
    """Rows on their way: rendered, and being encoded."""

    rows: list[tuple[int, Row]]
    lines: list[int]
    records: list[Record]
    rendered: list[Rendered]
    encodings: Future[list[Encoding]]


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
        with ThreadPoolExecutor(1) as encoder:
            waiting: _Batch | None = None
            for batch in _batches(islice(rows, room)):
                begun = self._begin_batch(batch, layout, tally, encoder)
                if waiting is not None:
                    self._end_batch(number, source, waiting, tally)
                waiting = begun
            if waiting is not None:
                self._end_batch(number, source, waiting, tally)
        tally.rows_unused = sum(1 for _ in rows)
        if self._fit.overlong == "error" and tally.truncated.count:
            raise _overlong(tally, self._fit.limit)
        return tally

    def _room(self, source: Source) -> int | None:
        """How many rows the dataset may still give; None without a limit."""
        if source.max_rows is None:
            return None
        return source.max_rows - self._rows_read[source.dataset]

    def _begin_batch(
        self, batch: list[tuple[int, Row]], layout: Layout, tally: Tally, encoder: Executor
    ) -> _Batch:
        """Convert, render, and let another thread encode: that needs no Python lock, so it runs
        while the batch before is written."""
        lines, records = _records(batch, layout, tally)
        render = (
            self._renderer.render_document
            if self._fit.overlong == "windows"
            else self._renderer.render
        )
        rendered = [render(record) for record in records]
        encodings = encoder.submit(self._renderer.tokenizer.encode_with_offsets, texts_in(rendered))
        return _Batch(batch, lines, records, rendered, encodings)

    def _end_batch(self, number: int, source: Source, batch: _Batch, tally: Tally) -> None:
        self._writer.announce(batch.rows)
        encoded = self._renderer.with_targets(batch.rendered, batch.encodings.result())
        by_record = _by_record(encoded, len(batch.records))
        told = zip(batch.lines, batch.records, batch.rendered, by_record, strict=True)
        for line, record, text, rows in told:
            tally.untrained_turns += text.untrained
            if not rows:
                reason, example = _why_nothing(text)
                tally.drop(reason, line, example)
                continue
            if isinstance(record, Conversation) and record.tools and not self._writes_tools:
                tally.tools_ignored.add(line)
            self._record(number, line, rows, tally)
        self._rows_read[source.dataset] += len(batch.rows)
        self._on_progress("tokenise", self._rows_read.total(), 0)

    def _record(self, number: int, line: int, rows: list[EncodedRow], tally: Tally) -> None:
        longest = max(len(row.ids) for row in rows)
        is_overlong = longest > self._fit.limit and self._fit.overlong != "windows"
        if is_overlong and self._fit.overlong == "drop":
            tally.drop("overlong", line, f"{longest} tokens")
            return
        if is_overlong and self._fit.overlong == "error":
            tally.truncated.add(line)  # the whole file is read first, to name all of them
            return
        fitted = [part for row in rows for part in self._fitted(row) if part.targets.any()]
        if not fitted:
            reason = "no_trainable_tokens"
            tally.drop(f"{reason}_after_truncation" if is_overlong else reason, line)
            return
        if is_overlong:
            tally.truncated.add(line)
        self._write(number, line, rows, fitted)
        tally.rows_kept += 1
        tally.training_rows += len(fitted)
        if len(fitted) > 1:
            (tally.windows if self._fit.overlong == "windows" else tally.turns_apart).add(line)

    def _fitted(self, row: EncodedRow) -> Iterator[EncodedRow]:
        """The beginning of a row, or all windows of a document."""
        limit = self._fit.limit
        if len(row.ids) <= limit:
            yield row
            return
        starts = range(0, len(row.ids), limit) if self._fit.overlong == "windows" else (0,)
        for start in starts:
            targets = row.targets[start : start + limit].copy()
            targets[0] = 0  # nothing comes before it in this row
            yield EncodedRow(row.ids[start : start + limit], targets)

    def _write(
        self, number: int, line: int, rows: Sequence[EncodedRow], fitted: Sequence[EncodedRow]
    ) -> None:
        full = [len(row.ids) for row in rows]
        lengths = full if len(full) == len(fitted) else [len(part.ids) for part in fitted]
        digest = _digest(rows) if self._writer.keeps_digests else 0
        for part, full_length in zip(fitted, lengths, strict=True):
            self._writer.add(
                part.ids,
                part.targets,
                full_lengths=full_length,
                lines=line,
                records=self._num_records,
                sources=number,
                digests=digest,
            )
        self._num_records += 1


def _counting(tally: Tally) -> OnProblem:
    """Counts a line that holds no row as one that was read and dropped."""

    def count(line: int, problem: DataError) -> None:
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
        )
    layout = find_layout([row for _, row in first], source.wanted, source.name)
    return chain(first, rows), layout


def _batches(rows: Rows) -> Iterator[list[tuple[int, Row]]]:
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _records(
    batch: Sequence[tuple[int, Row]], layout: Layout, tally: Tally
) -> tuple[list[int], list[Record]]:
    """Lines and records of the usable rows; the others are counted."""
    lines: list[int] = []
    records: list[Record] = []
    for line, row in batch:
        tally.rows_read += 1
        try:
            record = to_learn(layout.convert(row))
        except RowUnusable as reason:
            tally.drop(str(reason), line)
            continue
        lines.append(line)
        records.append(record)
    return lines, records


def _by_record(rows: Sequence[EncodedRow], num_records: int) -> list[list[EncodedRow]]:
    grouped: list[list[EncodedRow]] = [[] for _ in range(num_records)]
    for row in rows:
        grouped[row.record].append(row)
    return grouped


def _why_nothing(rendered: Rendered) -> tuple[str, str]:
    if rendered.refused is not None:
        return "template_refused", rendered.refused
    return "no_trainable_tokens", ""


def _digest(rows: Sequence[EncodedRow]) -> int:
    """64 bits of the record's whole content before it is cut."""
    hashed = hashlib.blake2b(digest_size=8)
    for row in rows:
        hashed.update(np.int64(len(row.ids)).tobytes())
        hashed.update(row.ids.tobytes())
        hashed.update(row.targets.tobytes())
    return int.from_bytes(hashed.digest(), "little")


def _overlong(tally: Tally, limit: int) -> DataError:
    lines = ", ".join(map(str, tally.truncated.lines[:10]))
    return DataError(
        f"{tally.source}: {tally.truncated.count} rows are longer than {limit} tokens "
        f"(first lines: {lines}), and data.overlong is 'error'.",
        hint="Raise data.max_length, shorten these rows, or set data.overlong to truncate or drop.",
        code="overlong_rows",
        lines=tally.truncated.lines,
    )
