"""What a run learned from, row by row: its place, its texts, and its loss in each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.data.conversation import StoredRecord
from tunesmith.data.convert import RowUnusable
from tunesmith.data.formats import SAMPLE_ROWS, find_layout
from tunesmith.data.readers import Row, dataset_files, read_rows
from tunesmith.data.records import to_json
from tunesmith.data.resolve import resolve_dataset
from tunesmith.data.store import Version
from tunesmith.data.store.rows import stored_rows
from tunesmith.data.store.version import MANIFEST
from tunesmith.errors import DataError, RunDirError
from tunesmith.evaluation.rows import row_of
from tunesmith.recipe import Dataset, load_recipe
from tunesmith.runs import RunDir

LOSSES = "row_losses.parquet"


@dataclass(frozen=True)
class Place:
    """Where a row stands. `line` is the row's id where the dataset is a published version."""

    dataset: str
    file: str
    line: int


@dataclass(frozen=True)
class EpochLoss:
    """The mean loss of a row in one epoch, as the training met it."""

    epoch: int
    loss: float


@dataclass(frozen=True)
class TrainingRow:
    """One row that was trained on."""

    place: Place
    question: str
    answer: str
    record: dict[str, Any]
    losses: tuple[EpochLoss, ...]


@dataclass(frozen=True)
class Learned:
    """All rows of a run, and what a reader should know about them."""

    rows: list[TrainingRow]
    notes: list[str]


def read_training_rows(run: RunDir) -> Learned:
    """The rows that the training met, with their losses.

    Raises:
        RunDirError: The run has no losses by row yet.
        DataError: The files of the training are gone.
    """
    losses = _losses(run)
    written = (run.data_dir / LOSSES).stat().st_mtime
    rows: list[TrainingRow] = []
    notes: list[str] = []
    for wanted in load_recipe(run.resolved_path).data.train:
        for file, name, records in _sources(wanted):
            known = losses.get(name, {})
            if file.stat().st_mtime > written:
                notes.append(
                    f"{file} has changed since the training: lines may not be those of then."
                )
            for line, told, record in records:
                if line in known:
                    rows.append(_training_row(Place(wanted.dataset, told, line), record, known))
    return Learned(rows, notes)


def _losses(run: RunDir) -> dict[str, dict[int, tuple[EpochLoss, ...]]]:
    """Losses by source and line; parts of one row count by their label tokens."""
    file = run.data_dir / LOSSES
    if not file.is_file():
        raise RunDirError(
            f"The run {run.path} has no losses by row: {file.name} is written at its first "
            "checkpoint.",
            hint="Name a run that has trained, with --run.",
            code="no_row_losses",
        )
    table = pq.read_table(file)
    sums = table["loss"].to_numpy().astype(np.float64) * table["labels"].to_numpy()
    weighted = table.append_column("sum", pa.array(sums))
    parts = weighted.group_by(["source", "line", "epoch"]).aggregate(
        [("sum", "sum"), ("labels", "sum")]
    )
    found: dict[str, dict[int, list[EpochLoss]]] = {}
    for part in parts.sort_by("epoch").to_pylist():
        loss = part["sum_sum"] / max(part["labels_sum"], 1)
        rows = found.setdefault(part["source"], {})
        rows.setdefault(part["line"], []).append(EpochLoss(part["epoch"], loss))
    return {
        name: {line: tuple(each) for line, each in rows.items()} for name, rows in found.items()
    }


Numbered = tuple[int, str, StoredRecord]  # line or id, name of its file, record


def _sources(wanted: Dataset) -> Iterator[tuple[Path, str, Iterator[Numbered]]]:
    """Each file of a dataset under the name that the training gave it."""
    path = resolve_dataset(wanted.dataset, Path())
    if not path.exists():
        raise DataError(
            f"The training data {wanted.dataset} is not there any more.",
            hint="Bring it back to where it was.",
            code="training_data_gone",
        )
    if (path / MANIFEST).is_file():
        version = Version.open(path)
        stored = stored_rows(version.batches())
        numbered = ((row.id, f"{row.file}:{row.line}", row.record) for row in stored)
        yield path / MANIFEST, wanted.dataset, numbered
        return
    for file in dataset_files(path):
        yield file, wanted.dataset if file == path else file.name, _of_file(file, wanted)


def _of_file(file: Path, wanted: Dataset) -> Iterator[Numbered]:
    numbered = list(read_rows(file, encoding="auto", on_problem=lambda *_: None))
    layout = find_layout(_first(numbered), wanted, file.name)
    for line, row in numbered:
        try:
            yield line, file.name, layout.convert(row)
        except RowUnusable:
            continue  # the training dropped it as well, and its report says why


def _first(numbered: Sequence[tuple[int, Row]]) -> list[Row]:
    return [row for _, row in numbered[:SAMPLE_ROWS]]


def _training_row(
    place: Place, record: StoredRecord, losses: dict[int, tuple[EpochLoss, ...]]
) -> TrainingRow:
    question, answer = _texts(record)
    return TrainingRow(place, question, answer, to_json(record), losses[place.line])


def _texts(record: StoredRecord) -> tuple[str, str]:
    """The last question and its answer; all of a row that has no such."""
    try:
        row = row_of("", record, {})
    except RowUnusable:
        return "", ""
    return (row.question, row.reference) if row.messages else (row.reference, row.reference)
