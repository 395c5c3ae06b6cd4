"""Rows that take no part in training: validation and test rows, split off or of their own dataset.

The test is drawn first, the validation from what is left; fractions count all rows. Rows of general
corpora are never held out: what is measured is what the model shall learn. A held-out row that
equals a training row is removed, and so is a test row that equals a validation row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.data.draws import SPLIT, TEST, Ints, Marks, split_records
from tunesmith.data.table import TokenTable
from tunesmith.data.tokenise import Source

if TYPE_CHECKING:
    from tunesmith.recipe import Data, NamedTest, NamedValidation, Split, TestSplit


@dataclass(frozen=True)
class Opened:
    """A token table and the files that it was made of."""

    table: TokenTable
    sources: list[Source]


@dataclass(frozen=True)
class HeldOut:
    """One held-out set.

    Args:
        withheld: Records of the training table that do not train.
        records: Records that are held out, in the table `of`.
        of: None when there are no such rows.
    """

    withheld: Ints
    records: Ints
    of: Opened | None
    report: dict[str, Any]

    @property
    def rows(self) -> Ints:
        """Rows of its table."""
        return self.of.table.rows_of(self.records) if self.of else np.zeros(0, np.int64)


OpenTable = Callable[["NamedValidation | NamedTest"], Opened]


def hold_out(data: Data, training: Opened, seed: int, open_table: OpenTable) -> _Both:
    """Validation and test rows of a recipe."""
    candidates = _candidates(data, training)
    size = len(candidates)
    test = _held_out(data.test, training, candidates, size, seed, TEST, open_table)
    candidates = np.setdiff1d(candidates, test.withheld)
    validation = _held_out(data.validation, training, candidates, size, seed, SPLIT, open_table)
    trains = np.ones(training.table.num_records, bool)
    trains[test.withheld] = trains[validation.withheld] = False
    known = _digests(training.table)[trains]
    validation = _without(known, validation)
    if validation.of is not None and test.of is not None:
        known = np.concatenate([known, _digests(validation.of.table)[validation.records]])
    return _Both(np.flatnonzero(trains), validation, _without(known, test))


@dataclass(frozen=True)
class _Both:
    """The records that are left to train on, and the two held-out sets."""

    training_records: Ints
    validation: HeldOut
    test: HeldOut


def _candidates(data: Data, training: Opened) -> Ints:
    """The records that may be held out: all but those of general corpora."""
    general = [n for n, source in enumerate(data.train) if source.role == "general"]
    table = training.table
    is_user = ~np.isin(dataset_of_records(table), general)
    return np.flatnonzero(is_user) if is_user.any() else np.arange(table.num_records)


def dataset_of_records(table: TokenTable) -> Ints:
    """The number of the recipe's dataset that each record comes from."""
    return np.array(table.about["datasets"], np.int64)[table.sources[table.first_rows]]


def _held_out(
    wanted: Any,
    training: Opened,
    candidates: Ints,
    size: int,
    seed: int,
    stream: int,
    open_table: OpenTable,
) -> HeldOut:
    nothing = np.zeros(0, np.int64)
    if wanted.kind == "none":
        return HeldOut(nothing, nothing, None, {"kind": "none"})
    if wanted.kind == "split":
        return _split(wanted, training, candidates, size, seed, stream)
    opened = open_table(wanted)
    report = {"kind": "dataset", "sources": opened.table.about["tallies"]}
    return HeldOut(nothing, np.arange(opened.table.num_records), opened, report)


def _split(
    wanted: Split | TestSplit,
    training: Opened,
    candidates: Ints,
    size: int,
    seed: int,
    stream: int,
) -> HeldOut:
    strata = _marks(wanted.stratify_by, training.table, candidates)
    groups = _marks(wanted.group_by, training.table, candidates)
    number = round(wanted.fraction * size)
    drawn = split_records(
        candidates, number, wanted.max_rows, seed, stream=stream, strata=strata, groups=groups
    )
    report: dict[str, Any] = {
        "kind": "split",
        "wanted": drawn.wanted,
        "drawn": len(drawn.drawn),
        "returned_to_training": drawn.returned,
    }
    held = np.isin(candidates, drawn.drawn)
    if strata is not None:
        report["stratify_by"] = _about_column(wanted.stratify_by, strata, held)
    if groups is not None:
        report["group_by"] = _about_column(wanted.group_by, groups, held)
        report["set_aside"] = len(drawn.set_aside)
    withheld = np.concatenate([drawn.drawn, drawn.set_aside])
    return HeldOut(withheld, drawn.drawn, training, report)


def _marks(column: str | None, table: TokenTable, records: Ints) -> Marks | None:
    return table.marks[column][table.first_rows[records]] if column else None


def _about_column(column: str | None, marks: Marks, held: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {
        "column": column,
        "values": len(np.unique(marks[marks != 0])),
        "values_held_out": len(np.unique(marks[held & (marks != 0)])),
        "rows_without_value": int((marks == 0).sum()),
    }


def _without(known: Marks, held: HeldOut) -> HeldOut:
    """The held-out records that equal none of the known ones exactly."""
    if held.of is None:
        return held
    fresh = held.records[~np.isin(_digests(held.of.table)[held.records], known)]
    report = {**held.report, "duplicates_removed": len(held.records) - len(fresh)}
    return replace(held, records=fresh, report=report)


def _digests(table: TokenTable) -> Marks:
    return table.digests[table.first_rows]
