"""Rows as csv, xlsx and parquet. Columns come in the order in which people look for them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tunesmith.data.exporting.beside import as_cell
from tunesmith.data.readers.delimited import BEFORE_FORMULAS
from tunesmith.errors import DataError

XLSX_ROWS = 1_048_575  # a sheet has one row more, for the names
_XLSX_CELL = 32_767  # characters
_BATCH = 4096
_FIRST = ("question", "answer", "text", "messages", "chosen", "rejected", "kto_tag", "label")
_THEN = ("system", "history", "tools")
# What XML cannot hold or reads as something else, and what looks like the escape of such.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
Rows = Iterable[Mapping[str, Any]]


def _ordered(columns: Mapping[str, type]) -> list[str]:
    usual = [name for name in (*_FIRST, *_THEN) if name in columns]
    return usual + [name for name in columns if name not in usual]


def harmless(cell: str) -> str:
    """The cell with an apostrophe before what a spreadsheet would calculate.

    Also before one that looks as if it had been given such an apostrophe: an import takes one away.
    """
    return f"'{cell}" if BEFORE_FORMULAS.match(cell) else cell


def write_csv(rows: Rows, columns: Mapping[str, type], path: Path) -> int:
    """A table in UTF-8; the number of cells with an apostrophe.

    The mark at the beginning tells Excel that the file is UTF-8. All names in double quotes, and
    that mark, tell an import that the apostrophes are ours.
    """
    names = _ordered(columns)
    prefixed = 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerow([harmless(name) for name in names])
        writer = csv.writer(file)
        for row in rows:
            texts = [as_cell(row.get(name)) for name in names]
            cells = [harmless(text) for text in texts]
            prefixed += sum(cell is not text for cell, text in zip(cells, texts, strict=True))
            writer.writerow(cells)
    return prefixed


def check_cells(number: int, row: Mapping[str, Any]) -> None:
    """DataError for a cell that a sheet cannot hold."""
    for name, value in row.items():
        text = as_cell(value)
        if len(text) * 7 > _XLSX_CELL and len(_escaped(text)) > _XLSX_CELL:
            raise DataError(
                f"Row {number}: '{name}' has {len(text):,} characters; a cell of a sheet holds "
                f"{_XLSX_CELL:,}.",
                hint="Export with --format csv or parquet.",
                code="format_cannot_hold",
            )


def write_xlsx(rows: Rows, columns: Mapping[str, type], path: Path, title: str) -> None:
    """A sheet of texts. None is a formula or an error, whatever it begins with."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    names = _ordered(columns)
    book = Workbook(write_only=True)
    sheet = book.create_sheet(re.sub(r"[\[\]:*?/\\]", "-", title)[:31])

    def cell(text: str) -> Any:
        made = WriteOnlyCell(sheet, "")
        made._value, made.data_type = _escaped(text), "s"
        if text.startswith(_FORMULAS):
            made.quotePrefix = True  # stays text when somebody edits it
        return made

    try:
        sheet.append([cell(name) for name in names])
        for row in rows:
            sheet.append([cell(as_cell(row.get(name))) for name in names])
    finally:
        sheet.close()  # else it complains when it is thrown away
    book.save(path)


def _escaped(text: str) -> str:
    """As Excel writes what XML cannot hold: a carriage return is _x000D_."""
    return _NOT_IN_XML.sub(lambda found: f"_x{ord(found[0]):04X}_", text)


def write_parquet(
    rows: Rows, columns: Mapping[str, type], keys_of_turns: set[str], path: Path
) -> None:
    """Typed columns; turns are lists of objects with the keys that any of them has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[type, Any] = {
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        list: pa.list_(_turn_type(keys_of_turns)),
    }
    names = _ordered(columns)
    schema = pa.schema([(name, kinds.get(columns[name], pa.large_string())) for name in names])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        batch: list[Mapping[str, Any]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == _BATCH:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _turn_type(keys: set[str]) -> Any:
    import pyarrow as pa

    text = pa.large_string()
    function = pa.struct([("name", text), ("arguments", text)])
    call = pa.struct([("id", text), ("type", text), ("function", function)])
    known = {
        "role": text,
        "content": text,
        "reasoning_content": text,
        "name": text,
        "weight": pa.int8(),
        "tool_call_id": text,
        "tool_calls": pa.list_(call),
    }
    return pa.struct([(name, kind) for name, kind in known.items() if name in keys])
