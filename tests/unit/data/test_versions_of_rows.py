"""Import, edit, mend, compare and export: every change is a new version, nothing is lost."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from openpyxl import load_workbook

from tunesmith.data import editing
from tunesmith.data.check.inspect import Wanted
from tunesmith.data.diff import diff
from tunesmith.data.exporting import FORMATS, SUFFIXES, ExportFormat, export
from tunesmith.data.expression import Condition
from tunesmith.data.fixing import fix
from tunesmith.data.importing import Imported, import_files
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.rows import StoredRow, stored_rows
from tunesmith.data.subject import files_subject
from tunesmith.errors import DataError, InputError
from tunesmith.recipe import Dataset


def _silent(kind: str, done: int, total: int) -> None:
    assert kind
    assert done <= total or not total


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    return Catalog()


def _import(catalog: Catalog, path: Path, name: str = "shop", **wanted: Any) -> Imported:
    subject = files_subject([path], Dataset(dataset=path.name, **wanted), None)
    return import_files(catalog, name, subject, wanted=Wanted(), processes=1, on_progress=_silent)


def _jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def _qa(question: str, answer: str, **beside: Any) -> dict[str, Any]:
    return {"question": question, "answer": answer, **beside}


def _rows(version: Version) -> list[StoredRow]:
    return list(stored_rows(version.batches()))


def _answers(version: Version) -> list[str]:
    return [editing.values_of(row)["answer"] for row in _rows(version)]


@pytest.fixture
def shop(catalog: Catalog, tmp_path: Path) -> Version:
    rows = [
        _qa("Where is my order?", "On its way. ", category="delivery"),
        _qa("May I return it?", "Yes, within 30 days.", category="return"),
        _qa("Where is my order?", "On its way. ", category="delivery"),
        _qa("可以开发票吗？", "可以。\u200b", category="invoice"),
    ]
    return _import(catalog, _jsonl(tmp_path / "shop.jsonl", rows)).version


def test_an_import_keeps_rows_their_lines_and_their_other_columns(shop: Version) -> None:
    first = _rows(shop)[0]
    assert (first.id, first.file, first.line) == (1, "shop.jsonl", 1)
    assert first.extra == {"category": "delivery"}
    assert orjson.loads(first.text) == {
        "messages": [
            {"role": "user", "content": "Where is my order?"},
            {"role": "assistant", "content": "On its way. "},
        ]
    }
    assert shop.manifest.sources[0]["format"] == "prompt_response"


def test_rows_that_cannot_be_used_are_kept_beside_with_line_and_reason(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_text('{"question": "a", "answer": "b"}\n{"question": "c", "answer": ""}\n{"que\n')
    done = _import(catalog, path)
    assert (done.version.manifest.rows, done.version.manifest.rejected) == (1, 2)
    kept = [orjson.loads(line) for line in done.version.rejected.read_bytes().splitlines()]
    assert [(row["line"], row["reason"]) for row in kept] == [
        (2, "empty_answer"),
        (3, "invalid_json"),
    ]
    assert done.report.errors == 2
    done.version.verify()


def test_a_file_without_a_usable_row_publishes_nothing_and_says_why(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = _jsonl(tmp_path / "empty.jsonl", [_qa("a", ""), _qa("", "b")])
    told = "The answer is empty: 1, the first in line 1 (empty_answer)."
    with pytest.raises(DataError, match=re.escape(told)):
        _import(catalog, path)
    assert catalog.names() == []


def test_the_same_import_in_several_processes_gives_the_same_version(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _jsonl(tmp_path / "many.jsonl", [_qa(f"q{n}", f"a{n}") for n in range(500)])
    one = _import(catalog, path, "one")
    monkeypatch.setattr("tunesmith.data.check.check._SMALL", 0)
    subject = files_subject([path], Dataset(dataset="many.jsonl"), None)
    two = import_files(catalog, "two", subject, wanted=Wanted(), processes=2, on_progress=_silent)
    assert two.version.manifest.content == one.version.manifest.content
    assert two.report.to_json()["findings"] == one.report.to_json()["findings"]


def test_rows_can_be_removed_changed_replaced_and_filtered(catalog: Catalog, shop: Version) -> None:
    without = editing.remove(catalog, shop, [3], on_progress=_silent)
    assert without is not None
    assert [row.id for row in _rows(without)] == [1, 2, 4]
    changed = editing.change_row(
        catalog, without, 2, {"answer": "Yes.", "system": "Be brief."}, on_progress=_silent
    )
    assert changed is not None
    assert _answers(changed)[1] == "Yes."
    replaced = editing.replace_text(
        catalog, changed, "order", "parcel", where="question", on_progress=_silent
    )
    assert replaced is not None
    assert diff(changed, replaced).changed.tolist() == [1]
    kept = editing.keep(catalog, replaced, Condition('category != "invoice"'), on_progress=_silent)
    assert kept is not None
    assert [row.id for row in _rows(kept)] == [1, 2]
    assert kept.manifest.parent == replaced.manifest.version
    assert [len(_rows(catalog.open(f"shop@{n}"))) for n in range(1, 6)] == [4, 3, 3, 3, 2]


def test_a_column_that_only_some_rows_have_is_empty_in_the_others(
    catalog: Catalog, tmp_path: Path
) -> None:
    rows = [_qa("a", "1"), _qa("b", "2", label="old")]
    mixed = _import(catalog, _jsonl(tmp_path / "mixed.jsonl", rows)).version
    kept = editing.keep(catalog, mixed, Condition('label != "old"'), on_progress=_silent)
    assert kept is not None
    assert [row.id for row in _rows(kept)] == [1]
    with pytest.raises(InputError, match="names 'lable'"):
        editing.keep(catalog, mixed, Condition('lable == "old"'), on_progress=_silent)


def test_columns_beside_the_record_can_be_changed(catalog: Catalog, tmp_path: Path) -> None:
    rows = [_qa(f"q{n}", f"a{n}", 类别="甲", score=n / 2) for n in range(3)]
    first = _import(catalog, _jsonl(tmp_path / "d.jsonl", rows)).version
    fields = {"类别": "丙", "score": "0.75", "answer": "new"}
    new = editing.change_row(catalog, first, 2, fields, on_progress=_silent)
    assert new is not None
    row = _rows(new)[1]
    assert row.extra == {"类别": "丙", "score": 0.75}
    assert _answers(new) == ["a0", "new", "a2"]
    with pytest.raises(InputError, match="no '类型'") as caught:
        editing.change_row(catalog, new, 2, {"类型": "x"}, on_progress=_silent)
    assert "类别" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"answer": ""}, "empty_answer"),
        ({"question": " "}, "empty_question"),
        ({"record": {"messages": [{"role": "user", "content": "q"}]}}, "no_answer"),
        ({"record": {"messages": [{"role": "robot", "content": "q"}]}}, "unknown_role"),
        ({"record": {"text": ""}}, "empty_text"),
    ],
)
def test_a_change_to_what_could_not_be_imported_is_refused(
    catalog: Catalog, shop: Version, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(InputError) as caught:
        editing.change_row(catalog, shop, 2, fields, on_progress=_silent)
    assert caught.value.code == code
    assert catalog.versions("shop") == [1]


def test_columns_that_a_condition_does_not_reach_are_named(
    catalog: Catalog, tmp_path: Path
) -> None:
    rows = [_qa("q1", "a1", id="x1", file="f", score=1), _qa("q2", "a2", id="x2", file="f")]
    version = _import(catalog, _jsonl(tmp_path / "d.jsonl", rows)).version
    condition = Condition('id > 1 and score == None and contains(question, "q")')
    assert editing.shadowed(condition, editing.columns_beside(version)) == ["id"]
    kept = editing.keep(catalog, version, Condition('col("id") == "x2"'), on_progress=_silent)
    assert kept is not None
    assert _answers(kept) == ["a2"]


def test_a_change_that_changes_nothing_makes_no_version(catalog: Catalog, shop: Version) -> None:
    assert editing.replace_text(catalog, shop, "unheard-of", "x", on_progress=_silent) is None
    assert catalog.versions("shop") == [1]


def test_a_change_that_would_leave_nothing_is_refused(catalog: Catalog, shop: Version) -> None:
    with pytest.raises(DataError, match="Nothing would be left"):
        editing.keep(catalog, shop, Condition("id > 99"), on_progress=_silent)
    with pytest.raises(DataError, match="no row 99"):
        editing.remove(catalog, shop, [1, 99], on_progress=_silent)
    with pytest.raises(InputError, match="cannot be used"):
        editing.replace_text(catalog, shop, "(", "x", regex=True, on_progress=_silent)


def test_a_replacement_is_taken_word_for_word(catalog: Catalog, shop: Version) -> None:
    new = editing.replace_text(catalog, shop, "30 days.", r"\1 \n $0", on_progress=_silent)
    assert new is not None
    assert _answers(new)[1] == r"Yes, within \1 \n $0"


def test_added_rows_get_new_ids_even_after_a_roll_back(
    catalog: Catalog, shop: Version, tmp_path: Path
) -> None:
    more = files_subject(
        [_jsonl(tmp_path / "more.jsonl", [_qa("New?", "Yes.")])], Dataset(dataset="more"), None
    )
    added, _ = editing.add_files(catalog, shop, more, processes=1, on_progress=_silent)
    assert [row.id for row in _rows(added)] == [1, 2, 3, 4, 5]
    back = editing.roll_back(catalog, shop)
    assert back.manifest.content == shop.manifest.content
    again, _ = editing.add_files(catalog, back, more, processes=1, on_progress=_silent)
    assert [row.id for row in _rows(again)] == [1, 2, 3, 4, 6]


def test_safe_mends_make_a_new_version_whose_diff_shows_them(
    catalog: Catalog, shop: Version
) -> None:
    done = fix(catalog, shop, on_progress=_silent)
    assert done.version is not None
    assert done.counts == {"surrounding_space": 2, "control_characters": 1, "duplicate": 1}
    facts = diff(shop, done.version).to_json()
    assert facts["counts"] == {"added": 0, "removed": 1, "changed": 2, "same": 1}
    assert facts["removed"][0]["id"] == 3
    assert fix(catalog, done.version, on_progress=_silent).version is None


def test_versions_of_two_datasets_are_compared_by_content(
    catalog: Catalog, shop: Version, tmp_path: Path
) -> None:
    path = _jsonl(tmp_path / "other.jsonl", [_qa("May I return it?", "Yes, within 30 days.")])
    other = _import(catalog, path, "other").version
    counts = diff(shop, other).to_json()["counts"]
    assert counts == {"added": 0, "removed": 3, "changed": 0, "same": 1}


@pytest.mark.parametrize("format", FORMATS)
def test_an_exported_version_can_be_imported_again(
    format: ExportFormat, catalog: Catalog, shop: Version, tmp_path: Path
) -> None:
    path = tmp_path / f"out{SUFFIXES.get(format, f'.{format}')}"
    assert export(shop, format, path, on_progress=_silent).rows == 4
    again = _import(catalog, path, f"again-{format}").version
    assert [row.text for row in _rows(again)] == [row.text for row in _rows(shop)]


def test_an_export_never_overwrites_a_file(shop: Version, tmp_path: Path) -> None:
    path = tmp_path / "there.csv"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export(shop, "csv", path, on_progress=_silent)
    assert path.read_text() == "mine"


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "＝1+1"]


@pytest.fixture
def formulas(catalog: Catalog, tmp_path: Path) -> Version:
    rows = [_qa(f"q{n}", text) for n, text in enumerate(FORMULAS)]
    return _import(catalog, _jsonl(tmp_path / "formulas.jsonl", rows), "formulas").version


def test_formulas_are_neutralised_in_csv_and_xlsx(formulas: Version, tmp_path: Path) -> None:
    """FAULTS row 21: cells that a spreadsheet would calculate are text."""
    export(formulas, "csv", tmp_path / "f.csv", on_progress=_silent)
    with (tmp_path / "f.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [row["answer"] for row in csv.DictReader(file)]
    assert cells == [f"'{text}" for text in FORMULAS]
    export(formulas, "xlsx", tmp_path / "f.xlsx", on_progress=_silent)
    sheet = load_workbook(tmp_path / "f.xlsx").active
    assert sheet is not None
    for row in sheet.iter_rows(min_row=2):
        assert [cell.data_type for cell in row] == ["s", "s"]
        assert row[1].quotePrefix


def test_formulas_are_unchanged_in_jsonl(formulas: Version, tmp_path: Path) -> None:
    export(formulas, "openai", tmp_path / "f.jsonl", on_progress=_silent)
    lines = [orjson.loads(line) for line in (tmp_path / "f.jsonl").read_bytes().splitlines()]
    assert [line["messages"][1]["content"] for line in lines] == FORMULAS


def test_a_doubled_key_is_told_by_its_line_and_costs_no_row(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"question": "a", "answer": "b"}\n{"question": "c", "answer": "1", "answer": "2"}'
    )
    done = _import(catalog, path)
    assert (done.report.rows_read, done.version.manifest.rows) == (2, 2)
    assert done.version.manifest.rejected == done.report.errors == 0
    found = done.report.findings.get("duplicate_keys")
    assert found is not None
    assert [place.line for place in found.places] == [2]
    assert _answers(done.version) == ["b", "2"]


def test_a_report_names_what_a_folder_holds_beside_its_data(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    _jsonl(folder / "a.jsonl", [_qa("a", "b")])
    (folder / "cat.pdf").write_bytes(b"%PDF")
    told = {each["source"]: each["why"] for each in _import(catalog, folder).report.sources}
    assert told["cat.pdf"] == "not read: no file of a known type"


def test_an_unknown_encoding_is_one_clear_message(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "a.jsonl", [_qa("a", "b")])
    with pytest.raises(DataError) as unknown:
        files_subject([path], Dataset(dataset="a.jsonl"), "nope")
    assert unknown.value.code == "unknown_encoding"


def test_nothing_is_counted_as_a_row_where_there_is_none(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[]")
    with pytest.raises(DataError, match="None of the 0 rows"):
        _import(catalog, path)
