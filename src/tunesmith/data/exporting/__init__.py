"""Any version as a file that other programs read, and that an import reads back as the same rows.

Read `forms.py` first: it says how a record is written in each format. Before anything is written,
every row is written and read back in memory (`trial.py`): the first form that holds all of them is
taken. Where no form does, the export is refused with what would be lost, or counts it when it is
told to go on. tables.py writes csv, xlsx and parquet.

Cells that a spreadsheet would take for a formula begin with an apostrophe in csv (OWASP, CSV
injection), which an import takes away again; in xlsx they are marked as text.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from tunesmith.data.check.inspect import Wanted
from tunesmith.data.exporting.forms import FORMATS, ExportFormat
from tunesmith.data.exporting.tables import write_csv, write_parquet, write_xlsx
from tunesmith.data.exporting.trial import Trial, chosen_form
from tunesmith.data.importing import import_files
from tunesmith.data.pool import num_processes
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.rows import StoredRow, stored_rows
from tunesmith.data.subject import Subject
from tunesmith.data.tokenise import Progress
from tunesmith.errors import InputError

__all__ = ["FORMATS", "SUFFIXES", "ExportFormat", "Exported", "export", "export_subject"]

SUFFIXES = {"alpaca": ".json", "sharegpt": ".json", "openai": ".jsonl"}
_EVERY = 4096


@dataclass(frozen=True)
class Exported:
    """What was written, and what is not in the file as it is in the version."""

    rows: int
    rejected: int = 0  # rows of a file that could not be used
    lost: dict[str, int] = field(default_factory=dict[str, int])  # rows, by what they lost
    columns_left_out: list[str] = field(default_factory=list[str])
    columns_renamed: dict[str, str] = field(default_factory=dict[str, str])
    columns_as_text: list[str] = field(default_factory=list[str])  # numbers, lists and objects
    cells_with_apostrophe: int = 0


def export(
    version: Version,
    format: ExportFormat,
    path: Path,
    *,
    lossy: bool = False,
    name: str = "",
    on_progress: Progress,
) -> Exported:
    """Write a version to a new file, which appears when it is complete.

    `name` is what people call it, its label if empty. DataError `format_cannot_hold` where rows
    would come back changed, unless `lossy`.
    """
    _make_room(path)
    name = name or version.label
    trial = chosen_form(version, format, name=name, lossy=lossy, on_progress=on_progress)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        rows = _counted(version, on_progress)
        prefixed = _write(format, trial, rows, draft, title=Path(name).stem)
        draft.rename(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    beside = trial.beside
    return Exported(
        version.manifest.rows,
        lost=dict(trial.lost),
        columns_left_out=beside.left_out,
        columns_renamed=beside.renamed,
        columns_as_text=beside.as_text,
        cells_with_apostrophe=prefixed,
    )


def export_subject(
    subject: Subject,
    format: ExportFormat,
    path: Path,
    *,
    lossy: bool = False,
    on_progress: Progress,
) -> Exported:
    """The same for files too, by way of a version for the moment."""
    if isinstance(subject, Version):
        return export(subject, format, path, lossy=lossy, on_progress=on_progress)
    _make_room(path)
    with tempfile.TemporaryDirectory(prefix=".tunesmith-", dir=path.parent) as folder:
        done = import_files(
            Catalog(Path(folder)),
            "rows",
            subject,
            wanted=Wanted(near=False),
            processes=num_processes(),
            on_progress=on_progress,
        )
        exported = export(
            done.version, format, path, lossy=lossy, name=subject.name, on_progress=on_progress
        )
        return replace(exported, rejected=done.version.manifest.rejected)


def _make_room(path: Path) -> None:
    if path.exists():
        raise InputError(
            f"{path} exists already.", hint="Name another file with --out; nothing was written."
        )
    path.parent.mkdir(parents=True, exist_ok=True)


def _counted(version: Version, on_progress: Progress) -> Iterator[StoredRow]:
    total = version.manifest.rows
    for number, row in enumerate(stored_rows(version.batches()), start=1):
        yield row
        if number % _EVERY == 0 or number == total:
            on_progress("write", number, total)


def _write(
    format: ExportFormat, trial: Trial, rows: Iterable[StoredRow], path: Path, *, title: str
) -> int:
    """The number of cells that were given an apostrophe."""
    written = (trial.written(row) for row in rows)
    if format == "csv":
        return write_csv(written, trial.columns, path)
    if format == "xlsx":
        write_xlsx(written, trial.columns, path, title)
    elif format == "parquet":
        write_parquet(written, trial.columns, trial.keys_of_turns, path)
    elif format in ("alpaca", "sharegpt"):
        _write_array(written, path)
    else:
        _write_lines(written, path)
    return 0


def _write_lines(rows: Iterable[dict[str, Any]], path: Path) -> None:
    with path.open("wb") as file:
        file.writelines(orjson.dumps(row) + b"\n" for row in rows)


def _write_array(rows: Iterable[dict[str, Any]], path: Path) -> None:
    with path.open("wb") as file:
        before = b"[\n"
        for row in rows:
            file.write(before + orjson.dumps(row))
            before = b",\n"
        file.write(b"\n]\n")
