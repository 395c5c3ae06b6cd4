"""Every file type gives rows with line numbers, and says where a bad file is bad."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

from tunesmith.data.encodings import iconv_name
from tunesmith.data.readers import (
    MAX_LINE_BYTES,
    dataset_files,
    left_aside,
    parse_block,
    read_blocks,
    read_rows,
)
from tunesmith.errors import DataError

BROKEN = Path(__file__).parents[2] / "broken"

ROWS = [{"问题": "退货?", "答案": "七天内"}, {"问题": "a, b", "答案": 'say "hi"\nplease'}]


def read(path: Path) -> list[tuple[int, dict[str, Any]]]:
    return list(read_rows(path))


def told(path: Path, encoding: str | None = None) -> tuple[list[int], list[tuple[int, str]]]:
    """Numbers of the rows, and the lines of the problems with their codes."""
    problems: list[tuple[int, str]] = []
    rows = read_rows(
        path,
        encoding=encoding,
        on_problem=lambda line, error: problems.append((line, error.code)),
    )
    return [number for number, _ in rows], problems


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def jsonl(rows: list[dict[str, str]]) -> bytes:
    return b"\n".join(orjson.dumps(row) for row in rows)


def test_jsonl_numbers_lines_and_skips_blank_ones(tmp_path: Path) -> None:
    """C1"""
    file = write(tmp_path / "a.jsonl", b'{"a": 1}\n\n{"a": 2}\r\n')
    assert read(file) == [(1, {"a": 1}), (3, {"a": 2})]


def test_json_takes_an_array_an_object_and_a_wrapped_array(tmp_path: Path) -> None:
    array = write(tmp_path / "a.json", '[{"a": 1},\n {"a": 2}]')
    one = write(tmp_path / "b.json", '{"a": 1, "b": 2}')
    wrapped = write(tmp_path / "c.json", '{"data": [{"a": 1}, {"a": 2}]}')
    assert read(array) == read(wrapped) == [(1, {"a": 1}), (2, {"a": 2})]
    assert read(one) == [(1, {"a": 1, "b": 2})]


def test_json_and_jsonl_are_told_apart_by_content(tmp_path: Path) -> None:
    lines = write(tmp_path / "a.json", '{"a": 1}\n{"a": 2}\n')
    array = write(tmp_path / "b.jsonl", '[\n{"a": 1},\n{"a": 2}\n]')
    assert [row for _, row in read(lines)] == [row for _, row in read(array)]


def test_csv_keeps_quotes_commas_and_line_breaks_and_the_line_each_row_begins_on(
    tmp_path: Path,
) -> None:
    """C1"""
    text = '问题,答案\n退货?,七天内\n"a, b","say ""hi""\nplease"\nc,d\n'
    file = write(tmp_path / "a.csv", text)
    assert read(file)[:2] == [(2, ROWS[0]), (3, ROWS[1])]
    assert read(file)[2] == (5, {"问题": "c", "答案": "d"})


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_csv_finds_its_delimiter(tmp_path: Path, delimiter: str) -> None:
    file = write(tmp_path / "a.csv", f"q{delimiter}a\n1{delimiter}2\n")
    assert read(file) == [(2, {"q": "1", "a": "2"})]


def test_csv_with_more_cells_than_columns_names_the_line(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "q,a\n1,2\n1,2,3\n")
    with pytest.raises(DataError, match=r"line 3: 3 cells, .* names 2 columns"):
        read(file)


def test_csv_with_an_open_quote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not readable as CSV"):
        read(write(tmp_path / "a.csv", 'q,a\n"1,2\n'))


def test_csv_with_a_doubled_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'q' appears more than once"):
        read(write(tmp_path / "a.csv", "q,q\n1,2\n"))


def test_xlsx_gives_sheet_rows_and_whole_numbers_as_typed(tmp_path: Path) -> None:
    """C1"""
    book = Workbook()
    assert book.active is not None
    for values in (["问题", "答案"], ["几天?", 7], [None, None], ["多少?", 1.5]):
        book.active.append(values)
    book.save(tmp_path / "a.xlsx")
    assert read(tmp_path / "a.xlsx") == [
        (2, {"问题": "几天?", "答案": "7"}),
        (4, {"问题": "多少?", "答案": "1.5"}),
    ]


def test_a_broken_xlsx_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as a spreadsheet"):
        read(write(tmp_path / "a.xlsx", b"not a zip"))


def test_parquet_gives_nested_rows(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "q"}]}, {"messages": []}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [(1, rows[0]), (2, rows[1])]


def test_a_broken_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read(write(tmp_path / "a.parquet", b"PAR1 nonsense"))


def test_txt_gives_a_document_a_line(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.txt", "one\n\n two\n")) == [
        (1, {"text": "one"}),
        (3, {"text": " two"}),
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_a_byte_order_mark_is_no_content(tmp_path: Path, name: str) -> None:
    content = {"a.csv": "q\nv\n", "a.txt": "v\n"}.get(name, '{"q": "v"}')
    (_, row), *_ = read(write(tmp_path / name, b"\xef\xbb\xbf" + content.encode()))
    assert list(row.values()) == ["v"]
    assert "\ufeff" not in "".join(row)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.xlsx", "a.parquet", "a.txt"])
def test_a_missing_and_an_empty_file_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"no file .*{name}"):
        read(tmp_path / name)
    with pytest.raises(DataError, match=f"{name} is empty"):
        read(write(tmp_path / name, b""))


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", "\n \n"), ("a.json", "[]"), ("a.csv", "q,a\n"), ("a.txt", "\n\n")],
)
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(DataError, match="holds no"):
        read(write(tmp_path / name, content))


def test_invalid_json_names_the_line(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", '{"a": 1}\n{"a": 2}\n{"a": }\n')
    with pytest.raises(DataError, match="line 3, column 7: invalid JSON") as caught:
        read(file)
    assert caught.value.details["line"] == 3
    with pytest.raises(DataError, match="line 2, column"):
        read(write(tmp_path / "b.json", '[{"a": 1},\n {"a": 2]\n'))


def test_a_row_that_is_no_object_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: expected an object, found a text"):
        read(write(tmp_path / "a.jsonl", '{"a": 1}\n"text"\n'))


@pytest.mark.parametrize(
    ("encoding", "guess"), [("gb18030", "GB18030"), ("utf-16", "UTF-16"), ("latin-1", "Latin-1")]
)
def test_text_that_is_not_utf8_names_line_byte_and_likely_encoding(
    tmp_path: Path, encoding: str, guess: str
) -> None:
    text = '{"q": "Wie geht\'s? Schön, übermäßig"}' if encoding == "latin-1" else '{"q": "你好吗"}'
    file = write(tmp_path / "a.jsonl", text.encode(encoding))
    with pytest.raises(DataError, match=rf"line 1, byte \d+ .*looks like {guess}") as caught:
        read(file)
    assert "iconv" in caught.value.hint


GUESSES = (
    "GB18030 (GBK)", "Shift_JIS", "Big5", "Windows-1251", "UTF-16", "UTF-16LE", "UTF-16BE",
    "UTF-32", "Latin-1 or Windows-1252",
)  # fmt: skip


@pytest.mark.parametrize("guess", GUESSES)
def test_the_advice_on_encodings_names_one_that_iconv_knows(guess: str) -> None:
    name = iconv_name(guess)
    if shutil.which("iconv") is None:
        pytest.skip("this machine has no iconv")
    command = ["iconv", "-f", name, "-t", "UTF-8"]
    text = "abc".encode(name)
    assert subprocess.run(command, input=text, capture_output=True, check=True).stdout == b"abc"


def test_the_bad_byte_is_found_in_the_middle_of_a_file(tmp_path: Path) -> None:
    good = '{"q": "你好"}\n'.encode()
    bad = '{"q": "你好"}\n'.encode("gb18030")
    for name in ("a.jsonl", "a.json"):
        with pytest.raises(DataError, match="line 3, byte 8 "):
            read(write(tmp_path / name, good + good + bad))


def test_an_unknown_file_type_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"type '\.doc'") as caught:
        read(write(tmp_path / "a.doc", "x"))
    assert ".parquet" in caught.value.hint


def test_a_folder_is_its_data_files_by_name(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.csv", "manifest.json", "notes.md"):
        write(tmp_path / name, "x")
    assert [file.name for file in dataset_files(tmp_path)] == ["a.csv", "b.jsonl"]
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no data files"):
        dataset_files(tmp_path / "none")


def test_a_folder_counts_packed_files_too(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl.gz", b"x")
    write(tmp_path / "a.parquet.gz", b"x")
    assert [file.name for file in dataset_files(tmp_path)][:1] == ["a.jsonl.gz"]


# Blocks


def test_a_block_crosses_processes_and_knows_its_lines(tmp_path: Path) -> None:
    rows = [{"n": n, "text": "x" * 200} for n in range(30_000)]
    file = write(tmp_path / "a.jsonl", b"".join(orjson.dumps(row) + b"\n" for row in rows))
    blocks = [pickle.loads(pickle.dumps(block)) for block in read_blocks(file)]
    assert len(blocks) > 3
    assert sum(block.size for block in blocks) == file.stat().st_size
    parsed = [pair for block in blocks for pair in parse_block(block)]
    assert parsed == list(enumerate(rows, start=1))


def test_the_rows_before_a_bad_line_come_first(tmp_path: Path) -> None:
    for name, content in (
        ("a.jsonl", '{"a": 1}\n{"a": 2}\n{"a"\n{"a": 4}'),
        ("a.json", '[{"a": 1}, {"a": 2}, 3, {"a": 4}]'),
        ("a.csv", "a\n1\n2\n3,3\n4\n"),
    ):
        rows = read_rows(write(tmp_path / name, content))
        assert len([next(rows), next(rows)]) == 2
        with pytest.raises(DataError):
            next(rows)


def test_a_listener_hears_of_a_bad_line_and_the_rest_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", b'{"a": 1}\n{"a"\n{"a": "\xff"}\n[]\n{"a": 5}\n')
    assert told(file) == (
        [1, 5],
        [(2, "invalid_json"), (3, "not_utf8"), (4, "invalid_data")],
    )


def test_a_file_that_cannot_be_read_at_all_is_told_with_line_0(tmp_path: Path) -> None:
    assert told(tmp_path / "none.jsonl") == ([], [(0, "invalid_data")])
    assert told(write(tmp_path / "a.doc", "x")) == ([], [(0, "invalid_data")])


def test_hints_name_the_cause(tmp_path: Path) -> None:
    for value, hint in (
        ("NaN", "NaN and Infinity"),
        ("-Infinity", "NaN and Infinity"),
        ('"\\ud800"', "Half of a pair"),
        ("[" * 1100 + "]" * 1100, "nested"),
    ):
        with pytest.raises(DataError, match="line 1, column ") as caught:
            read(write(tmp_path / "a.jsonl", f'{{"a": {value}}}'))
        assert hint in caught.value.hint


# JSON documents


def test_a_large_array_is_read_in_pieces_with_the_places_of_its_mistakes(tmp_path: Path) -> None:
    elements = [json.dumps({"instruction": f"{n}", "output": "x" * 150}) for n in range(20_000)]
    elements[15_000] = '{"instruction": 1 2}'
    elements[17_000] = '{"instruction": NaN}'
    file = write(tmp_path / "a.json", "[\n" + ",\n".join(elements) + "\n]")
    problems: list[tuple[int, DataError]] = []
    rows = list(read_rows(file, on_problem=lambda *problem: problems.append(problem)))
    assert len(rows) == 19_998
    assert rows[14_999][1]["instruction"] == "14999"
    assert rows[-1] == (20_000, json.loads(elements[-1]))
    assert [row for row, _ in problems] == [15_001, 17_001]
    assert [error.details["line"] for _, error in problems] == [15_002, 17_002]
    assert [error.details["column"] for _, error in problems] == [19, 17]
    with pytest.raises(DataError, match=r"row 15001: invalid JSON .* in line 15002, column 19"):
        read(file)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_large_wrapped_array_is_read_in_pieces(tmp_path: Path, indent: int | None) -> None:
    rows = [{"messages": [{"role": "user", "content": "问" * 50}] * 3} for _ in range(5_000)]
    text = json.dumps({"data": rows}, indent=indent, ensure_ascii=False)
    file = write(tmp_path / "a.json", text)
    assert len(list(read_blocks(file))) > 1
    assert read(file) == list(enumerate(rows, start=1))
    with pytest.raises(DataError, match="before its last bracket"):
        read(write(tmp_path / "b.json", text.rstrip()[:-1]))


def test_a_large_single_row_is_a_row(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "x" * 3_000_000}]}
    assert read(write(tmp_path / "a.json", orjson.dumps(row))) == [(1, row)]
    tags = {"tags": ["a", "b"]}
    assert read(write(tmp_path / "b.json", orjson.dumps(tags))) == [(1, tags)]


# Encodings


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "可以退货吗?"),
        ("big5", "可以退貨嗎?"),
        ("shift_jis", "返品はできますか?"),
        ("utf-16", "可以退货吗?"),
        ("utf-16-le", "Can I return it?"),
        ("utf-32", "可以退货吗?"),
        ("windows-1251", "Можно вернуть товар?"),
        ("latin-1", "Können wir die Ware zurückgeben?"),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt"])
def test_a_file_in_another_encoding_is_read_by_name_and_by_guess(
    tmp_path: Path, encoding: str, text: str, suffix: str
) -> None:
    line = {".csv": f"text\n{text}", ".txt": text}.get(suffix, f'{{"text": "{text}"}}')
    file = write(tmp_path / f"a{suffix}", line.encode(encoding))
    for name in (encoding, "auto"):
        assert [row for _, row in read_rows(file, encoding=name)] == [{"text": text}]
    assert told(file) != ([1], [])


def test_a_line_that_is_not_in_the_named_encoding_is_told(tmp_path: Path) -> None:
    good = '{"a": "你好"}\n'.encode("gb18030")
    file = write(tmp_path / "a.jsonl", good + b'{"a": "\xff\xff"}\n' + good)
    assert told(file, "gb18030") == ([1, 3], [(2, "not_decodable")])
    with pytest.raises(DataError, match="line 2, byte 8 of the line: not gb18030"):
        list(read_rows(file, encoding="gb18030"))


def test_damaged_utf8_is_not_taken_for_another_encoding(tmp_path: Path) -> None:
    good = '{"a": "你好, 可以退货吗? 七天之内都可以."}\n'.encode()
    file = write(tmp_path / "a.jsonl", good * 3 + b'{"a": "\xc4\xe3"}\n' + good)
    assert told(file, "auto") == ([1, 2, 3, 5], [(4, "not_utf8")])


def test_a_name_that_is_no_encoding_is_refused(tmp_path: Path) -> None:
    for name in ("klingon", "hex", "unicode_escape", "\0"):
        with pytest.raises(DataError, match="no text encoding named"):
            list(read_rows(write(tmp_path / "a.jsonl", "{}"), encoding=name))


# Packed files


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt"])
def test_packed_files_are_read_like_plain_ones(tmp_path: Path, suffix: str) -> None:
    content = {".csv": "text\nv\n", ".txt": "v\n"}.get(suffix, '{"text": "v"}').encode()
    (_, row), *_ = read(write(tmp_path / f"a{suffix}.gz", gzip.compress(content)))
    (_, same), *_ = read(
        write(tmp_path / f"a{suffix}.zst", pa.compress(content, "zstd").to_pybytes())
    )
    assert row == same == {"text": "v"}


def test_an_archive_is_refused_with_a_hint(tmp_path: Path) -> None:
    for name in ("a.zip", "a.jsonl.zip", "a.tar", "a.parquet.gz"):
        with pytest.raises(DataError, match="cannot be read") as caught:
            read(write(tmp_path / name, b"PK"))
        assert "Unpack it first" in caught.value.hint


# Spreadsheets and Parquet


def test_xlsx_dates_and_booleans_are_sensible_text(tmp_path: Path) -> None:
    book = Workbook()
    assert book.active is not None
    book.active.append(["day", "time", "yes", "number"])
    book.active.append(
        [datetime.date(2024, 1, 31), datetime.datetime(2024, 1, 31, 13, 45), True, 0.1]
    )
    book.save(tmp_path / "a.xlsx")
    row = {"day": "2024-01-31", "time": "2024-01-31 13:45:00", "yes": "TRUE", "number": "0.1"}
    assert read(tmp_path / "a.xlsx") == [(2, row)]


def zip_bomb(path: Path, *, declared: int | None = None) -> None:
    """A book whose sheet unpacks to 100 MB of spaces; its directory may say less."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/worksheets/sheet1.xml", b" " * 100_000_000)
    if declared is not None:
        content = path.read_bytes()
        size = (100_000_000).to_bytes(4, "little")
        path.write_bytes(content.replace(size, declared.to_bytes(4, "little")))


