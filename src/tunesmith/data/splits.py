"""What a split would hold out of a version, before any training: counts, values, first rows.

It draws as `held_out.py` does, from all rows. A training draws from those that it can learn from,
so where it leaves some out, it holds out others than are shown here, in the same numbers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from tunesmith.data.columns import value_digest
from tunesmith.data.draws import SPLIT, TEST, Ints, Marks, split_records
from tunesmith.data.store import Version
from tunesmith.errors import DataError
from tunesmith.recipe import Split, TestSplit

SHOWN: Final = 50  # rows of each part
_VALUES: Final = 50  # of a column that is stratified by
_LONGEST: Final = 100  # characters of a value


@dataclass(frozen=True)
class _Part:
    """Places of the rows that are held out, and of those that cannot train because of it."""

    rows: Ints
    withheld: Ints
    facts: dict[str, Any]


def preview_splits(
    version: Version, validation: Split | None, test: TestSplit | None, seed: int
) -> dict[str, Any]:
    """Test rows are drawn first, validation rows from what is left, as a training does."""
    wanted = [part for part in (test, validation) if part is not None]
    columns = list(
        dict.fromkeys(c for part in wanted for c in (part.stratify_by, part.group_by) if c)
    )
    marks, values = _marks(version, columns)
    every = np.arange(version.manifest.rows)
    digests, ids = version.column("digest"), version.column("id")
    tested = _drawn(test, every, len(every), marks, seed, TEST)
    left = np.setdiff1d(every, tested.withheld)
    checked = _drawn(validation, left, len(every), marks, seed, SPLIT)
    trains = np.setdiff1d(left, checked.withheld)
    checked_rows = _fresh(checked.rows, digests[trains], digests)
    known = np.concatenate([digests[trains], digests[checked_rows]])
    tested_rows = _fresh(tested.rows, known, digests)
    told = {"rows": len(every), "seed": seed, "training": {"rows": len(trains)}}
    for name, part, rows in (
        ("validation", checked, checked_rows),
        ("test", tested, tested_rows),
    ):
        gone = len(part.rows) - len(rows)
        told[name] = part.facts | {
            "rows": len(rows),
            "duplicates_removed": gone,
            "ids": ids[rows[:SHOWN]].tolist(),
        }
    parts = {"training": trains, "validation": checked_rows, "test": tested_rows}
    stratified = {part.stratify_by for part in wanted if part.stratify_by}
    return told | {
        "values": {
            column: _counted(marks[column], values[column], parts) for column in sorted(stratified)
        }
    }


def _drawn(
    part: Split | TestSplit | None,
    candidates: Ints,
    size: int,
    marks: dict[str, Marks],
    seed: int,
    stream: int,
) -> _Part:
    nothing = np.zeros(0, np.int64)
    if part is None:
        return _Part(nothing, nothing, {"wanted": 0, "returned_to_training": 0, "set_aside": 0})
    drawn = split_records(
        candidates,
        round(part.fraction * size),
        part.max_rows,
        seed,
        stream=stream,
        strata=marks[part.stratify_by][candidates] if part.stratify_by else None,
        groups=marks[part.group_by][candidates] if part.group_by else None,
    )
    facts = {
        "wanted": drawn.wanted,
        "returned_to_training": drawn.returned,
        "set_aside": len(drawn.set_aside),
    }
    return _Part(drawn.drawn, np.concatenate([drawn.drawn, drawn.set_aside]), facts)


def _fresh(rows: Ints, known: Marks, digests: Marks) -> Ints:
    """Without the rows that equal one that is known already."""
    return rows[~np.isin(digests[rows], known)]


def _marks(
    version: Version, columns: list[str]
) -> tuple[dict[str, Marks], dict[str, dict[int, str]]]:
    """A digest of each row's value by column, and what some of the digests stand for."""
    marks = {column: np.zeros(version.manifest.rows, np.uint64) for column in columns}
    values: dict[str, dict[int, str]] = {column: {} for column in columns}
    seen: set[str] = set()
    at = 0
    for batch in version.batches(["extra"], 65536) if columns else ():
        for text in batch["extra"].to_pylist():
            extra: dict[str, Any] = orjson.loads(text) if text else {}
            for column in columns:
                value = extra.get(column)
                marks[column][at] = digest = value_digest(value)
                if digest and len(values[column]) < 10_000:
                    values[column].setdefault(digest, str(value)[:_LONGEST])
            seen.update(extra)
            at += 1
    for column in columns:
        if column not in seen:
            raise DataError(
                f"The rows have no column '{column}'.",
                hint=f"Their columns are {', '.join(sorted(seen)[:40]) or 'none'}.",
                code="column_missing",
                column=column,
                columns=sorted(seen)[:40],
            )
    return marks, values


def _counted(marks: Marks, values: dict[int, str], parts: dict[str, Ints]) -> list[dict[str, Any]]:
    """How often each value is in each part, the most frequent ones first."""
    counts = {name: Counter(marks[rows].tolist()) for name, rows in parts.items()}
    total: Counter[int] = sum(counts.values(), Counter[int]())
    return [
        {"value": values.get(mark, ""), **{name: counts[name][mark] for name in parts}}
        for mark, _ in total.most_common(_VALUES)
    ]
