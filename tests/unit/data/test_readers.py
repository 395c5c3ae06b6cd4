"""Every file type gives rows with line numbers, and says where a bad file is bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

from tunesmith.data.readers import dataset_files, read_rows
from tunesmith.errors import DataError

ROWS = [{"问题": "退货?", "答案": "七天内"}, {"问题": "a, b", "答案": 'say "hi"\nplease'}]


def read(path: Path) -> list[tuple[int, dict[str, Any]]]:
    return list(read_rows(path))


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