@pytest.mark.parametrize("declared", [None, 1000])
def test_a_zip_bomb_is_refused_before_it_is_opened(tmp_path: Path, declared: int | None) -> None:
    zip_bomb(tmp_path / "a.xlsx", declared=declared)
    with pytest.raises(DataError, match=r"unpacks to \d+ MiB or more, [\d,]+ times") as caught:
        read(tmp_path / "a.xlsx")
    assert caught.value.code == "expands_too_far"


def test_parquet_values_have_types_of_json(tmp_path: Path) -> None:
    table = pa.table(
        {
            "day": pa.array([datetime.date(2024, 1, 31)]),
            "price": pa.array([decimal.Decimal("1.50")]),
            "score": pa.array([float("nan")]),
            "raw": pa.array([b"bytes"]),
            "pairs": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (_, row), *_ = read(tmp_path / "a.parquet")
    assert row == {
        "day": "2024-01-31", "price": "1.50", "score": None, "raw": "bytes", "pairs": [["a", 1]],
    }  # fmt: skip


def test_parquet_comes_in_blocks(tmp_path: Path) -> None:
    rows = [{"n": n, "text": f"{n} " * 100} for n in range(20_000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert len(list(read_blocks(tmp_path / "a.parquet"))) > 3
    assert read(tmp_path / "a.parquet") == list(enumerate(rows, start=1))


# Odd names, and things that are no files


@pytest.mark.parametrize(
    "name", ["数据 一.jsonl", "-rf.jsonl", "a'b\"c.jsonl", "a\nb.jsonl", "A.JSONL"]
)
def test_odd_names_are_read(tmp_path: Path, name: str) -> None:
    assert read(write(tmp_path / name, '{"a": 1}')) == [(1, {"a": 1})]


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    (tmp_path / "folder.jsonl").mkdir()
    names = ("pipe", "loop", "zero", "folder", "x" * 300, "nul\0nul")
    for name in names:
        for suffix in (".jsonl", ".csv", ".xlsx", ".parquet"):
            path = tmp_path / f"{name}{suffix if name not in names[:4] else '.jsonl'}"
            with pytest.raises(DataError):
                read(path)


# Size: each in a process of its own, whose memory is measured

MEASURE = """
import resource, sys
from pathlib import Path
from tunesmith.data.readers import parse_block, read_blocks, read_rows
import orjson, pyarrow  # what is loaded is no growth
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
problems = {}
def tell(line, error):
    problems[error.code] = problems.get(error.code, 0) + 1
    problems["last"] = [line, error.message[-120:]]
rows = sum(1 for _ in read_rows(Path(sys.argv[1]), on_problem=tell))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(orjson.dumps({"rows": rows, "problems": problems, "grown_mib": grown / 1024}).decode())
"""


def measured(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_a_line_of_1_gb_is_skipped_and_never_held(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    line = b'{"a": 1}\n'
    with file.open("wb") as sparse:
        sparse.write(line + line)
        sparse.truncate(2 * len(line) + (1 << 30))
        sparse.seek(0, os.SEEK_END)
        sparse.write(b"\n" + line)
    result = measured(file)
    assert result["rows"] == (2 if name == "a.csv" else 3)
    assert result["problems"]["line_too_long"] == 1
    assert result["problems"]["last"][0] == 3
    assert "1,024 MiB" in result["problems"]["last"][1]
    assert result["grown_mib"] < 3 * MAX_LINE_BYTES / (1 << 20)


@pytest.mark.slow
def test_a_json_document_of_1_gb_without_an_end_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    with file.open("wb") as sparse:
        sparse.write(b'[{"a": "')
        for _ in range(1 << 10):
            sparse.write(b"x" * (1 << 20))
    result = measured(file)
    assert result["rows"] == 0
    assert result["problems"]["line_too_long"] == 1
    assert result["grown_mib"] < 8 * MAX_LINE_BYTES / (1 << 20)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".json"])
def test_short_lines_by_the_hundred_thousand_take_no_memory(tmp_path: Path, suffix: str) -> None:
    lines = {".jsonl": '{"a":1}\n', ".csv": "1\n", ".json": '{"a":1},\n'}[suffix]
    before, after = {".csv": ("a\n", ""), ".json": ("[", '{"a":1}]')}.get(suffix, ("", ""))
    result = measured(write(tmp_path / f"a{suffix}", before + lines * 300_000 + after))
    assert result["rows"] == 300_000 + (suffix == ".json")
    assert result["problems"] == {}
    assert result["grown_mib"] < 250


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".json"])
def test_100_000_mistakes_are_100_000_problems(tmp_path: Path, suffix: str) -> None:
    lines = {".jsonl": '{"a":\n', ".csv": "1,2\n", ".json": '{"a":NaN},\n'}[suffix]
    before, after = {".csv": ("a\n", ""), ".json": ("[", '{"a":1}]')}.get(suffix, ("", ""))
    result = measured(write(tmp_path / f"a{suffix}", before + lines * 100_000 + after))
    assert result["rows"] == (suffix == ".json")
    assert max(n for code, n in result["problems"].items() if code != "last") == 100_000
    assert result["grown_mib"] < 250


# The corpus of broken files


def corpus() -> list[tuple[str, str, str]]:
    """The table in tests/broken/README.md: file, rows, problems."""
    text = (BROKEN / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \|[^|]*\| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE)


def test_the_corpus_names_each_of_its_files() -> None:
    names = {file.name for file in BROKEN.iterdir()} - {"README.md"}
    assert {name for name, _, _ in corpus()} == names


@pytest.mark.parametrize(("name", "rows", "problems"), corpus())
def test_a_broken_file_gives_the_rows_and_problems_of_its_readme(
    name: str, rows: str, problems: str
) -> None:
    numbers, found = told(BROKEN / name)
    assert " ".join(map(str, numbers)) == rows
    assert ", ".join(f"{line} {code}" for line, code in found) == problems


@pytest.mark.parametrize("indent", [None, 2])
def test_a_broken_element_is_named_by_its_number_and_its_place(
    tmp_path: Path, indent: int | None
) -> None:
    rows = [{"instruction": f"q {n}", "output": "a"} for n in range(110)]
    text = json.dumps(rows, indent=indent).replace('"q 59"', "NaN")
    problems: list[tuple[int, DataError]] = []
    file = write(tmp_path / "a.json", text)
    assert len(list(read_rows(file, on_problem=lambda *each: problems.append(each)))) == 109
    ((row, error),) = problems
    assert row == 60
    line, column = error.details["line"], error.details["column"]
    assert text.splitlines()[line - 1][column - 1 :].startswith("NaN")


DOUBLED = [
    b'{"q": "x", "a": "one", "a": "two"}',
    b'{"messages": [{"role": "user", "content": "x", "content": "y"}]}',
    b'{"messages": [{"role": "assistant", "tool_calls": [{"a": {"b": 1, "b": 2}}]}]}',
    b'{"a":1,"a":2,"text":"{\\"b\\":"}',
]


@pytest.mark.parametrize("doubled", DOUBLED)
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_a_key_that_an_object_names_twice_is_told_and_the_row_stays(
    tmp_path: Path, doubled: bytes, suffix: str
) -> None:
    keys = [key.encode() for key in json.loads(doubled)]
    others = [b'{"%s": "a \\"b\\": c"}' % keys[0] for _ in range(100)]
    lines = [*others, doubled, *others]
    content = b"\n".join(lines) if suffix == ".jsonl" else b"[" + b",".join(lines) + b"]"
    numbers, problems = told(write(tmp_path / f"a{suffix}", content))
    assert numbers == list(range(1, 202))
    assert problems == [(101, "duplicate_keys")]


def test_keys_written_twice_in_a_text_are_no_doubled_keys(tmp_path: Path) -> None:
    row = {"a": '{"b": 1, "b": 2}', "m": [{"x": {"y": '"z":'}}, {"x": {}}]}
    spaced = json.dumps(row, separators=(", ", " : ")).encode()
    for text in (orjson.dumps(row), json.dumps(row).encode(), spaced):
        assert told(write(tmp_path / "a.jsonl", text)) == ([1], [])


def test_lines_that_end_in_carriage_returns_only_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", b'{"a": 1}\r{"a": 2}\r')
    with pytest.raises(DataError, match="carriage returns only where lines end"):
        read(file)


def test_a_parquet_cell_without_a_word_in_json_refuses_no_file(tmp_path: Path) -> None:
    table = pa.table(
        {
            "q": ["x", "y"],
            "picture": [{"bytes": b"\x89PNG\xff", "path": "a.png"}] * 2,
            "late": pa.array([1_700_000_000_123_456_789, 0], pa.timestamp("ns")),
            "far": pa.array([-(10**6), 0], pa.date32()),
            "times": pa.array([[1_700_000_000_123_456_789], []], pa.list_(pa.timestamp("ns"))),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    rows = [row for _, row in read(tmp_path / "a.parquet")]
    assert [row["q"] for row in rows] == ["x", "y"]
    assert rows[0]["picture"] == {"bytes": None, "path": "a.png"}
    assert rows[0]["late"] == "2023-11-14 22:13:20.123456789"
    assert rows[1]["far"] == "1970-01-01"


def test_what_a_workbook_holds_beside_its_first_sheet_is_told(tmp_path: Path) -> None:
    book = Workbook()
    first, second = book.active, book.create_sheet("second")
    assert first is not None
    for row in (["q", "a"], ["x", "=1+1"], ["y", "#N/A"], ["z", "w"], ["z", None]):
        first.append(row)
    first.merge_cells("B4:B5")
    for row in (["q", "a"], ["more", "rows"]):
        second.append(row)
    book.save(tmp_path / "a.xlsx")
    problems: list[tuple[int, DataError]] = []
    rows = read_rows(tmp_path / "a.xlsx", on_problem=lambda *each: problems.append(each))
    assert [number for number, _ in rows] == [2, 3, 4, 5]
    assert [(line, error.code) for line, error in problems] == [
        (0, "cells_without_value"),
        (0, "merged_cells"),
        (0, "sheets_left_out"),
    ]
    assert "2 cells" in problems[0][1].message
    assert "second" in problems[2][1].message
    assert len(read(tmp_path / "a.xlsx")) == 4


def test_what_a_folder_holds_beside_its_data_is_told_and_no_link_leads_out(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    write(tmp_path / "secret.jsonl", b'{"a": 1}')
    write(folder / "a.jsonl", b'{"a": 1}')
    write(folder / "cat.pdf", b"%PDF")
    (folder / "inside.jsonl").symlink_to("a.jsonl")
    (folder / "outside.jsonl").symlink_to(tmp_path / "secret.jsonl")
    assert [file.name for file in dataset_files(folder)] == ["a.jsonl", "inside.jsonl"]
    assert [name for name, _ in left_aside(folder)] == ["cat.pdf", "outside.jsonl", "sub"]
    assert left_aside(folder / "a.jsonl") == []


def test_a_folder_with_nothing_but_a_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(DataError, match="sub: a folder within the folder"):
        dataset_files(tmp_path)
