"""Columns of the raw rows that a split looks at: their values as 64-bit digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from tunesmith.data.readers import read_rows
from tunesmith.errors import DataError

_SAMPLE_ROWS = 1000
_NAMED = 40  # column names that an error lists


def marks_of(row: Mapping[str, Any], columns: Sequence[str]) -> tuple[int, ...]:
    """A digest for each column of a row; 0 where it has no value."""
    return tuple(value_digest(row.get(column)) for column in columns)


def value_digest(value: Any) -> int:
    """64 bits of a value, the same on every machine; 3, 3.0 and "3" are one value."""
    text = _text(value)
    if not text:
        return 0
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS).decode()


def require_columns(files: Sequence[Path], columns: Mapping[str, str]) -> None:
    """DataError for a column that the first rows of no file have; each comes with its field."""
    if not columns:
        return
    found: dict[str, None] = {}
    for file in files:
        for _, row in islice(read_rows(file), _SAMPLE_ROWS):
            found.update(dict.fromkeys(row))
        if columns.keys() <= found.keys():
            return
    missing = {column: field for column, field in columns.items() if column not in found}
    told = ", ".join(f"'{column}' ({field})" for column, field in missing.items())
    names = list(found)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise DataError(
        f"The training rows have no column {told}.",
        hint=f"Their columns are {', '.join(names[:_NAMED])}{more}.",
        code="column_missing",
        column=told,
        columns=names[:_NAMED],
    )
