"""Files to rows. Read `blocks.py` first: a file is read in blocks, a block parsed into rows.

    sources.py      plain, compressed or transcoded files as a stream of UTF-8
    lines.py        jsonl, ndjson, txt          json_array.py   json
    delimited.py    csv, tsv                    sheets.py       xlsx, xls        parquet.py

Each row comes with a number from 1: the line in jsonl, csv and txt, the row of the sheet in xlsx,
the running number of the row in json and parquet. Problems carry the same number, that of the row
that cannot be read, and 0 where the file as a whole is meant. Problems with a code in NOTICES cost
no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tunesmith.data.readers.blocks import (
    BLOCK_BYTES,
    MAX_LINE_BYTES,
    NOTICES,
    Block,
    OnProblem,
    Row,
    Rows,
)
from tunesmith.data.readers.delimited import csv_blocks
from tunesmith.data.readers.json_array import begins_as_array, json_blocks
from tunesmith.data.readers.lines import line_blocks, parse_jsonl, parse_text
from tunesmith.data.readers.parquet import parquet_blocks
from tunesmith.data.readers.sheets import sheet_blocks
from tunesmith.data.readers.sources import (
    ARCHIVES,
    PACKED,
    check_readable,
    file_type,
    open_source,
)
from tunesmith.errors import DataError

__all__ = [
    "BLOCK_BYTES",
    "MAX_LINE_BYTES",
    "NOTICES",
    "READERS",
    "Block",
    "OnProblem",
    "Row",
    "Rows",
    "dataset_files",
    "left_aside",
    "parse_block",
    "read_blocks",
    "read_rows",
]

Reader = Callable[[Path, str | None, OnProblem | None], Iterator[Block]]


def read_blocks(
    path: Path, *, encoding: str | None = None, on_problem: OnProblem | None = None
) -> Iterator[Block]:
    """The blocks of one file, by its ending.

    Args:
        encoding: of text: None for UTF-8, a name, or 'auto' for a guess when it is not UTF-8.
        on_problem: is told what is wrong, and reading goes on where it can; then nothing is raised.
            Without it the first problem is raised, after the rows before it have been handed out.
    """
    try:
        yield from _reader(path)(path, encoding, on_problem)
    except DataError as error:
        if on_problem is None:
            raise
        on_problem(error.details.get("row", error.details.get("line", 0)), error)


def parse_block(block: Block, on_problem: OnProblem | None = None) -> list[tuple[int, Row]]:
    """The numbered rows of a block; problems as in `read_blocks`."""
    if isinstance(block.payload, list):
        return block.payload
    parse = parse_text if file_type(block.file) == ".txt" else parse_jsonl
    return parse(block, on_problem)


def read_rows(
    path: Path, *, encoding: str | None = None, on_problem: OnProblem | None = None
) -> Rows:
    """The numbered rows of one file; arguments as of `read_blocks`."""
    for block in read_blocks(path, encoding=encoding, on_problem=on_problem):
        try:
            rows = parse_block(block, on_problem)
        except DataError as error:
            yield from parse_block(_before(block, error.details["line"]))
            raise
        yield from rows


def dataset_files(dataset: Path) -> list[Path]:
    """The files of a dataset: the file itself, or the readable files of a folder by name."""
    if not dataset.is_dir():
        check_readable(dataset)
        return [dataset]
    files = [file for file in _entries(dataset) if not _why_not(file)]
    if not files:
        told = "; ".join(f"{name}: {why}" for name, why in left_aside(dataset)[:5])
        raise DataError(
            f"The folder {dataset} holds no data files{f' ({told})' if told else ''}.",
            hint=f"Known types: {', '.join(sorted(READERS))}.",
        )
    return files


def left_aside(dataset: Path) -> list[tuple[str, str]]:
    """What else lies in the folder of a dataset, by name, and why it is not read."""
    entries = _entries(dataset) if dataset.is_dir() else []
    return [(entry.name, why) for entry in entries if (why := _why_not(entry))]


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, but for hidden files and a manifest."""
    entries = (e for e in folder.iterdir() if e.name[0] != "." and e.name != "manifest.json")
    return sorted(entries)


def _why_not(entry: Path) -> str:
    """Why an entry of a folder is no data file; empty for one that is."""
    if entry.is_symlink() and not entry.resolve().is_relative_to(entry.parent.resolve()):
        return "a link that leads out of the folder; name the file itself"
    if entry.is_dir():
        return "a folder within the folder; name it too"
    return "" if file_type(entry) in READERS else "no file of a known type"


def _before(block: Block, line: int) -> Block:
    """The lines of a block before a bad one."""
    assert isinstance(block.payload, bytes)
    count = line - block.first_line
    lines = block.payload.split(b"\n", count)[:count]
    return replace(block, payload=b"".join(line + b"\n" for line in lines))


def _reader(path: Path) -> Reader:
    kind = file_type(path)
    reader = READERS.get(kind)
    if reader is not None and (kind in _PACKABLE or path.suffix.lower() not in PACKED):
        return reader
    check_readable(path)
    hint = f"Known types: {', '.join(sorted(READERS))}."
    if path.suffix.lower() in ARCHIVES | set(PACKED):
        hint = f"Unpack it first; text may stay packed, as in data.jsonl.gz. {hint}"
    raise DataError(f"{path}: files of type '{path.suffix}' cannot be read.", hint=hint)


def _read_csv(path: Path, encoding: str | None, on_problem: OnProblem | None) -> Iterator[Block]:
    with open_source(path, encoding) as source:
        yield from csv_blocks(source, on_problem)


def _read_json(path: Path, encoding: str | None, on_problem: OnProblem | None) -> Iterator[Block]:
    with open_source(path, encoding) as source:
        yield from json_blocks(source, on_problem)


def _read_jsonl(path: Path, encoding: str | None, on_problem: OnProblem | None) -> Iterator[Block]:
    with open_source(path, encoding) as source:
        blocks = json_blocks if begins_as_array(source) else line_blocks
        yield from blocks(source, on_problem)


def _read_txt(path: Path, encoding: str | None, on_problem: OnProblem | None) -> Iterator[Block]:
    with open_source(path, encoding) as source:
        yield from line_blocks(source, on_problem, "text")


def _read_parquet(path: Path, *_: object) -> Iterator[Block]:
    return parquet_blocks(path)


def _read_sheet(path: Path, _: str | None, on_problem: OnProblem | None) -> Iterator[Block]:
    return sheet_blocks(path, on_problem)


_PACKABLE = {".csv", ".json", ".jsonl", ".ndjson", ".tsv", ".txt"}
READERS: dict[str, Reader] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
    ".tsv": _read_csv,
    ".txt": _read_txt,
    ".xls": _read_sheet,
    ".xlsx": _read_sheet,
}
