"""Rows of a version, page by page: by id, with a text in them, under a condition, by a column.

Without an order, a page goes on behind the id of the last one and reads no more than it needs; a
search that finds nothing for a while hands out what it has, and says how far it came.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tunesmith.data.check.inspect import texts_of
from tunesmith.data.editing import columns_beside, values_of
from tunesmith.data.expression import Condition
from tunesmith.data.store import Version
from tunesmith.data.store.rows import StoredRow, stored_rows
from tunesmith.data.store.version import SCHEMA
from tunesmith.errors import DataError, InputError
from tunesmith.server.errors import NotFound
from tunesmith.server.services.datasets.asked import View

MOST_SORTED: Final = 100_000  # rows; more are too slow to sort for each page
_SECONDS: Final = 2.0
_BATCH: Final = 512
Test = Callable[[StoredRow], bool]


@dataclass(frozen=True)
class Page:
    """`next_after` is where an unsorted list goes on; `complete`: nothing was left unread."""

    rows: list[dict[str, Any]]
    has_more: bool
    next_after: int | None
    total: int  # rows of the version


def look(version: Version, view: View) -> Page:
    """A page of rows. InputError for conditions and columns that there are not."""
    test = _test(version, view)
    return _sorted(version, view, test) if view.sort else _in_order(version, view, test)


def row_of(version: Version, number: int) -> StoredRow:
    """One row by its id."""
    row = next(rows_after(version, number - 1), None)
    if row is None or row.id != number:
        raise NotFound(
            f"The version has no row {number}.", code="unknown_row", rows=number, id=str(number)
        )
    return row


def rows_after(version: Version, after: int) -> Iterator[StoredRow]:
    """Rows behind an id, in order; row groups before it are not read."""
    for part in version.parts:
        try:
            with pq.ParquetFile(part) as file:
                for group in _groups_after(file, after):
                    for batch in file.iter_batches(_BATCH, row_groups=[group]):
                        rows = stored_rows([pa.Table.from_batches([batch])])
                        yield from (row for row in rows if row.id > after)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(
                f"{part.name} of version {version.manifest.version} cannot be read.",
                hint="Use another version, or import the data again.",
                code="version_broken",
                name=part.name,
            ) from error


def rejected(version: Version, after: int, limit: int) -> list[dict[str, Any]]:
    """Rows that an import could not use: file, line, reason, and what was there."""
    if not version.rejected.is_file():
        return []
    with version.rejected.open("rb") as file:
        return [orjson.loads(line) for line in islice(file, after, after + limit)]


def _groups_after(file: Any, after: int) -> Iterator[int]:
    id_column = SCHEMA.names.index("id")
    for group in range(file.num_row_groups):
        known = file.metadata.row_group(group).column(id_column).statistics
        if known is None or not known.has_min_max or known.max > after:
            yield group


def _in_order(version: Version, view: View, test: Test | None) -> Page:
    found: list[StoredRow] = []
    until, last = time.monotonic() + _SECONDS, view.after
    has_more = False
    for number, row in enumerate(rows_after(version, view.after)):
        if len(found) == view.limit or (number % 64 == 0 and time.monotonic() > until):
            has_more = True
            break
        last = row.id
        if test is None or test(row):
            found.append(row)
    return Page(
        [row.to_json() for row in found],
        has_more,
        last if has_more else None,
        version.manifest.rows,
    )


def _sorted(version: Version, view: View, test: Test | None) -> Page:
    total = version.manifest.rows
    if total > MOST_SORTED:
        raise InputError(
            f"The version has {total} rows; up to {MOST_SORTED} can be sorted.",
            hint="Filter them into a dataset of their own first, or look at them in their order.",
            code="too_many_to_sort",
            rows=total,
            most=MOST_SORTED,
            param="sort",
        )
    beside = columns_beside(version)
    known = [*values_of(_first(version)), *beside]
    if view.sort not in known:
        raise InputError(
            f"Rows have no column '{view.sort}'.",
            hint=f"Columns: {', '.join(dict.fromkeys(known))}.",
            code="unknown_column",
            column=view.sort,
            columns=list(dict.fromkeys(known)),
            param="sort",
        )
    rows = (row for row in rows_after(version, 0) if test is None or test(row))
    keyed = ((_key(values_of(row, beside)[view.sort]), row.id, row) for row in rows)
    wanted = view.offset + view.limit + 1
    choose = heapq.nlargest if view.descending else heapq.nsmallest
    chosen = choose(wanted, keyed, key=lambda each: each[:2])[view.offset :]
    shown = [row.to_json() for _, _, row in chosen[: view.limit]]
    return Page(shown, len(chosen) > view.limit, None, total)


def _first(version: Version) -> StoredRow:
    return next(rows_after(version, 0))


def _key(value: Any) -> tuple[int, float, str]:
    """Numbers first, then texts, then what is missing: any two values can be compared."""
    if isinstance(value, bool | int | float):
        return (0, float(value), "")
    if value is None:
        return (2, 0.0, "")
    return (1, 0.0, value if isinstance(value, str) else json.dumps(value, sort_keys=True))


def _test(version: Version, view: View) -> Test | None:
    tests: list[Test] = []
    if view.search:
        tests.append(_has_text(view.search))
    if view.where:
        tests.append(_meets(version, view.where))
    if not tests:
        return None
    return lambda row: all(test(row) for test in tests)


def _has_text(text: str) -> Test:
    """In question, answer or text, in any case; the JSON is looked at before it is read."""
    wanted = text.casefold()
    raw = json.dumps(text, ensure_ascii=False)[1:-1].casefold()

    def test(row: StoredRow) -> bool:
        if raw not in row.text.casefold():
            return False
        return any(wanted in part.casefold() for part in texts_of(row.record) if part)

    return test


def _meets(version: Version, where: str) -> Test:
    if "matches" in where:  # a pattern can take for ever, and everybody would wait for it
        raise InputError(
            "Patterns are not for looking at rows.",
            hint="Use contains, startswith or endswith; a change of the dataset may use matches.",
            code="pattern_not_allowed",
            param="where",
        )
    condition, beside = Condition(where), columns_beside(version)
    return lambda row: condition(values_of(row, beside))
