"""Exports and what an import makes of them: the same rows, or a refusal that says what is lost."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from tunesmith.data.check.inspect import Wanted
from tunesmith.data.conversation import (
    Conversation,
    Message,
    PreferencePair,
    StoredRecord,
    Text,
    ToolCall,
    UnpairedPreference,
)
from tunesmith.data.exporting import FORMATS, SUFFIXES, Exported, ExportFormat, export
from tunesmith.data.exporting.beside import as_cell
from tunesmith.data.importing import import_files
from tunesmith.data.records import kind_of, to_json
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.rows import StoredRow, stored_rows, table_of
from tunesmith.data.store.version import digest_of
from tunesmith.data.subject import files_subject
from tunesmith.errors import DataError
from tunesmith.recipe import Dataset

EVERYTHING: tuple[ExportFormat, ...] = ("jsonl", "csv", "xlsx", "parquet")
TOOLS = (
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
    },
)


def _silent(kind: str, done: int, total: int) -> None:
    assert kind
    assert done <= total


def publish(
    folder: Path, records: Sequence[StoredRecord], extras: Sequence[dict[str, Any]] = ()
) -> Version:
    catalog = Catalog(folder)
    rows: list[StoredRow] = []
    for number, record in enumerate(records, start=1):
        text = orjson.dumps(to_json(record))
        extra = extras[number - 1] if number <= len(extras) else {}
        row = StoredRow(number, "a", number, kind_of(record), text.decode(), None, digest_of(text))
        rows.append(row.with_extra(extra))
    with catalog.draft("shop") as draft:
        draft.append(table_of(rows))
        return catalog.publish(draft, "shop")


def read_back(folder: Path, path: Path) -> list[StoredRow]:
    subject = files_subject([path], Dataset(dataset=path.name), None)
    done = import_files(
        Catalog(folder),
        "back",
        subject,
        wanted=Wanted(near=False),
        processes=1,
        on_progress=_silent,
    )
    assert done.version.manifest.rejected == 0
    return list(stored_rows(done.version.batches()))


def there_and_back(
    folder: Path,
    format: ExportFormat,
    records: Sequence[StoredRecord],
    extras: Sequence[dict[str, Any]] = (),
    *,
    lossy: bool = False,
) -> tuple[Exported, list[StoredRow]]:
    version = publish(folder / "data", records, extras)
    path = folder / f"rows{SUFFIXES.get(format, f'.{format}')}"
    exported = export(version, format, path, lossy=lossy, on_progress=_silent)
    return exported, read_back(folder / "other", path)


# ---------------------------------------------------------------- all kinds of records

_TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        (
            *("- one\n- two", "=1+1", "'=1", "''+1", "#N/A", "_x0041_", "TRUE", "007", "\r\n"),
            *("a\rb", "\x07bell", "\ufeffmark", "[1]", "{", "＝1", "\t1"),
            '[{"role": "user", "content": "x"}]',
        )
    ),
)
_SAID = _TEXTS.filter(lambda text: not (not text or text.isspace()))
_CALLS = st.lists(
    st.builds(
        ToolCall,
        name=st.sampled_from(["weather", "time"]),
        arguments=st.one_of(
            st.dictionaries(st.text(max_size=5), st.integers(-9, 9), max_size=2),
            st.just("no json {"),
        ),
        id=st.one_of(st.none(), st.just("call_1")),
    ),
    min_size=1,
    max_size=2,
).map(tuple)
_NAMES = st.one_of(st.none(), st.just("bob"))
_WEIGHTS = st.sampled_from([None, None, 0, 1])
_USER = st.builds(Message, role=st.just("user"), content=_TEXTS, name=_NAMES)
_TOOL = st.builds(
    Message, role=st.just("tool"), content=_TEXTS, tool_call_id=st.sampled_from([None, "call_1"])
)
_ANSWER = st.one_of(
    st.builds(Message, role=st.just("assistant"), content=_SAID, weight=_WEIGHTS),
    st.builds(
        Message,
        role=st.just("assistant"),
        content=_TEXTS,
        tool_calls=_CALLS,
        name=_NAMES,
        reasoning=st.one_of(st.none(), _SAID),
        weight=_WEIGHTS,
    ),
)
_SYSTEM = st.builds(Message, role=st.just("system"), content=_TEXTS)
_BEFORE = st.lists(st.one_of(_USER, _TOOL, _ANSWER, _SYSTEM), max_size=4)
_TOOLS = st.sampled_from([(), TOOLS])
_PLAIN = st.builds(
    lambda system, turns: Conversation(
        (
            *([Message("system", system)] if system else []),
            *(Message(("user", "assistant")[n % 2], text) for n, text in enumerate(turns)),
        )
    ),
    st.one_of(st.none(), _SAID),
    st.sampled_from([2, 4]).flatmap(lambda n: st.lists(_SAID, min_size=n, max_size=n)),
)
_CONVERSATION = st.one_of(
    _PLAIN,
    st.builds(
        lambda before, answer, behind, tools: Conversation((*before, answer, *behind), tools),
        _BEFORE,
        _ANSWER,
        _BEFORE,
        _TOOLS,
    ),
)
_PAIR = st.builds(
    lambda before, asked, chosen, rejected, tools: PreferencePair(
        (*before, asked), tuple(chosen), tuple(rejected), tools
    ),
    _BEFORE,
    st.one_of(_USER, _ANSWER),
    *(st.lists(_ANSWER, min_size=1, max_size=2),) * 2,
    _TOOLS,
)
_JUDGED = st.builds(
    lambda before, answer, good, tools: UnpairedPreference((*before, answer), good, tools),
    _BEFORE,
    _ANSWER,
    st.booleans(),
    _TOOLS,
)
_TEXT = st.builds(Text, _SAID)
_RECORDS = st.one_of(
    *(st.lists(kind, min_size=1, max_size=5) for kind in (_PLAIN, _CONVERSATION, _PAIR, _JUDGED)),
    st.lists(_TEXT, min_size=1, max_size=5),
    st.lists(st.one_of(_CONVERSATION, _PAIR, _JUDGED, _TEXT), min_size=1, max_size=5),
)
_COLUMNS = st.dictionaries(
    st.sampled_from(
        (
            *("类别", "system", "label", "question", "prompt", "=x", "messages", "text", "id"),
            *(" answer", "history", "tools", "record_kind", "chosen", "a b", "output", "kto_tag"),
        )
    ),
    st.one_of(_TEXTS, st.integers(-5, 5), st.booleans(), st.none(), st.just([1, "a"])),
    max_size=3,
)


@pytest.mark.parametrize("format", FORMATS)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    phases=[Phase.explicit, Phase.generate],
)
@given(records=_RECORDS, extras=st.lists(_COLUMNS, max_size=5))
def test_what_is_exported_comes_back_as_it_was_or_is_refused(
    format: ExportFormat, records: list[StoredRecord], extras: list[dict[str, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            exported, rows = there_and_back(Path(folder), format, records, extras)
        except DataError as refused:
            if refused.code != "format_cannot_hold" or format in EVERYTHING:
                raise
            return
    assert [row.record for row in rows] == records
    assert exported.lost == {}
    kept = extras[: len(records)] + [{}] * (len(records) - len(extras))
    for row, extra in zip(rows, kept, strict=True):
        _compare_columns(exported, format, extra, row.extra)


def _compare_columns(
    exported: Exported, format: ExportFormat, extra: dict[str, Any], back: dict[str, Any]
) -> None:
    """Every column is there under the name that was told, with its value, or told as left out."""
    for column, value in extra.items():
        if column in exported.columns_left_out:
            assert format == "openai"
            continue
        came = back.get(exported.columns_renamed.get(column, column))
        as_text = format in ("csv", "xlsx") or column in exported.columns_as_text
        wanted = as_cell(value) if as_text else value
        assert (came or "") == (wanted or "") if as_text else came == wanted


# ---------------------------------------------------------------- what is refused, and how


def _asked(*turns: Message, tools: Any = ()) -> Conversation:
    return Conversation((Message("user", "q"), *turns), tools)


CALL = Message("assistant", "", (ToolCall("weather", {"city": "x"}),))


def test_what_a_format_cannot_hold_is_told_by_kind_and_nothing_is_written(tmp_path: Path) -> None:
    rows = [
        _asked(Message("assistant", "a")),
        _asked(CALL, Message("tool", "sunny"), Message("assistant", "It is sunny."), tools=TOOLS),
        _asked(
            Message("assistant", "a", weight=0), Message("user", "r"), Message("assistant", "b")
        ),
        _asked(Message("assistant", "a", reasoning="hm", name="bob")),
    ]
    version = publish(tmp_path / "data", rows)
    with pytest.raises(DataError) as refused:
        export(version, "alpaca", tmp_path / "a.json", on_progress=_silent)
    assert refused.value.code == "format_cannot_hold"
    assert refused.value.details["lost"] == {
        "descriptions of tools": 1,
        "names": 1,
        "reasoning": 1,
        "tool calls": 1,
        "turns": 1,
        "weights": 1,
    }
    assert "turns: 1 rows, the first is 2" in refused.value.message
    assert not list(tmp_path.glob("*.json"))


def test_a_lossy_export_is_written_and_counts_what_was_lost(tmp_path: Path) -> None:
    rows = [_asked(Message("assistant", "a")), _asked(Message("assistant", "a", weight=0))]
    exported, back = there_and_back(tmp_path, "alpaca", rows, lossy=True)
    assert exported.lost == {"weights": 1}
    assert [row.record for row in back] == [rows[0], rows[0]]


@pytest.mark.parametrize("format", ["alpaca", "sharegpt", "openai"])
def test_plain_text_and_several_kinds_are_refused_where_a_file_holds_one(
    tmp_path: Path, format: ExportFormat
) -> None:
    texts = publish(tmp_path / "one", [Text("once upon a time")])
    mixed = publish(tmp_path / "two", [Text("once upon a time"), _asked(Message("assistant", "a"))])
    for version in (texts, mixed):
        with pytest.raises(DataError) as refused:
            export(version, format, tmp_path / "a.json", on_progress=_silent)
        assert refused.value.code == "format_cannot_hold"


def test_rows_of_questions_and_answers_are_columns_in_a_table(tmp_path: Path) -> None:
    there_and_back(tmp_path, "csv", [_asked(Message("assistant", "- one"))], [{"类别": "=1"}])
    text = (tmp_path / "rows.csv").read_text("utf-8-sig")
    assert text.splitlines() == ['"question","answer","类别"', "q,'- one,'=1"]


def test_an_apostrophe_of_another_program_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("question,answer\nwhat adds?,'+' does\n", encoding="utf-8-sig")
    (row,) = read_back(tmp_path / "data", path)
    assert row.record == Conversation(
        (Message("user", "what adds?"), Message("assistant", "'+' does"))
    )


def test_cells_of_a_sheet_are_texts_whatever_they_begin_with(tmp_path: Path) -> None:
    texts = ["=1+1", "#N/A", "_x0041_", "- a", "\x07b", "TRUE", "007"]
    exported, _ = there_and_back(tmp_path, "xlsx", [_asked(Message("assistant", t)) for t in texts])
    assert exported.cells_with_apostrophe == 0
    cells = list(load_workbook(tmp_path / "rows.xlsx").active["B"])[1:]  # type: ignore[index]
    assert {cell.data_type for cell in cells} == {"s"}
    assert [cell.quotePrefix for cell in cells] == [text[0] in "=-" for text in texts]


def test_cells_with_an_apostrophe_are_counted(tmp_path: Path) -> None:
    rows = [_asked(Message("assistant", "- a")), _asked(Message("assistant", "a"))]
    exported, _ = there_and_back(tmp_path, "csv", rows)
    assert exported.cells_with_apostrophe == 1


def test_a_cell_that_is_too_long_for_a_sheet_is_refused_without_a_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = publish(tmp_path / "data", [_asked(Message("assistant", "a" * 40_000))])
    with pytest.raises(DataError, match="'answer' has 40,000 characters"):
        export(version, "xlsx", tmp_path / "x.xlsx", on_progress=_silent)
    assert capsys.readouterr().err == ""


def test_a_sheet_whose_rows_end_in_an_error_is_closed(
    tmp_path: Path,
) -> None:
    """The test run turns the complaint of a sheet that was never closed into a failure."""
    version = publish(tmp_path / "data", [_asked(Message("assistant", "a"))])

    def full_disk(kind: str, done: int, total: int) -> None:
        if kind == "write" and done == total:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        export(version, "xlsx", tmp_path / "x.xlsx", on_progress=full_disk)
    assert not list(tmp_path.glob("*.xlsx")) + list(tmp_path.glob(".*.tmp"))


def test_columns_beside_stay_in_every_format_that_has_room(tmp_path: Path) -> None:
    rows = [_asked(Message("assistant", "a"))]
    for format in FORMATS:
        folder = tmp_path / format
        folder.mkdir()
        exported, back = there_and_back(folder, format, rows, [{"类别": "丙", "question": "own"}])
        if format == "openai":
            assert exported.columns_left_out == ["类别", "question"]
            continue
        renamed = exported.columns_renamed.get("question", "question")
        assert back[0].extra == {"类别": "丙", renamed: "own"}
        assert back[0].record == rows[0]


def test_the_first_format_is_rows_that_other_programs_read(tmp_path: Path) -> None:
    there_and_back(tmp_path, "jsonl", [_asked(CALL, tools=TOOLS)], [{"类别": "丙"}])
    (line,) = (tmp_path / "rows.jsonl").read_bytes().splitlines()
    assert orjson.loads(line).keys() == {"messages", "tools", "类别"}


def test_turns_are_a_nested_column_in_parquet(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    there_and_back(tmp_path, "parquet", [_asked(Message("assistant", "a"))])
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table["messages"].to_pylist() == [
        [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    ]


def test_names_in_a_csv_are_no_formulas_either(tmp_path: Path) -> None:
    there_and_back(tmp_path, "csv", [_asked(Message("assistant", "a"))], [{"=x": "1"}])
    with (tmp_path / "rows.csv").open(encoding="utf-8-sig", newline="") as file:
        assert next(csv.reader(file)) == ["question", "answer", "'=x"]
