"""Whatever stands in a file: rows and problems, never another exception; accepted rows stay."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from tunesmith.data.readers import READERS, Row, parse_block, read_blocks, read_rows
from tunesmith.data.readers.sources import Source
from tunesmith.errors import DataError

PIECES = st.sampled_from((1, 2, 3, 7, 50, 1000, 1 << 22))
TEXT_TYPES = (".csv", ".json", ".jsonl", ".ndjson", ".tsv", ".txt")
# Bytes that look like data more often than random ones do.
FRAGMENTS = [
    b'{"a": 1}', b'{"a": "x"', b"}", b"[", b"]", b",", b"\n", b"\r\n", b'"', b'""', b"a;b", b"a,b",
    b"\t", b"\\", b"\\ud800", b"NaN", b"null", b"1", b"\x00", b"\xff", b"\xc4\xe3", b"\xef\xbb\xbf",
    b"\xff\xfe", b" ", "你".encode(), b"{", b'"data": [', b'{"data": [', b"x" * 40, b"[" * 1100,
]  # fmt: skip
CONTENT = st.one_of(
    st.binary(max_size=200), st.lists(st.sampled_from(FRAGMENTS), max_size=25).map(b"".join)
)
ENCODINGS = st.sampled_from((None, None, "auto", "gb18030", "utf-16"))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | WORDS
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
ROWS = st.lists(st.dictionaries(WORDS, VALUES, max_size=4), min_size=1, max_size=12)


@pytest.fixture(autouse=True)
def _piece_bytes() -> Iterator[None]:
    before = Source.piece_bytes
    yield
    Source.piece_bytes = before


def on_file(name: str, content: bytes, do: Callable[[Path], Any]) -> Any:
    """A function of a file that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        return do(file)


def rows_of(path: Path) -> list[Row]:
    return [row for _, row in read_rows(path)]


def rows_and_problems(
    path: Path, encoding: str | None = None
) -> tuple[list[tuple[int, Row]], list[tuple[int, DataError]]]:
    problems: list[tuple[int, DataError]] = []
    rows = list(
        read_rows(path, encoding=encoding, on_problem=lambda *problem: problems.append(problem))
    )
    return rows, problems


def outcome(path: Path, encoding: str | None) -> None:
    """Reads twice; the first problem is raised exactly where it is told."""
    rows, problems = rows_and_problems(path, encoding)
    assert rows or problems
    for _, row in rows:
        assert orjson.loads(orjson.dumps(row)) == row
    raised: list[tuple[int, Row]] = []
    try:
        raised.extend(read_rows(path, encoding=encoding))
        assert not problems
        assert raised == rows
    except DataError:
        assert problems
        assert raised == rows[: len(raised)]
    assert all(str(path) in problem.message for _, problem in problems)


@pytest.mark.parametrize("suffix", sorted({*READERS, ".jsonl.gz", ".csv.zst"}))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    content=CONTENT,
    piece=PIECES,
    encoding=st.sampled_from((None, None, "auto", "gb18030", "utf-16")),
)
def test_no_bytes_raise_anything_but_a_data_error(
    suffix: str, content: bytes, piece: int, encoding: str | None
) -> None:
    Source.piece_bytes = piece
    on_file(f"a{suffix}", content, lambda file: outcome(file, encoding))


@settings(max_examples=60, deadline=None)
@given(content=CONTENT, cut=st.integers(0, 300), suffix=st.sampled_from(TEXT_TYPES))
def test_a_damaged_gzip_file_is_a_data_error(content: bytes, cut: int, suffix: str) -> None:
    packed = gzip.compress(content + b"\n")
    on_file(f"a{suffix}.gz", packed[:cut], lambda file: outcome(file, None))


@settings(max_examples=50, deadline=None)
@given(
    at=st.integers(0, 5000), bits=st.integers(1, 255), suffix=st.sampled_from((".parquet", ".xlsx"))
)
def test_a_flipped_byte_is_at_most_a_data_error(at: int, bits: int, suffix: str) -> None:
    content = bytearray(PARQUET if suffix == ".parquet" else XLSX)
    content[at % len(content)] ^= bits
    on_file(f"a{suffix}", bytes(content), lambda file: outcome(file, None))


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, piece=PIECES, end=st.sampled_from((b"\n", b"\r\n", b"\n\n", b"\n \n")))
def test_jsonl_gives_the_rows_that_were_written(rows: list[Row], piece: int, end: bytes) -> None:
    Source.piece_bytes = piece
    content = end.join(orjson.dumps(row) for row in rows)
    assert on_file("a.jsonl", content, rows_of) == rows
    assert on_file("a.ndjson.gz", gzip.compress(content), rows_of) == rows


