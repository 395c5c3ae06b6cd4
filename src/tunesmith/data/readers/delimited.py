"""Tables as text: csv and tsv, a record at a time, with quoted cells over several lines."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator

from tunesmith.data.readers.blocks import (
    MAX_LINE_BYTES,
    Batch,
    Block,
    OnProblem,
    no_rows,
    packed,
    tell,
    too_long,
)
from tunesmith.data.readers.lines import cut_lines, decoded_lines
from tunesmith.data.readers.sources import Source
from tunesmith.errors import DataError

DELIMITERS = (",", "\t", ";")
_QUOTED = re.compile(r'"[^"]*"')
# What a spreadsheet calculates, and what looks as if it had been kept from that already.
BEFORE_FORMULAS = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_ALL_NAMES_QUOTED = re.compile(r'"(?:[^"]|"")*"(?:,"(?:[^"]|"")*")*\r?\n?')


def csv_blocks(source: Source, on_problem: OnProblem | None) -> Iterator[Block]:
    """The rows below the line with the column names."""
    # The csv module has one limit for all of its readers; ours is on the record.
    csv.field_size_limit(max(csv.field_size_limit(), 2 * MAX_LINE_BYTES))
    table = _Table(source, on_problem)
    yield from packed(table.batches(), source.path, source.position)
    if not table.num_records:
        raise no_rows(source.path, "rows below its column names")


class _Record:
    """The lines of a file for the csv module; remembers those of the record that is being read."""

    def __init__(self, lines: Iterator[tuple[int, str | None]]) -> None:
        self._lines = lines
        self._again: deque[tuple[int, str | None]] = deque()
        self.lines: list[tuple[int, str | None]] = []
        self.size = 0  # characters
        self.is_damaged = False  # by a line that could not be decoded, which has been reported

    def begin(self) -> None:
        self.lines.clear()
        self.size = 0
        self.is_damaged = False

    def __iter__(self) -> _Record:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.lines.append(line)
        text = line[1]
        if text is None:
            self.is_damaged = True
            return "\n"
        self.size += len(text)
        if self.size > MAX_LINE_BYTES:
            raise _RecordTooLongError
        return text

    def read_again(self) -> None:
        """All lines but the first one come again: it is only the first that opens a quote."""
        self._again.extendleft(reversed(self.lines[1:]))

    @property
    def first_line(self) -> int:
        return self.lines[0][0]

    @property
    def place(self) -> str:
        first, last = self.lines[0][0], self.lines[-1][0]
        return f"line {first}" if first == last else f"lines {first} to {last}"


class _RecordTooLongError(Exception):
    """Most likely a quote that is never closed."""


class _Table:
    """The rows of one file."""

    def __init__(self, source: Source, on_problem: OnProblem | None) -> None:
        self.num_records = 0  # with the bad ones
        self._path = source.path
        self._on_problem = on_problem
        self._record = _Record(_lines(source, on_problem))
        self._has_mark = source.has_mark

    def batches(self) -> Iterator[Batch]:
        is_ours = self._has_mark and self._names_are_quoted()
        records = csv.reader(self._record, delimiter=self._delimiter(), strict=True)
        cells = self._first(records)
        names = header(list(map(_as_written, cells)) if is_ours else cells, self._path)
        while True:
            self._record.begin()
            try:
                cells = next(records)
            except StopIteration:
                return
            except (csv.Error, _RecordTooLongError) as error:
                self.num_records += 1
                self._tell_unreadable(error)
                continue
            if self._record.is_damaged or not any(cells):
                self.num_records += self._record.is_damaged
                continue
            self.num_records += 1
            if len(cells) > len(names):
                self._tell_too_many(len(cells), len(names))
                continue
            if is_ours:
                cells = list(map(_as_written, cells))
            row = {name: cell for name, cell in zip(names, cells, strict=False) if name}
            yield [(self._record.first_line, row)], self._record.size

    def _names_are_quoted(self) -> bool:
        """True for the first line of an export, whose apostrophes before formulas are no text."""
        return _ALL_NAMES_QUOTED.fullmatch(self._first_line()) is not None

    def _first_line(self) -> str:
        """The first line, which will be read once more."""
        self._record.begin()
        line = next(self._record, "")
        self._record.lines.insert(0, (0, ""))
        self._record.read_again()
        return line

    def _delimiter(self) -> str:
        """The most frequent one in the first line, outside of quotes."""
        sample = _QUOTED.sub("", self._first_line())
        return max(DELIMITERS, key=sample.count)

    def _first(self, records: Iterator[list[str]]) -> list[str]:
        self._record.begin()
        try:
            cells = next(records, [])
        except csv.Error as error:
            raise self._unreadable(error) from error
        except _RecordTooLongError:
            raise too_long(self._path, 1, self._record.size, "a record") from None
        if self._record.is_damaged:
            raise DataError(f"{self._path}: the line with the column names cannot be read.")
        return cells

    def _tell_unreadable(self, error: csv.Error | _RecordTooLongError) -> None:
        """Report a record, and go on behind it, or behind its first line if it has no end."""
        record = self._record
        if isinstance(error, _RecordTooLongError):
            problem = too_long(self._path, record.first_line, record.size, "a record")
        else:
            problem = self._unreadable(error)
        tell(self._on_problem, record.first_line, problem)
        if isinstance(error, _RecordTooLongError) or "end of data" in str(error):
            record.read_again()

    def _unreadable(self, error: csv.Error) -> DataError:
        reason, hint = (
            str(error),
            "Texts with commas, quotes or line breaks stand in double quotes.",
        )
        if "end of data" in reason:
            hint = "The quote that is opened in the first of these lines is never closed."
        if "new-line character" in reason:
            reason = "a carriage return without a line feed"
            hint = "Save the file with usual line ends, or put the cell in double quotes."
        return DataError(
            f"{self._path}, {self._record.place}: not readable as CSV ({reason}).",
            hint=hint,
            file=str(self._path),
            line=self._record.first_line,
        )

    def _tell_too_many(self, num_cells: int, num_names: int) -> None:
        line = self._record.first_line
        problem = DataError(
            f"{self._path}, line {line}: {num_cells} cells, but the first line names "
            f"{num_names} columns.",
            hint="Texts with commas stand in double quotes.",
            file=str(self._path),
            line=line,
        )
        tell(self._on_problem, line, problem)


def _as_written(cell: str) -> str:
    """The cell without the apostrophe that an export put before it."""
    return cell[1:] if cell.startswith("'") and BEFORE_FORMULAS.match(cell) else cell


def header(cells: list[str], path: object) -> list[str]:
    """The names of the columns; DataError when there are none, or one of them twice."""
    names = [cell.strip() for cell in cells]
    if not any(names):
        raise DataError(f"{path}: the first line holds no column names.")
    doubled = sorted({name for name in names if name and names.count(name) > 1})
    if doubled:
        raise DataError(f"{path}: column '{doubled[0]}' appears more than once in the first line.")
    return names


def _lines(source: Source, on_problem: OnProblem | None) -> Iterator[tuple[int, str | None]]:
    """Numbers and lines with their ends; None for a line that is not in its encoding."""
    for block in cut_lines(source, on_problem):
        for number, line in decoded_lines(block, on_problem):
            yield number, None if line is None else line + "\n"
