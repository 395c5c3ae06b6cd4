"""Parquet files: rows in small batches, with values that JSON has a word for."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from tunesmith.data.readers.blocks import (
    BLOCK_BYTES,
    GIB,
    MAX_UNPACKED_BYTES,
    Batch,
    Block,
    Row,
    no_rows,
    packed,
)
from tunesmith.data.readers.sources import check_readable, unreadable
from tunesmith.data.store.version import STORED_RECORD, is_stored
from tunesmith.errors import DataError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MOST_ROWS = 8192  # of a batch


def parquet_blocks(path: Path) -> Iterator[Block]:
    """The rows of a file; nothing but one batch is in memory."""
    check_readable(path)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            done = [0.0]  # the share of the rows
            batches = _batches(path, file, done)
            yield from packed(batches, path, lambda: int(size * done[0]))
    except OSError as error:
        raise unreadable(path, error) from error
    if not done[0]:
        raise no_rows(path)


def _batches(path: Path, file: IO[bytes], done: list[float]) -> Iterator[Batch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file) as table:
            num_rows = max(1, table.metadata.num_rows)
            clean = _cleaner(table.schema_arrow)
            stored = is_stored(table.schema_arrow)
            for batch in table.iter_batches(batch_size=_batch_rows(path, table)):
                rows = clean(batch)
                if stored:
                    yield [(row["id"], _stored_row(row)) for row in rows], batch.nbytes
                else:
                    yield list(enumerate(rows, number + 1)), batch.nbytes
                number += len(rows)
                done[0] = min(1.0, number / num_rows)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error


def _stored_row(row: Row) -> Row:
    """A row of a published version: its other columns, and its record under one name."""
    beside = orjson.loads(row["extra"]) if row["extra"] else {}
    return {**beside, STORED_RECORD: row["record"]}


def _batch_rows(path: Path, table: pq.ParquetFile) -> int:
    """So many rows that a batch is about one block."""
    groups = [table.metadata.row_group(n) for n in range(table.metadata.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    if size > MAX_UNPACKED_BYTES:
        raise DataError(
            f"{path} unpacks to {size / GIB:,.1f} GiB; the limit is "
            f"{MAX_UNPACKED_BYTES // GIB} GiB.",
            code="expands_too_far",
            form="parquet",
            size=size,
            gib=f"{size / GIB:,.1f}",
            most_gib=MAX_UNPACKED_BYTES // GIB,
        )
    num_rows = max(1, sum(group.num_rows for group in groups))
    return min(MOST_ROWS, max(1, BLOCK_BYTES * num_rows // max(1, size)))


def _cleaner(schema: Any) -> Callable[[Any], list[Row]]:
    """Makes rows of a batch: as they are where all types are those of JSON, else by column."""
    if all(_is_plain(field.type) for field in schema):
        return lambda batch: batch.to_pylist()

    def clean(batch: Any) -> list[Row]:
        columns = [_cleaned(column) for column in batch.columns]
        return [dict(zip(schema.names, row, strict=True)) for row in zip(*columns, strict=True)]

    return clean


def _cleaned(column: Any) -> list[Any]:
    """The values of a column; Python has no date in the year 9999999 and no nanosecond."""
    import pyarrow as pa

    if _is_plain(column.type):
        return column.to_pylist()
    problems = (pa.ArrowException, ValueError, ArithmeticError, TypeError)
    with suppress(*problems):
        return [_clean(value) for value in column.to_pylist()]
    with suppress(*problems):
        return column.cast(pa.string()).to_pylist()
    return [_one(cell, problems) for cell in column]


def _one(cell: Any, problems: tuple[type[Exception], ...]) -> Any:
    """The value of one cell; null where Python cannot hold it."""
    try:
        return _clean(cell.as_py())
    except problems:
        return None


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return all(_is_plain(kind.field(n).type) for n in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_plain(kind.value_type)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean, pa.types.is_integer)
    return any(test(kind) for test in tests)


def _text_of_bytes(value: bytes) -> str | None:
    """Text stored as bytes; null for other bytes, such as those of a picture."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _clean(value: Any) -> Any:
    """A value in JSON's types; null for a number that is none and for bytes that are no text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(name): _clean(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_clean(inner) for inner in value]
        case bytes():
            return _text_of_bytes(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return str(value)