@settings(max_examples=80, deadline=None)
@given(
    rows=ROWS,
    piece=PIECES,
    indent=st.sampled_from((None, 0, 2)),
    ascii_only=st.booleans(),
    wrapper=st.sampled_from(("", "data")),
)
def test_a_json_array_gives_the_rows_that_were_written(
    rows: list[Row], piece: int, indent: int | None, ascii_only: bool, wrapper: str
) -> None:
    Source.piece_bytes = piece
    value = {wrapper: rows} if wrapper else rows
    content = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert on_file("a.json", content, rows_of) == rows


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS, bad=st.sampled_from((b"NaN", b'{"a": "\\ud800"}', b'{"a": "\xff"}', b"[1]", b"7"))
)
def test_a_bad_element_costs_nothing_but_itself(rows: list[Row], bad: bytes) -> None:
    Source.piece_bytes = 30
    elements = [orjson.dumps(row) for row in rows]
    content = b"[" + b",\n".join([*elements, bad, *elements]) + b"]"
    read, problems = on_file("a.json", content, rows_and_problems)
    assert [row for _, row in read] == rows + rows
    assert [number for number, _ in read if number <= len(rows)] == list(range(1, len(rows) + 1))
    assert len(problems) == 1


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=8),
    piece=PIECES,
    delimiter=st.sampled_from(",;\t"),
    quoting=st.sampled_from((csv.QUOTE_ALL, csv.QUOTE_MINIMAL)),
)
def test_csv_gives_the_cells_that_were_written(
    cells: list[tuple[str, str, str]], piece: int, delimiter: str, quoting: Any
) -> None:
    Source.piece_bytes = piece
    table = io.StringIO()
    writer = csv.writer(table, delimiter=delimiter, quoting=quoting)
    writer.writerows([("q", "a", "b"), *cells])
    expected = [dict(zip("qab", row, strict=True)) for row in cells if any(row)]
    if expected:
        assert on_file("a.csv", table.getvalue().encode(), rows_of) == expected


@settings(max_examples=50, deadline=None)
@given(
    lines=st.lists(WORDS.filter(lambda word: not set(word) & {"\r", "\n"}), min_size=1),
    piece=PIECES,
)
def test_txt_gives_the_lines_that_were_written(lines: list[str], piece: int) -> None:
    Source.piece_bytes = piece
    expected = [{"text": line} for line in lines if line.strip()]
    if expected:
        content = "\n".join(["the first line", *lines]).encode()
        assert on_file("a.txt", content, rows_of)[1:] == expected


@settings(max_examples=50, deadline=None)
@given(
    rows=ROWS, piece=PIECES, encoding=st.sampled_from(("utf-16", "utf-16-le", "utf-32", "gb18030"))
)
def test_a_file_in_a_named_encoding_gives_the_same_rows(
    rows: list[Row], piece: int, encoding: str
) -> None:
    Source.piece_bytes = piece
    content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    read = on_file(
        "a.jsonl", content.encode(encoding), lambda file: list(read_rows(file, encoding=encoding))
    )
    assert [row for _, row in read] == rows
    assert [line for line, _ in read] == list(range(1, len(rows) + 1))


@settings(max_examples=50, deadline=None)
@given(rows=ROWS, piece=PIECES, suffix=st.sampled_from((".jsonl", ".csv", ".txt", ".json")))
def test_the_sizes_of_blocks_add_up_to_the_file(rows: list[Row], piece: int, suffix: str) -> None:
    Source.piece_bytes = piece
    content = b"q\n" + b"a word\n" * len(rows)
    if suffix.startswith(".json"):
        content = b"\n".join(orjson.dumps(row) for row in rows)

    def check(file: Path) -> None:
        blocks = list(read_blocks(file))
        assert sum(block.size for block in blocks) == len(content)
        num_rows = sum(len(parse_block(block)) for block in blocks)
        assert num_rows == len(rows) + (suffix == ".txt")

    on_file(f"a{suffix}", content, check)


def _parquet() -> bytes:
    sink = io.BytesIO()
    rows = [{"messages": [{"role": "user", "content": f"問 {n}"}], "n": n} for n in range(50)]
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def _xlsx() -> bytes:
    book = Workbook()
    assert book.active is not None
    for n in range(20):
        book.active.append([f"question {n}", n])
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


PARQUET, XLSX = _parquet(), _xlsx()
