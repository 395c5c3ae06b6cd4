"""Writes every row in memory and reads it back, to see which form holds all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tunesmith.data.conversation import StoredRecord
from tunesmith.data.convert import Convert, RowUnusable
from tunesmith.data.exporting.beside import TABLES, Beside, as_cell, types_beside
from tunesmith.data.exporting.forms import FORMS, ONE_KIND, ExportFormat, Form
from tunesmith.data.exporting.losses import differences
from tunesmith.data.exporting.tables import XLSX_ROWS, check_cells
from tunesmith.data.formats import SAMPLE_ROWS, find_layout
from tunesmith.data.store import Version
from tunesmith.data.store.rows import StoredRow, stored_rows
from tunesmith.data.tokenise import Progress
from tunesmith.errors import DataError

_EVERY = 4096
_TEXT_ONLY: tuple[ExportFormat, ...] = ("csv", "xlsx")
_TURNS = ("messages", "chosen", "rejected")


@dataclass
class Trial:
    """A form, and what became of the rows of a version in it."""

    format: ExportFormat
    form: Form
    beside: Beside
    lost: Counter[str] = field(default_factory=Counter[str])  # rows
    first: dict[str, int] = field(default_factory=dict[str, int])  # the first row of each loss
    columns: dict[str, type] = field(default_factory=dict[str, type])
    keys_of_turns: set[str] = field(default_factory=set[str])

    def written(self, row: StoredRow) -> dict[str, Any]:
        """A row as a reader of the file gets it."""
        cells = self.form.write(row.record)
        if self.format in _TEXT_ONLY:
            cells = {name: as_cell(value) for name, value in cells.items()}
        elif self.format == "parquet" and "tools" in cells:
            cells["tools"] = as_cell(cells["tools"])
        return cells | self.beside.values(row.extra) if row.extra_text else cells

    def run(self, version: Version, on_progress: Progress, *, stops: bool) -> bool:
        """Read all rows back; whether all are the same. `stops` at the first that is not."""
        convert = self._convert(version)
        total = version.manifest.rows
        for number, row in enumerate(stored_rows(version.batches()), start=1):
            written = self.written(row)
            self._note(written)
            for loss in self._losses(row.record, written, convert):
                self.lost[loss] += 1
                self.first.setdefault(loss, row.id)
            if self.lost and stops:
                return False
            if self.format == "xlsx":
                check_cells(row.id, written)
            if number % _EVERY == 0 or number == total:
                on_progress("check", number, total)
        return not self.lost

    def _convert(self, version: Version) -> Convert:
        """How an import would read the file."""
        from tunesmith.recipe import Dataset

        rows = islice(stored_rows(version.batches(rows=SAMPLE_ROWS)), SAMPLE_ROWS)
        sample = [self.written(row) for row in rows]
        if self.format in TABLES:  # where every row has every column
            names = {*self.beside.names.values(), *(name for row in sample for name in row)}
            nothing = dict.fromkeys(sorted(names), "" if self.format in _TEXT_ONLY else None)
            sample = [nothing | row for row in sample]
        return find_layout(sample, Dataset(dataset="export"), version.label).convert

    def _losses(self, record: StoredRecord, written: Any, convert: Convert) -> Iterator[str]:
        try:
            yield from sorted(differences(record, convert(written)))
        except RowUnusable as reason:
            yield f"the whole row ({reason})"

    def _note(self, written: dict[str, Any]) -> None:
        """Which columns a table needs, and what its turns hold."""
        for name, value in written.items():
            self.columns.setdefault(name, self.beside.types.get(name, type(value)))
        if self.format == "parquet":
            for column in _TURNS:
                turns = written.get(column)
                for turn in turns if isinstance(turns, list) else ():
                    self.keys_of_turns.update(turn)


def chosen_form(
    version: Version,
    format: ExportFormat,
    *,
    name: str,
    lossy: bool,
    on_progress: Progress,
) -> Trial:
    """The first form that holds every row; DataError where none does, unless losses are allowed."""
    _check_kinds(version, format, name)
    columns, judged = types_beside(version), "unpaired_preference" in version.manifest.kinds
    *others, last = (
        Trial(format, form, Beside.of(columns, format, form, judged=judged))
        for form in FORMS[format]
    )
    for trial in others:
        if trial.run(version, on_progress, stops=True):
            return trial
    if not last.run(version, on_progress, stops=False) and not lossy:
        raise _refusal(last, name)
    return last


def _check_kinds(version: Version, format: ExportFormat, name: str) -> None:
    kinds, rows = version.manifest.kinds, version.manifest.rows
    if len(kinds) > 1 and format in ONE_KIND:
        told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        condition = f"'kind == \"{next(iter(kinds))}\"'"
        raise DataError(
            f"{name} holds several kinds of rows ({told}); a file of {format} holds one.",
            hint="Export with --format jsonl, csv, xlsx or parquet; or keep one kind first: "
            f"tunesmith data keep {name.partition('@')[0]} --where {condition}",
            code="format_cannot_hold",
        )
    if format == "xlsx" and rows > XLSX_ROWS:
        raise DataError(
            f"{name} has {rows} rows; a sheet holds {XLSX_ROWS}.",
            hint="Export with --format csv or parquet.",
            code="format_cannot_hold",
        )


def _refusal(trial: Trial, name: str) -> DataError:
    told = "; ".join(
        f"{loss}: {count:,} rows, the first is {trial.first[loss]}"
        for loss, count in trial.lost.most_common()
    )
    return DataError(
        f"{trial.format} cannot hold all of {name}. Changed or lost would be: {told}.",
        hint="Nothing was written. jsonl and parquet hold everything; --lossy writes the file all "
        "the same.",
        code="format_cannot_hold",
        lost=dict(trial.lost),
    )
