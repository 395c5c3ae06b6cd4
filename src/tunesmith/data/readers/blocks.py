"""The pieces that files are read in, their limits, and how problems are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.data.encodings import UTF8
from tunesmith.errors import DataError

Row = dict[str, Any]
Rows = Iterator[tuple[int, Row]]
Batch = tuple[list[tuple[int, Row]], int]  # rows and their bytes
OnProblem = Callable[[int, DataError], None]
"""Takes the line, 0 for the file as a whole, and what is wrong."""

BLOCK_BYTES = 1 << 19  # measured: the rows of larger ones leave the cache, which costs up to 40%
MAX_LINE_BYTES = 64 << 20  # also of an element of a json array, and of a record in csv
GIB = 1 << 30
MAX_UNPACKED_BYTES = 50 * GIB  # the product's limit for one dataset


@dataclass(frozen=True)
class Block:
    """A piece of a file that can be parsed by itself, in another process too.

    Lines come as bytes in UTF-8 with their line ends; what cannot be cut at a line comes as rows.
    """

    file: Path
    first_line: int
    payload: bytes | list[tuple[int, Row]]
    size: int  # bytes of the file that it stands for, for progress
    encoding: str = UTF8  # of the file, for messages: the payload is UTF-8


def tell(on_problem: OnProblem | None, line: int, error: DataError) -> None:
    """Report a problem and go on, or raise it where nobody listens."""
    if on_problem is None:
        raise error
    on_problem(line, error)


# Codes of what should be known about rows that are handed out all the same.
NOTICES = frozenset({"duplicate_keys", "sheets_left_out", "cells_without_value", "merged_cells"})


def notice(on_problem: OnProblem | None, line: int, error: DataError) -> None:
    """Tell what should be known where somebody listens; nothing is left out because of it."""
    assert error.code in NOTICES
    if on_problem is not None:
        on_problem(line, error)


def twice_named(path: Path, place: str, line: int, name: str) -> DataError:
    return DataError(
        f"{path}, {place}: an object names '{name}' twice; the last value is taken.",
        hint="Remove the value that does not belong there.",
        code="duplicate_keys",
        file=str(path),
        line=line,
    )


def packed(batches: Iterable[Batch], path: Path, position: Callable[[], int]) -> Iterator[Block]:
    """Blocks of rows; those before an error are handed out before it."""
    waiting: list[tuple[int, Row]] = []
    size, told = 0, 0

    def block() -> Block:
        nonlocal waiting, size, told
        before, told = told, position()
        made = Block(path, waiting[0][0] if waiting else 1, waiting, told - before)
        waiting, size = [], 0
        return made

    try:
        for rows, num_bytes in batches:
            waiting += rows
            size += num_bytes
            if size >= BLOCK_BYTES:
                yield block()
    except DataError:
        if waiting:
            yield block()
        raise
    if waiting or position() > told:
        yield block()


def no_rows(path: Path, what: str = "rows") -> DataError:
    return DataError(f"{path} holds no {what}.")


def invalid_json(path: Path, line: int, column: int, reason: str, hint: str) -> DataError:
    return DataError(
        f"{path}, line {line}, column {column}: invalid JSON ({reason}).",
        hint=hint,
        code="invalid_json",
        file=str(path),
        line=line,
        column=column,
    )


def invalid_element(
    path: Path, row: int, line: int, column: int, reason: str, hint: str
) -> DataError:
    """Of a document in which rows are counted: its lines say little, and may all be one."""
    return DataError(
        f"{path}, row {row}: invalid JSON ({reason}) in line {line}, column {column}.",
        hint=hint,
        code="invalid_json",
        file=str(path),
        row=row,
        line=line,
        column=column,
    )


def too_long(path: Path, line: int, size: int, what: str = "a line") -> DataError:
    return DataError(
        f"{path}, line {line}: {what} of {megabytes(size)} is longer than the limit of "
        f"{megabytes(MAX_LINE_BYTES)}.",
        hint="Split or remove it; a missing line break or closing quote is a usual cause.",
        code="line_too_long",
        file=str(path),
        line=line,
        size=size,
    )


def megabytes(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"


def kind_of(value: Any) -> str:
    """What a value is in the words of JSON."""
    names = {list: "an array", str: "a text", type(None): "null", bool: "true or false"}
    return names.get(type(value), "a number")  # pyright: ignore[reportUnknownArgumentType]


def not_a_row(path: Path, place: str, line: int, value: Any) -> DataError:
    return DataError(
        f"{path}, {place}: expected an object, found {kind_of(value)}.",
        hint='Each row is an object such as {"instruction": "...", "output": "..."}.',
        file=str(path),
        line=line,
    )
