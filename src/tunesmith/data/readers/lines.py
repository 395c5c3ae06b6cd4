"""Files of lines: cut into blocks of bytes without a look inside, then parsed block by block."""

from __future__ import annotations

import codecs
import gc
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import filterfalse, islice

import orjson

from tunesmith.data.encodings import SAMPLE, not_decodable
from tunesmith.data.readers.blocks import (
    MAX_LINE_BYTES,
    Block,
    OnProblem,
    Row,
    invalid_json,
    no_rows,
    not_a_row,
    notice,
    tell,
    too_long,
    twice_named,
)
from tunesmith.data.readers.keys import doubled_key, may_have_doubled_keys
from tunesmith.data.readers.sources import Source
from tunesmith.errors import DataError

_RETURNS = "carriage returns only where lines end"
_RETURNS_HINT = "Save the file with usual line ends."
JSONL_HINT = "Mend or remove this line; in jsonl each line is one complete object."


def line_blocks(
    source: Source, on_problem: OnProblem | None, what: str = "rows"
) -> Iterator[Block]:
    """Blocks of whole lines; DataError at the end when all of them were blank."""
    is_blank = True
    for block in cut_lines(source, on_problem):
        assert isinstance(block.payload, bytes)
        text = block.payload.decode("utf-8", "replace") if is_blank else ""
        is_blank = is_blank and not text.strip().strip("\ufeff")
        yield block
    if is_blank:
        raise no_rows(source.path, what)


def cut_lines(source: Source, on_problem: OnProblem | None) -> Iterator[Block]:
    """Blocks of whole lines; memory is bounded whatever the length of the file and of a line."""
    begun: list[bytes] = []  # pieces of the line that has not ended yet
    held, line, told = 0, 1, 0

    def block(payload: bytes) -> Block:
        nonlocal line, told
        before, told = told, source.position()
        made = Block(source.path, line, payload, told - before, source.encoding)
        line += payload.count(b"\n")
        return made

    while chunk := source.read():
        end = chunk.find(b"\n")
        if held + (len(chunk) if end < 0 else end) > MAX_LINE_BYTES:
            begun.clear()
            tell(on_problem, line, too_long(source.path, line, _skip_line(source, held, chunk)))
            held, line = 0, line + 1
            continue
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield block(b"".join([*begun, chunk[:cut]]))
            begun.clear()
            held = 0
        begun.append(chunk[cut:])
        held += len(chunk) - cut
    if held:
        yield block(b"".join(begun))


def _skip_line(source: Source, held: int, chunk: bytes) -> int:
    """Read to the end of the line; returns its size."""
    while (end := chunk.find(b"\n")) < 0:
        held += len(chunk)
        chunk = source.read()
        if not chunk:
            return held
    source.unread(chunk[end + 1 :])
    return held + end


def parse_jsonl(block: Block, on_problem: OnProblem | None) -> list[tuple[int, Row]]:
    """The rows of a block of jsonl."""
    assert isinstance(block.payload, bytes)
    lines = block.payload.split(b"\n")
    if not lines[-1]:
        lines.pop()
    with _uncollected():
        try:
            rows = list(map(orjson.loads, lines))
        except orjson.JSONDecodeError:
            return _one_by_one(block, lines, on_problem)
        if set(map(type, rows)) <= {dict}:
            if on_problem is not None and may_have_doubled_keys(block.payload, rows):
                _tell_doubled(block, lines, on_problem)
            return list(enumerate(rows, block.first_line))
        return _one_by_one(block, lines, on_problem)


def _tell_doubled(block: Block, lines: list[bytes], on_problem: OnProblem) -> None:
    """Report the lines whose objects name a key twice."""
    for number, line in enumerate(lines, block.first_line):
        if may_have_doubled_keys(line, [orjson.loads(line)]):
            _tell_if_doubled(block, line, number, on_problem)


