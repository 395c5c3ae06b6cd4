"""Spreadsheets: the first sheet that has rows. They are loaded whole, so their size is limited."""

from __future__ import annotations

import datetime
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tunesmith.data.readers.blocks import (
    GIB,
    Batch,
    Block,
    OnProblem,
    megabytes,
    no_rows,
    notice,
    packed,
)
from tunesmith.data.readers.delimited import header
from tunesmith.data.readers.sources import check_readable
from tunesmith.errors import DataError

MAX_SHEET_BYTES = GIB  # unpacked; a sheet of a million rows of text has some hundred megabytes
MAX_SHEET_RATIO = 400
_RATIO_FROM = 64 << 20  # bytes, below which no ratio matters
MAX_CELLS = 30_000_000  # of the rectangle around all cells, which is held in memory
MAX_PARTS = 10_000
_CELL = re.compile(rb"\br\s*=\s*[\"']([A-Za-z]{1,3})(\d{1,7})[\"']")
_PIECE = 1 << 20
_LOCAL_HEADER = 30  # bytes


# Cells without a value: errors, and formulas that no spreadsheet program has calculated. An empty
# result of a formula is a text.
_ERROR = re.compile(rb'<c [^>]*\bt="e"')
_FORMULA = re.compile(
    rb'<c (?![^>]*\bt="str")[^>]*>\s*<f[^>]*(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v></v>)?\s*</c>'
)
_MERGED = re.compile(rb"<mergeCell\s")


def sheet_blocks(path: Path, on_problem: OnProblem | None = None) -> Iterator[Block]:
    """The rows of the first sheet that has any; its first row names the columns."""
    check_readable(path)
    size = path.stat().st_size
    for code, message, hint in _check_size(path, size):
        notice(on_problem, 0, DataError(f"{path}: {message}", hint=hint, code=code))
    rows = _Sheet(path, on_problem)
    yield from packed(rows.batches(), path, lambda: size if rows.is_loaded else 0)
    if not rows.num_rows:
        raise no_rows(path, "rows below its column names")


class _Sheet:
    """The first sheet of a book that has rows."""

    def __init__(self, path: Path, on_problem: OnProblem | None) -> None:
        self._path = path
        self._on_problem = on_problem
        self.is_loaded = False
        self.num_rows = 0

    def batches(self) -> Iterator[Batch]:
        rows, others = _load(self._path)
        self.is_loaded = True
        if not rows:
            return
        if others:
            self._tell_others(others)
        names = header([_cell(value) for value in rows[0]], self._path)
        for number, values in enumerate(rows[1:], start=2):
            cells = [_cell(value) for value in values]
            if any(cells):
                self.num_rows += 1
                row = {name: cell for name, cell in zip(names, cells, strict=False) if name}
                yield [(number, row)], sum(map(len, cells))

    def _tell_others(self, others: list[str]) -> None:
        problem = DataError(
            f"{self._path}: only its first sheet is read; left out: {', '.join(others[:10])}.",
            hint="Save the other sheets as files of their own.",
            code="sheets_left_out",
        )
        notice(self._on_problem, 0, problem)


def _load(path: Path) -> tuple[list[list[Any]], list[str]]:
    """The rows of the first sheet that has any below its names, and the other such sheets."""
    from python_calamine import CalamineWorkbook

    try:
        with CalamineWorkbook.from_path(str(path)) as book:
            for number, name in enumerate(book.sheet_names, start=1):
                rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
                if len(rows) > 1:
                    rest = book.sheet_names[number:]
                    return rows, [n for n in rest if book.get_sheet_by_name(n).height > 1]
    except BaseException as error:
        # A mistake within calamine itself is a PanicException, which is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise DataError(f"{path} cannot be read as a spreadsheet: {error}") from error
        raise
    return [], []


