"""Files to rows: each reader streams (line number, row), a row being a dict of columns.

Line numbers start at 1 and are what an editor shows: the line in jsonl, csv and txt, the sheet row
in xlsx, the running number of the row in json and parquet.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from tunesmith.data.encodings import check_readable, open_lines, read_text
from tunesmith.errors import DataError

Row = dict[str, Any]
Rows = Iterator[tuple[int, Row]]
MAX_CSV_CELL = 1 << 30  # characters; the csv module's own limit of 131,072 is too small for texts


def read_rows(path: Path) -> Rows:
    """Rows of one file, by its extension."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        check_readable(path)
        raise DataError(
            f"{path}: files of type '{path.suffix}' cannot be read.",
            hint=f"Known types: {', '.join(sorted(READERS))}.",
        )
    return reader(path)


def dataset_files(dataset: Path) -> list[Path]:
    """The files of a dataset: the file itself, or the readable files of a folder by name."""
    if not dataset.is_dir():
        check_readable(dataset)
        return [dataset]
    files = sorted(
        file
        for file in dataset.iterdir()
        if file.suffix.lower() in READERS and file.name != "manifest.json"
    )
    if not files:
        raise DataError(
            f"The folder {dataset} holds no data files.",
            hint=f"Known types: {', '.join(sorted(READERS))}.",
        )
    return files


def _read_jsonl(path: Path) -> Rows:
    found = False
    for number, line in open_lines(path):
        if not line.strip():
            continue
        found = True
        if number == 1 and line.lstrip().startswith("[") and _is_array(line):
            yield from _read_json(path)
            return
        yield number, _row(_parsed(line, path, number), path, number)
    if not found:
        raise DataError(f"{path} holds no rows.")


def _is_array(line: str) -> bool:
    """True when a .jsonl file begins as one JSON array, a common mix-up."""
    try:
        return isinstance(orjson.loads(line), list)
    except orjson.JSONDecodeError:
        return line.strip() == "["


def _parsed(line: str, path: Path, number: int) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _invalid_json(path, number, error.colno, error.msg) from error


def _invalid_json(path: Path, line: int, column: int, reason: str) -> DataError:
    return DataError(
        f"{path}, line {line}, column {column}: invalid JSON ({reason}).",
        hint="Mend or remove this line; in jsonl each line is one complete object.",
        code="invalid_json",
        file=str(path),
        line=line,
        column=column,
    )


def _row(value: Any, path: Path, number: int) -> Row:
    if not isinstance(value, dict):
        raise DataError(
            f"{path}, line {number}: expected an object, found {_kind(value)}.",
            hint='Each row is an object such as {"instruction": "...", "output": "..."}.',
            file=str(path),
            line=number,
        )
    return value


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a text", type(None): "null", bool: "true or false"}
    return names.get(type(value), "a number")  # pyright: ignore[reportUnknownArgumentType]


def _read_json(path: Path) -> Rows:
    """One array of objects, or one object that holds a single array, or a single row."""
    text = read_text(path)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if _is_jsonl(text):
            yield from _read_jsonl(path)
            return
        raise _invalid_json(path, error.lineno, error.colno, error.msg) from error
    rows = _rows_in(value)
    if not rows:
        raise DataError(f"{path} holds no rows.")
    for number, row in enumerate(rows, start=1):
        yield number, _row(row, path, number)


def _is_jsonl(text: str) -> bool:
    """True when a .json file holds one object a line."""
    first, _, rest = text.lstrip().partition("\n")
    try:
        return isinstance(orjson.loads(first), dict) and bool(rest.strip())
    except orjson.JSONDecodeError:
        return False


def _rows_in(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        columns = dict[str, Any](value)
        arrays = [v for v in columns.values() if isinstance(v, list)]
        if len(columns) == 1 and len(arrays) == 1 and all(isinstance(r, dict) for r in arrays[0]):
            wrapper = next(iter(columns))
            return [columns] if wrapper in ("messages", "conversations") else arrays[0]
    return [value]


def _read_csv(path: Path) -> Rows:
    csv.field_size_limit(MAX_CSV_CELL)
    numbers = _Counter()
    lines = numbers.watch(open_lines(path))
    sample = next(lines, "")
    delimiter = max((",", "\t", ";"), key=sample.count)
    reader = csv.reader(_chained(sample, lines), delimiter=delimiter, strict=True)
    try:
        header = _header(next(reader, []), path)
        found, started = False, numbers.line + 1
        for cells in reader:
            if any(cells):
                found = True
                yield started, _from_cells(header, cells, path, started)
            started = numbers.line + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {numbers.line}: not readable as CSV ({error}).",
            hint="Texts with commas, quotes or line breaks stand in double quotes.",
        ) from error
    if not found:
        raise DataError(f"{path} holds no rows below its column names.")


class _Counter:
    """Remembers the number of the line that was handed out last; cells may span lines."""

    line = 0

    def watch(self, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
        for number, text in lines:
            self.line = number
            yield text + "\n"


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _header(cells: list[str], path: Path) -> list[str]:
    header = [cell.strip() for cell in cells]
    if not any(header):
        raise DataError(f"{path}: the first line holds no column names.")
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        raise DataError(f"{path}: column '{doubled[0]}' appears more than once in the first line.")
    return header


def _from_cells(header: list[str], cells: list[str], path: Path, number: int) -> Row:
    if len(cells) > len(header):
        raise DataError(
            f"{path}, line {number}: {len(cells)} cells, but the first line names "
            f"{len(header)} columns.",
            hint="Texts with commas stand in double quotes.",
            file=str(path),
            line=number,
        )
    return {name: cell for name, cell in zip(header, cells, strict=False) if name}


def _read_xlsx(path: Path) -> Rows:
    """The first sheet that has rows; its first row names the columns."""
    from python_calamine import CalamineError, CalamineWorkbook, ZipError

    check_readable(path)
    try:
        with CalamineWorkbook.from_path(str(path)) as book:
            for name in book.sheet_names:
                rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
                if len(rows) > 1:
                    yield from _sheet_rows(rows, path)
                    return
    except (CalamineError, ZipError, OSError) as error:
        raise DataError(f"{path} cannot be read as a spreadsheet: {error}") from error
    raise DataError(f"{path} holds no rows below its column names.")


def _sheet_rows(rows: list[list[Any]], path: Path) -> Rows:
    header = _header([_cell(value) for value in rows[0]], path)
    for number, values in enumerate(rows[1:], start=2):
        cells = [_cell(value) for value in values]
        if any(cells):
            yield number, {name: cell for name, cell in zip(header, cells, strict=False) if name}


def _cell(value: Any) -> str:
    """Spreadsheets store whole numbers as floats: 3.0 was typed as 3."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _read_parquet(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_readable(path)
    try:
        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    if number == 0:
        raise DataError(f"{path} holds no rows.")


def _read_txt(path: Path) -> Rows:
    """Each line that is not blank is one document."""
    found = False
    for number, line in open_lines(path):
        if line.strip():
            found = True
            yield number, {"text": line}
    if not found:
        raise DataError(f"{path} holds no text.")


READERS: dict[str, Callable[[Path], Rows]] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
    ".tsv": _read_csv,
    ".txt": _read_txt,
    ".xls": _read_xlsx,
    ".xlsx": _read_xlsx,
}