def _tell_if_doubled(block: Block, line: bytes, number: int, on_problem: OnProblem) -> None:
    if (name := doubled_key(line)) is not None:
        notice(on_problem, number, twice_named(block.file, f"line {number}", number, name))


def _one_by_one(
    block: Block, lines: list[bytes], on_problem: OnProblem | None
) -> list[tuple[int, Row]]:
    """The same for a block in which at least one line is blank or bad."""
    rows: list[tuple[int, Row]] = []
    undecodable = _Undecodable(block, lines)
    for number, line in enumerate(lines, block.first_line):
        # Files that were put together from several have marks at other places than their beginning.
        line = line.removeprefix(codecs.BOM_UTF8)
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            if line.strip() and (problem := _problem(block, line, number, undecodable)):
                tell(on_problem, number, problem)
            continue
        if isinstance(value, dict):
            rows.append((number, value))
            if on_problem is not None and may_have_doubled_keys(line, [value]):
                _tell_if_doubled(block, line, number, on_problem)
        else:
            tell(on_problem, number, not_a_row(block.file, f"line {number}", number, value))
    return rows


class _Undecodable:
    """Says what is wrong with lines that are not in their encoding, with one guess for a block."""

    def __init__(self, block: Block, lines: list[bytes]) -> None:
        self._block = block
        self._lines = lines
        self._sample = b""

    def problem(self, number: int, error: UnicodeDecodeError) -> DataError:
        if not self._sample:
            # Only lines that are not UTF-8: a file may have been put together from several.
            rest = islice(self._lines, number - self._block.first_line, None)
            self._sample = b"\n".join(islice(filterfalse(_is_utf8, rest), 100))[:SAMPLE]
        block = self._block
        byte = error.start + 1
        return not_decodable(block.file, number, byte, self._sample, block.encoding)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _problem(block: Block, line: bytes, number: int, undecodable: _Undecodable) -> DataError | None:
    """Why a line is no row: its encoding, or its JSON; None for a blank line."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return undecodable.problem(number, error)
    if not text.strip():
        return None
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "\r" in text.strip():
            return invalid_json(block.file, number, error.colno, _RETURNS, _RETURNS_HINT)
        hint = why(text, error.pos, error.msg) or JSONL_HINT
        return invalid_json(block.file, number, error.colno, error.msg, hint)
    raise AssertionError("the same line was refused as bytes")


def why(text: str, at: int, reason: str) -> str:
    """A hint for what is no JSON though some programs write it."""
    if text.startswith(("NaN", "Infinity", "-Infinity"), at):
        return "NaN and Infinity are no values in JSON: write null or a number."
    if "surrogate" in reason:
        return (
            "Half of a pair such as \\ud83d\\ude00 stands for no character: a text was cut there."
        )
    if "depth" in reason:
        return "The values are nested more than 1,024 deep, which no training row needs."
    return ""


def parse_text(block: Block, on_problem: OnProblem | None) -> list[tuple[int, Row]]:
    """Each line that is not blank is one document."""
    return [
        (number, {"text": line.rstrip("\r")})
        for number, line in decoded_lines(block, on_problem)
        if line and line.strip()
    ]


def decoded_lines(block: Block, on_problem: OnProblem | None) -> Iterator[tuple[int, str | None]]:
    """Numbers and lines without their line feeds; None where a line is not in its encoding."""
    assert isinstance(block.payload, bytes)
    payload = block.payload.removesuffix(b"\n")
    try:
        yield from enumerate(payload.decode().split("\n"), block.first_line)
        return
    except UnicodeDecodeError:
        lines = payload.split(b"\n")
    undecodable = _Undecodable(block, lines)
    for number, line in enumerate(lines, block.first_line):
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            tell(on_problem, number, undecodable.problem(number, error))
            yield number, None


@contextmanager
def _uncollected() -> Generator[None]:
    """No garbage collection for some milliseconds: many new objects, and none of them garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