def _cell(value: Any) -> str:
    """What the sheet shows: whole numbers are stored as floats, dates at midnight with a time."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return str(value.date())
    return str(value)


Notice = tuple[str, str, str]  # code, message, hint


def _check_size(path: Path, size: int) -> list[Notice]:
    """Refuse a book that would not fit in memory, before anything is unpacked into it.

    What of its cells comes as nothing is returned.
    """
    try:
        if not zipfile.is_zipfile(path):  # an .xls is no archive: it is as large as it looks
            if size > MAX_SHEET_BYTES:
                raise _too_large(path, f"is larger than {megabytes(MAX_SHEET_BYTES)}", size)
            return []
        with path.open("rb") as file, zipfile.ZipFile(file) as book:
            return _check_parts(path, file, book, size)
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read as a spreadsheet: {error}") from error


def _check_parts(path: Path, file: IO[bytes], book: zipfile.ZipFile, size: int) -> list[Notice]:
    parts = book.infolist()
    if len(parts) > MAX_PARTS:
        raise _too_large(path, f"holds {len(parts):,} parts; the limit is {MAX_PARTS:,}", 0)
    _check_total(path, sum(part.file_size for part in parts), size)
    total, empty, merged = 0, 0, 0
    for part in parts:
        is_sheet = "worksheets/" in part.filename
        highest, widest, begun = 0, b"", b""
        for piece in _unpacked(file, part):
            total += len(piece)
            _check_total(path, total, size)  # what the directory says may be a lie
            if is_sheet:
                for column, row in set(_CELL.findall(piece)):
                    highest = max(highest, int(row))
                    widest = max(widest, column.upper(), key=lambda name: (len(name), name))
                cells = begun + piece
                end = cells.rfind(b"<c ")  # a cell that goes on in the next piece
                begun, cells = (b"", cells) if end < 0 else (cells[end:], cells[:end])
                empty += len(_ERROR.findall(cells)) + len(_FORMULA.findall(cells))
                merged += len(_MERGED.findall(cells))
        empty += len(_ERROR.findall(begun)) + len(_FORMULA.findall(begun))
        merged += len(_MERGED.findall(begun))
        num_cells = highest * _column_number(widest)
        if num_cells > MAX_CELLS:
            raise _too_large(
                path,
                f"spans {highest:,} rows to column {widest.decode()}, {num_cells:,} cells; the "
                f"limit is {MAX_CELLS:,}",
                num_cells,
            )

    return _told(empty, merged)


def _told(empty: int, merged: int) -> list[Notice]:
    found: list[Notice] = []
    if empty:
        message = (
            f"{empty:,} cells hold an error such as #N/A, or a formula without a saved value; "
            "they count as empty."
        )
        hint = "Open the file in a spreadsheet program, mend these cells, and save it."
        found.append(("cells_without_value", message, hint))
    if merged:
        message = f"{merged:,} areas of merged cells: only the first cell of each has its text."
        found.append(("merged_cells", message, "Split them and fill in the text in every row."))
    return found


def _check_total(path: Path, total: int, size: int) -> None:
    ratio = total / max(1, size)
    if total > MAX_SHEET_BYTES or (total > _RATIO_FROM and ratio > MAX_SHEET_RATIO):
        raise _too_large(
            path,
            f"of {megabytes(size)} unpacks to {megabytes(total)} or more, {ratio:,.0f} times its "
            f"size; the limits are {megabytes(MAX_SHEET_BYTES)} and {MAX_SHEET_RATIO} times",
            total,
        )


def _unpacked(file: IO[bytes], part: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of a part to where it really ends, which its directory entry need not tell."""
    file.seek(part.header_offset)
    head = file.read(_LOCAL_HEADER)
    file.seek(int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little"), 1)
    left = part.compress_size
    if part.compress_type == zipfile.ZIP_STORED:
        while left > 0 and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece
        return
    if part.compress_type != zipfile.ZIP_DEFLATED:
        raise NotImplementedError(f"'{part.filename}' is compressed in an unusual way")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    while left > 0 and not inflate.eof and (packed_piece := file.read(min(left, _PIECE))):
        left -= len(packed_piece)
        while packed_piece and not inflate.eof:
            yield inflate.decompress(packed_piece, _PIECE)
            packed_piece = inflate.unconsumed_tail


def _column_number(name: bytes) -> int:
    """The number of a column: 1 for A, 27 for AA."""
    number = 0
    for letter in name:
        number = number * 26 + letter - ord("A") + 1
    return number


def _too_large(path: Path, reason: str, size: int) -> DataError:
    return DataError(
        f"{path} {reason}.",
        hint="Save the sheet as CSV, which is read piece by piece.",
        code="expands_too_far",
        form="sheet",
        size=size,
    )
