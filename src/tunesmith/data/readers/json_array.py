"""Rows in one JSON document: an array, an object that holds one array, or a single row.

Arrays are read in pieces. The text between the end of one element and the first key of the next,
such as `},\n  {"instruction"`, is learned from the first two. Where it stands last in a piece, the
piece is cut, and what comes before is parsed in one go. If that parses, the cut was right: a piece
that is complete by itself ends where an element ends. If not, the elements are taken one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from tunesmith.data.encodings import not_decodable
from tunesmith.data.readers.blocks import (
    BLOCK_BYTES,
    MAX_LINE_BYTES,
    Batch,
    Block,
    OnProblem,
    Row,
    invalid_element,
    no_rows,
    not_a_row,
    notice,
    packed,
    tell,
    too_long,
    twice_named,
)
from tunesmith.data.readers.keys import doubled_key, may_have_doubled_keys
from tunesmith.data.readers.lines import line_blocks, why
from tunesmith.data.readers.sources import Source
from tunesmith.errors import DataError

_HINT = "Mend or remove this element; a comma too many or a missing quote is a usual cause."
_END_HINT = "The file is one array of rows, or one object with nothing but such an array."
_SPACE = re.compile(r"[ \t\r\n]*")
_FIRST_KEY = re.compile(r'\{[ \t\r\n]*(?:"(?:[^"\\]|\\.)*")?')
_WRAPPER = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"((?:[^"\\]|\\.)*)"[ \t\r\n]*:[ \t\r\n]*\[')
_ROW_KEYS = (b"messages", b"conversations")  # a single row, not a wrapper around rows
_WINDOW = 1 << 14
_ESCAPE = "surrogateescape"  # keeps bytes that are not UTF-8 until they are reported


def begins_as_array(source: Source) -> bool:
    """True when a .jsonl file holds one JSON array of objects, a common mix-up."""
    head = source.read()
    source.unread(head)
    return re.match(rb"\s*\[\s*([{\]]|$)", head) is not None


def json_blocks(source: Source, on_problem: OnProblem | None) -> Iterator[Block]:
    """The rows of a .json file, or of jsonl with that name."""
    head = _beginning(source)
    begin = head.lstrip()[:1]
    if begin == b"[":
        opening = head.index(b"[") + 1
        yield from _array_blocks(source, opening, b"]", on_problem)
    elif _is_jsonl(head):
        yield from line_blocks(source, on_problem)
    elif (opening := _opening_of_wrapper(head)) and not _is_json(head):
        yield from _array_blocks(source, opening, b"]}", on_problem)
    else:
        yield from _document_blocks(source, on_problem)


def _is_json(document: bytes) -> bool:
    try:
        orjson.loads(document)
    except orjson.JSONDecodeError:
        return False
    return True


def _opening_of_wrapper(head: bytes) -> int:
    """Where the rows begin in an object around an array; 0 when it is something else."""
    found = _WRAPPER.match(head)
    return found.end() if found and found[1] not in _ROW_KEYS else 0


def _beginning(source: Source) -> bytes:
    """The first piece; where that does not tell arrays from jsonl, the first line and more."""
    head = source.read()
    while len(head) <= MAX_LINE_BYTES:
        text = head.lstrip()
        if text[:1] == b"[" or text.partition(b"\n")[2].strip():
            break
        if len(head) >= BLOCK_BYTES and _opening_of_wrapper(head):
            break
        more = source.read(len(head))
        if not more:
            break
        head += more
    source.unread(head)
    return head


def _is_jsonl(head: bytes) -> bool:
    """True when a .json file holds one object a line."""
    first, _, rest = head.lstrip().partition(b"\n")
    try:
        return isinstance(orjson.loads(first), dict) and bool(rest.strip())
    except orjson.JSONDecodeError:
        return False


def _document_blocks(source: Source, on_problem: OnProblem | None) -> Iterator[Block]:
    """A document that is small or a single row: parsed as a whole."""
    pieces: list[bytes] = []
    size = 0
    while chunk := source.read():
        pieces.append(chunk)
        size += len(chunk)
        if size > MAX_LINE_BYTES:
            raise too_long(source.path, 1, size, "a document without an array of rows")
    rows = _rows_in(_parsed(source, b"".join(pieces)))
    if not rows:
        raise no_rows(source.path)
    good: list[tuple[int, Row]] = []
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            good.append((number, row))
        else:
            if on_problem is None and good:
                yield Block(source.path, 1, good, source.position())
            tell(on_problem, number, not_a_row(source.path, f"row {number}", number, row))
    yield Block(source.path, 1, good, source.position())


def _parsed(source: Source, document: bytes) -> Any:
    try:
        text = document.decode()
    except UnicodeDecodeError as error:
        line = document.count(b"\n", 0, error.start) + 1
        start = document.rfind(b"\n", 0, error.start) + 1
        sample, byte = document[start:], error.start - start + 1
        problem = not_decodable(source.path, line, byte, sample, source.encoding)
        problem.details["row"] = 1
        raise problem from error
    if not text.strip():
        raise no_rows(source.path)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        hint = why(text, error.pos, error.msg) or _HINT
        place = 1, error.lineno, error.colno
        raise invalid_element(source.path, *place, error.msg, hint) from error


def _rows_in(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        columns = dict[str, Any](value)
        arrays = [v for v in columns.values() if isinstance(v, list)]
        if len(columns) == 1 and len(arrays) == 1 and all(isinstance(r, dict) for r in arrays[0]):
            wrapper = next(iter(columns))
            return [columns] if wrapper.encode() in _ROW_KEYS else arrays[0]
    return [value]


def _array_blocks(
    source: Source, opening: int, closing: bytes, on_problem: OnProblem | None
) -> Iterator[Block]:
    array = _Array(source, opening, closing, on_problem)
    yield from packed(array.batches(), source.path, source.position)
    if array.number == 0:
        raise no_rows(source.path)


class _Array:
    """The elements of one array. `_buffer` is what was read and not yet consumed."""

    def __init__(
        self, source: Source, opening: int, closing: bytes, on_problem: OnProblem | None
    ) -> None:
        self.number = 0  # of the last element
        self._source = source
        self._on_problem = on_problem
        self._closing = closing
        self._buffer = b""
        self._line, self._column, self._byte = 1, 1, 1  # where the buffer begins in the file
        self._opening = opening
        self._separator = b""
        self._window = _WINDOW  # bytes that are looked at when elements are taken one by one
        self._one_by_one = 0  # bytes to take so before the next attempt to parse many
        self._expects = "first"  # first: an element or the end; element; comma: that or the end
        self._is_lost = False  # until the next separator
        self._is_hungry = False  # nothing can be done before more is read
        self._done = False

    def batches(self) -> Iterator[Batch]:
        """Rows with their sizes, some at a time."""
        self._buffer = self._source.read()
        self._consume(self._opening)
        has_ended = False
        while not self._done:
            self._is_hungry = False
            if self._is_lost:
                self._find_way()
            elif whole := self._whole():
                self._is_hungry = not has_ended
                yield whole
            else:
                yield from self._elements(has_ended)
            if self._is_hungry and has_ended:
                break
            if self._is_hungry:
                chunk = self._source.read(len(self._buffer))
                has_ended = not chunk
                self._buffer += chunk
        self._check_end()

    def _whole(self) -> Batch | None:
        """All elements but the last ones in one go, if that works."""
        if self._one_by_one > 0 or not self._separator:
            return None
        cut = self._buffer.rfind(self._separator) + 1
        rows = self._parsed(self._buffer[:cut])
        if not rows or set(map(type, rows)) != {dict}:
            self._one_by_one = cut
            return None
        if self._on_problem is not None and may_have_doubled_keys(self._buffer[:cut], rows):
            self._one_by_one = cut
            return None
        numbered = list(enumerate(rows, self.number + 1))
        self.number += len(rows)
        self._consume(cut)
        self._expects = "comma"
        return numbered, cut

    def _parsed(self, body: bytes) -> list[Any]:
        """Some elements, or none if they are not complete."""
        if self._expects == "comma":
            body = body.lstrip(b" \t\r\n")
            if body[:1] != b",":
                return []
            body = body[1:]
        try:
            return orjson.loads(b"[%b]" % body)
        except orjson.JSONDecodeError:
            return []

    def _elements(self, has_ended: bool) -> Iterator[Batch]:
        """The elements of the window one by one; at first only until the separator is known."""
        text = self._buffer[: self._window].decode("utf-8", _ESCAPE)
        is_all = self._window >= len(self._buffer)
        is_last = has_ended and is_all
        knew = bool(self._separator)
        at, last_end, num_taken = 0, -1, 0
        while not (self._separator and not knew):
            at = _after_space(text, at)
            if at == len(text):
                self._is_hungry = True
                break
            if self._expects == "comma" and text[at] == ",":
                at, self._expects = at + 1, "element"
                continue
            if self._expects != "element" and text[at] == "]":
                self._done = True
                break
            end = self._end_of_element(text, at, is_last)
            if self._is_hungry:
                break
            num_taken += 1
            if isinstance(end, DataError):
                at = self._lose(text, at, end)
                if self._is_lost:
                    return
                last_end = -1
                continue
            if last_end > 0:
                self._learn(text, last_end, at)
            yield self._row(text, at, end)
            at, last_end, self._expects = end, end, "comma"
        self._consume(len(text[:at].encode("utf-8", _ESCAPE)))
        self._window = _WINDOW if num_taken else 4 * self._window
        self._is_hungry = self._is_hungry and is_all

    def _end_of_element(self, text: str, at: int, is_last: bool) -> int | DataError:
        """Where it ends, or why nowhere; hungry when that shows only in what comes."""
        if self._expects == "comma":
            return self._invalid(text, at, "Expecting ',' delimiter")
        try:
            _, end = _SCANNER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            if is_last or not _is_cut_off(error, text):
                return self._invalid(text, error.pos, error.msg)
            if len(self._buffer) > MAX_LINE_BYTES and len(text) > MAX_LINE_BYTES // 4:
                line, _ = self._place(text, at)
                return too_long(self._source.path, line, len(self._buffer), "an element")
            end = len(text)
        except RecursionError:
            return self._invalid(text, at, "nested too deep")
        except ValueError:  # more digits than Python converts
            return self._invalid(text, at, "a number is too long")
        # A number may go on in what has not been read.
        self._is_hungry = end == len(text) and not is_last
        return end

    def _row(self, text: str, at: int, end: int) -> Batch:
        self.number += 1
        element = text[at:end].encode("utf-8", _ESCAPE)
        try:
            value = orjson.loads(element)
        except orjson.JSONDecodeError as error:
            tell(self._on_problem, self.number, self._refused(text, at, element, error))
            return [], 0
        if isinstance(value, dict):
            self._tell_if_doubled(element, value)
            return [(self.number, value)], len(element)
        problem = not_a_row(self._source.path, f"row {self.number}", self.number, value)
        tell(self._on_problem, self.number, problem)
        return [], 0

    def _tell_if_doubled(self, element: bytes, value: Row) -> None:
        if self._on_problem is None or not may_have_doubled_keys(element, [value]):
            return
        if (name := doubled_key(element)) is not None:
            path, number = self._source.path, self.number
            notice(self._on_problem, number, twice_named(path, f"row {number}", number, name))

    def _refused(
        self, text: str, at: int, element: bytes, error: orjson.JSONDecodeError
    ) -> DataError:
        """Why an element that has an end is no JSON all the same."""
        try:
            inner = element.decode()
        except UnicodeDecodeError as bad:
            line, _ = self._place(text, at + len(element[: bad.start].decode()))
            byte = bad.start - element.rfind(b"\n", 0, bad.start)
            if b"\n" not in element[: bad.start]:
                byte = self._byte_of(text, at) + bad.start
            return not_decodable(self._source.path, line, byte, element, self._source.encoding)
        line, column = self._place(text, at + error.pos)
        hint = why(inner, error.pos, error.msg) or _HINT
        return invalid_element(self._source.path, self.number, line, column, error.msg, hint)

    def _learn(self, text: str, end: int, start: int) -> None:
        """What stands between two elements."""
        found = _FIRST_KEY.match(text, start)
        if found and text[end - 1] == "}" and not self._separator:
            self._separator = text[end - 1 : found.end()].encode("utf-8", "ignore")

    def _invalid(self, text: str, at: int, reason: str) -> DataError:
        line, column = self._place(text, at)
        hint = why(text, at, reason) or _HINT
        return invalid_element(self._source.path, self.number + 1, line, column, reason, hint)

    def _lose(self, text: str, at: int, problem: DataError) -> int:
        """Report an element without an end; where to go on, which is the next separator."""
        self.number += 1
        tell(self._on_problem, self.number, problem)
        self._expects = "comma"
        found = text.find(self._separator.decode(), at + 1) if self._separator else -1
        if found < 0:
            self._is_lost = True
            self._done = not self._separator
            self._skip(len(self._buffer[: self._window]))
        return found + 1

    def _skip(self, num_bytes: int) -> None:
        """Consume all of it but the beginning of a separator."""
        self._consume(max(0, num_bytes - max(0, len(self._separator) - 1)))

    def _find_way(self) -> None:
        """Consume what comes before the next separator."""
        at = self._buffer.find(self._separator)
        if at < 0:
            self._is_hungry = True
            self._skip(len(self._buffer))
            return
        self._consume(at + 1)
        self._is_lost = False

    def _check_end(self) -> None:
        """Report an array that is not complete, or something behind it."""
        if self._is_lost:
            return
        reason = self._after_array() if self._done else "the file ends within the array"
        if reason:
            place = self.number + 1, self._line, self._column
            problem = invalid_element(self._source.path, *place, reason, _END_HINT)
            tell(self._on_problem, self.number + 1, problem)

    def _after_array(self) -> str:
        """What is wrong with the text from the array's closing bracket on, if anything is."""
        closing = self._closing
        while True:
            self._consume(len(self._buffer) - len(self._buffer.lstrip(b" \t\r\n")))
            if not self._buffer:
                self._buffer = self._source.read()
                if not self._buffer:
                    return "the file ends before its last bracket" if closing else ""
                continue
            if self._buffer[:1] != closing[:1]:
                return "unexpected text after the array"
            self._consume(1)
            closing = closing[1:]

    def _place(self, text: str, at: int) -> tuple[int, int]:
        """Line and column in the file of a position in the buffer."""
        line = self._line + text.count("\n", 0, at)
        if line == self._line:
            return line, self._column + at
        return line, at - text.rfind("\n", 0, at)

    def _byte_of(self, text: str, at: int) -> int:
        before = text[text.rfind("\n", 0, at) + 1 : at].encode("utf-8", _ESCAPE)
        return len(before) + (self._byte if "\n" not in text[:at] else 1)

    def _consume(self, num_bytes: int) -> None:
        taken, self._buffer = self._buffer[:num_bytes], self._buffer[num_bytes:]
        self._one_by_one -= num_bytes
        num_lines = taken.count(b"\n")
        if num_lines:
            self._line += num_lines
            self._column = self._byte = 1
            taken = taken[taken.rfind(b"\n") + 1 :]
        self._column += len(taken.decode("utf-8", "replace"))
        self._byte += len(taken)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found
    return found.end()


def _is_cut_off(error: json.JSONDecodeError, text: str) -> bool:
    """True when the mistake may be only that the text ends: at its end, or in an open string."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(text) - 16


_SCANNER = json.JSONDecoder()
