"""A check reads any file to its end and says what is wrong, by line and field."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

import tunesmith.data
from tunesmith.data.check.check import Report, check
from tunesmith.data.check.findings import PLACES_KEPT, Findings, Place
from tunesmith.data.check.inspect import Wanted
from tunesmith.data.check.rows import is_in_order
from tunesmith.data.check.rules import RULES, rule_of
from tunesmith.data.check.texts import CODES
from tunesmith.data.subject import files_subject
from tunesmith.recipe import Dataset

DATA = Path(tunesmith.data.__file__).parent


def _silent(kind: str, done: int, total: int) -> None:
    assert kind
    assert 0 <= done <= total


def _check(path: Path, wanted: Wanted | None = None, **options: Any) -> Report:
    subject = files_subject([path], Dataset(dataset=path.name), None)
    return check(subject, wanted or Wanted(), processes=1, on_progress=_silent, **options)


def _file(tmp_path: Path, rows: list[Any], name: str = "d.jsonl") -> Path:
    path = tmp_path / name
    lines = [row if isinstance(row, bytes) else orjson.dumps(row) for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def _qa(question: Any, answer: Any, **beside: Any) -> dict[str, Any]:
    return {"question": question, "answer": answer, **beside}


def _chat(*turns: Any, **beside: Any) -> dict[str, Any]:
    messages = [t if isinstance(t, dict) else {"role": t[0], "content": t[1]} for t in turns]
    return {"messages": messages, **beside}


def _lines(report: Report, code: str) -> list[int]:
    finding = report.findings.get(code)
    return [place.line for place in finding.places] if finding else []


def test_every_kind_of_bad_line_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = [
        _qa("a?", "yes"),
        b'{"question": ',
        b'"text"',
        _qa("c?", ""),
        b"\xff\xfe",
        _qa("d?", "no"),
    ]
    report = _check(_file(tmp_path, rows))
    assert (report.rows_read, report.rows_usable) == (6, 2)
    assert _lines(report, "invalid_json") == [2]
    assert _lines(report, "empty_answer") == [4]
    assert _lines(report, "not_utf8") == [5]
    assert report.errors == 4


def test_rows_are_judged_turn_by_turn(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{not json"}}
    described = [{"type": "function", "function": {"name": "g"}}]
    user, yes = ("user", "hello there"), ("assistant", "certainly")
    rows = [
        _chat(user, yes),
        _chat(yes, user),
        _chat(user, {"role": "assistant", "content": "x", "weight": 0}),
        _chat(user, {"role": "assistant", "content": None, "tool_calls": [call]}, tools=described),
        _chat(user, yes, ("user", " "), yes),
        _chat(user, ("assistant", "spaces ")),
    ]
    report = _check(_file(tmp_path, rows))
    assert _lines(report, "roles_out_of_order") == [2]
    assert _lines(report, "no_final_answer") == [2]
    assert _lines(report, "no_trained_turn") == [3]
    assert _lines(report, "tool_arguments_not_json") == [4]
    assert _lines(report, "tool_not_described") == [4]
    assert _lines(report, "empty_turn") == [5]
    assert _lines(report, "surrounding_space") == [6]
    finding = report.findings.get("empty_turn")
    assert finding is not None
    assert finding.places[0].field == "messages[2]"


def test_calls_of_tools_and_their_results_belong_together(tmp_path: Path) -> None:
    def call(number: str) -> dict[str, Any]:
        return {"id": number, "type": "function", "function": {"name": "f", "arguments": "{}"}}

    def calls(*numbers: str) -> dict[str, Any]:
        return {"role": "assistant", "content": None, "tool_calls": [call(n) for n in numbers]}

    def result(number: str) -> dict[str, Any]:
        return {"role": "tool", "content": "42", "tool_call_id": number}

    described = [{"type": "function", "function": {"name": "f"}}]
    user, yes = ("user", "hello there"), ("assistant", "certainly")
    rows = [
        _chat(user, calls("a", "b"), result("b"), result("a"), yes, tools=described),
        _chat(user, calls("a"), tools=described),
        _chat(user, calls("a"), result("z"), yes, tools=described),
        _chat(user, calls("a"), yes, tools=described),
        _chat(user, calls("a"), result("a"), yes),
    ]
    report = _check(_file(tmp_path, rows))
    assert _lines(report, "tool_call_id_unknown") == [3]
    assert _lines(report, "tool_result_missing") == [3, 4]
    assert _lines(report, "tool_not_described") == [5]


def test_an_empty_answer_is_an_error_in_every_format(tmp_path: Path) -> None:
    user, yes, empty = ("user", "hello there"), ("assistant", "certainly"), ("assistant", " ")
    rows = [
        _chat(user, yes),
        _chat(user, empty),
        _chat(user, yes, user, empty),
        _chat(user, {"role": "assistant", "content": "", "weight": 0}, user, yes),
    ]
    report = _check(_file(tmp_path, rows))
    assert sorted(_lines(report, "empty_answer")) == [2, 3]
    assert _lines(report, "empty_turn") == [4]
    assert report.rows_usable == 3
    assert report.errors == 2


def test_missing_and_unknown_columns_are_named(tmp_path: Path) -> None:
    rows = [_qa(f"question {n}", f"answer {n}", category="x") for n in range(30)]
    rows[25] = _qa("question 25", "answer 25", categroy="x")
    report = _check(_file(tmp_path, rows))
    assert _lines(report, "missing_field") == [26]
    finding = report.findings.get("unknown_field")
    assert finding is not None
    assert finding.places[0].field == "categroy"


def test_duplicates_name_the_first_row_of_their_kind(tmp_path: Path) -> None:
    text = "The parcel left our warehouse this morning and will reach you within three days. "
    rows = [_qa("Where?", text * 4), _qa("Who?", "We."), _qa("Where?", text * 4)]
    rows.append(_qa("Where?", text * 3 + text.replace("three", "four")))
    report = _check(_file(tmp_path, rows))
    assert _lines(report, "duplicate") == [3]
    assert _lines(report, "near_duplicate") == [4]
    finding = report.findings.get("duplicate")
    assert finding is not None
    assert finding.places[0].excerpt == "= d.jsonl: 1"
    assert "near_duplicate" not in _check(tmp_path / "d.jsonl", Wanted(near=False)).findings


def test_rows_of_the_other_dataset_are_found(tmp_path: Path) -> None:
    path = _file(tmp_path, [_qa("a", "1"), _qa("b", "2"), _qa("c", "3")])
    other = _file(tmp_path, [_qa("b", "2"), _qa("x", "9")], "test.jsonl")
    report = _check(path, against=files_subject([other], Dataset(dataset="test.jsonl"), None))
    assert _lines(report, "leakage") == [2]
    assert report.errors == 1


def test_rows_that_another_dataset_holds_in_other_words_are_found(tmp_path: Path) -> None:
    text = " ".join(f"parcel {n * n} left on day {n};" for n in range(60))
    rows = [
        _qa("Where is it?", text + "Bye."),
        _qa("where is IT", "  It is here!"),
        _qa("Who are you?", "The shop."),
        _qa("What else?", "Nothing at all."),
        _qa("Where is it?", text + "Bye."),
    ]
    known = [
        *[_qa(f"filler {n}", f"of number {n}") for n in range(5)],
        _qa("Who are you?", "Somebody."),
        _qa("Where is it?", "It is here."),
        _qa("Where is it now?", text + "See you."),
    ]
    path, other = _file(tmp_path, rows), _file(tmp_path, known, "test.jsonl")
    subject = files_subject([other], Dataset(dataset="test.jsonl"), None)
    report = _check(path, against=subject)
    found = {
        code: [(place.line, place.excerpt) for place in finding.places]
        for code in ("leakage", "leakage_near", "leakage_question")
        if (finding := report.findings.get(code)) is not None
    }
    assert found == {
        "leakage": [(2, "= test.jsonl: 7")],
        "leakage_near": [(1, "= test.jsonl: 8"), (5, "= test.jsonl: 8")],
        "leakage_question": [(3, "= test.jsonl: 6")],
    }
    without = _check(path, Wanted(near=False), against=subject)
    assert "leakage_near" not in without.findings


def test_a_row_far_longer_than_the_others_is_found(tmp_path: Path) -> None:
    rows = [_qa(f"question {n}", f"an answer of usual length, number {n}") for n in range(150)]
    rows[70] = _qa("question 70", "so many words " * 400)
    assert _lines(_check(_file(tmp_path, rows)), "length_outlier") == [71]


def test_unbalanced_classes_are_counted(tmp_path: Path) -> None:
    answers = ["refund"] * 100 + ["delivery"] * 40 + ["invoice"] * 3
    rows = [_qa(f"customer's message number {n}", answer) for n, answer in enumerate(answers)]
    finding = _check(_file(tmp_path, rows)).findings.get("class_imbalance")
    assert finding is not None
    assert finding.count == 3
    assert [place.line for place in finding.places] == [141, 142, 143]
    assert finding.detail["classes"] == {"refund": 100, "delivery": 40, "invoice": 3}


@pytest.mark.parametrize(("rare", "found"), [(20, True), (5, True), (40, False)])
def test_classes_of_four_to_one_are_out_of_balance(tmp_path: Path, rare: int, found: bool) -> None:
    answers = ["positive"] * (100 - rare) + ["negative"] * rare
    rows = [_qa(f"customer's message number {n}", answer) for n, answer in enumerate(answers)]
    finding = _check(_file(tmp_path, rows)).findings.get("class_imbalance")
    assert (finding is not None) is found
    assert finding is None or (finding.count, finding.places[0].line) == (rare, 101 - rare)


def test_a_second_kind_of_long_rows_is_no_outlier(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    lines = [f"Heading number {n} of this book" for n in range(500)]
    path.write_text("\n".join([*lines, *(f"{n} many words " * 300 for n in range(50))]))
    assert "length_outlier" not in _check(path).findings


def test_a_rare_language_is_found(tmp_path: Path) -> None:
    rows = [_qa(f"第{n}个订单什么时候发货？", f"第{n}个订单今天发货。") for n in range(200)]
    rows[9] = _qa("Where is my order, please?", "It has left our warehouse today.")
    report = _check(_file(tmp_path, rows))
    assert report.languages == {"zh": 199, "latin": 1}
    assert _lines(report, "mixed_languages") == [10]


def test_few_rows_are_pointed_out(tmp_path: Path) -> None:
    report = _check(_file(tmp_path, [_qa("a", "b")]))
    assert "too_few_rows" in report.findings
    assert report.errors == 0


def test_a_hundred_thousand_errors_give_a_bounded_report(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"question": "a", "answer": "b"}\n' + b"{broken\n" * 100_000)
    report = _check(path)
    finding = report.findings.get("invalid_json")
    assert finding is not None
    assert finding.count == 100_000
    assert [place.line for place in finding.places] == list(range(2, PLACES_KEPT + 2))
    assert len(orjson.dumps(report.to_json())) < 50_000


def test_a_file_without_a_single_row_is_reported_not_raised(tmp_path: Path) -> None:
    report = _check(_file(tmp_path, [b"{", b"]"]))
    assert _lines(report, "invalid_json") == [1, 2]
    assert report.rows_usable == 0


OPENAI_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"text": "x"}, "missing_messages_list"),
    ({"messages": []}, "missing_messages_list"),
    ({"messages": ["hello"]}, "data_type"),
    ({"messages": [{"content": "x"}]}, "message_missing_key"),
    ({"messages": [{"role": "user"}]}, "message_missing_key"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "unrecognized_role"),
    ({"messages": [{"role": "user", "content": "x", "mood": 1}]}, "message_unrecognized_key"),
    ({"messages": [{"role": "user", "content": ""}]}, "missing_content"),
    ({"messages": [{"role": "user", "content": "x"}]}, "example_missing_assistant_message"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, "missing_user_message"),
    ({"messages": [{"role": "user", "content": "x"}], "parallel_tool_calls": 1}, "data_type"),
    ({"input": {}, "preferred_output": [], "non_preferred_output": []}, "missing_messages_list"),
]


@pytest.mark.parametrize(("row", "code"), OPENAI_ROWS)
def test_openais_checks_have_their_names(tmp_path: Path, row: dict[str, Any], code: str) -> None:
    good = _chat(("system", "s"), ("user", "u"), ("assistant", "a"))
    report = _check(_file(tmp_path, [*[good] * 20, row]), Wanted(openai="any"))
    assert 21 in _lines(report, code)


def test_a_good_openai_file_passes_its_own_rules(tmp_path: Path) -> None:
    rows = [
        _chat(("system", "s"), ("user", f"question {n}"), ("assistant", f"answer {n}"))
        for n in range(10)
    ]
    report = _check(_file(tmp_path, rows), Wanted(openai="any"))
    assert report.errors == 0
    assert "invalid_n_examples" in _check(_file(tmp_path, rows[:3]), Wanted(openai="any")).findings


def test_chats_without_a_system_message_are_warned_of_and_pass(tmp_path: Path) -> None:
    rows = [_chat(("user", f"question {n}"), ("assistant", f"answer {n}")) for n in range(10)]
    report = _check(_file(tmp_path, rows), Wanted(openai="any"))
    found = report.findings.get("missing_system_message")
    assert found is not None
    assert found.count == 10
    assert rule_of("missing_system_message").severity == "warning"
    assert report.errors == 0


@pytest.mark.parametrize("roles", ["ua", "sua", "uaua", "uatataua", "u", "suau", "uattaua"])
def test_orders_of_a_conversation(roles: str) -> None:
    assert is_in_order(_roles(roles))


@pytest.mark.parametrize("roles", ["a", "uua", "uaa", "usa", "uta", "sau", "uat"])
def test_orders_of_no_conversation(roles: str) -> None:
    assert not is_in_order(_roles(roles))


def _roles(letters: str) -> tuple[str, ...]:
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return tuple(names[letter] for letter in letters)


def test_merged_findings_count_all_and_keep_the_first_places() -> None:
    first, second = Findings(), Findings()
    for line in range(60):
        first.add("duplicate", Place("a", line))
        second.add("duplicate", Place("b", line))
    first.merge(second)
    finding = first.get("duplicate")
    assert finding is not None
    assert finding.count == 120
    assert [place.file for place in finding.places] == ["a"] * 60 + ["b"] * 40


def test_every_rule_speaks_both_languages() -> None:
    for code, rule in RULES.items():
        assert rule.en
        assert any(char > "\u2e80" for char in rule.zh + rule.mend_zh), code


def _codes_in(folder: Path) -> set[str]:
    """The codes that the sources name where a row is refused or something is found."""
    named: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name(id="RowUnusable"), args=[ast.Constant(value=str(code))]
                ):
                    named.add(code)
                case ast.Call(
                    func=ast.Name(id="_checked"), args=[_, ast.Constant(value=str(code))]
                ):
                    named.add(code)
                case _:
                    pass
    return named


def _texts_in(node: ast.expr) -> set[str]:
    constants = (each for each in ast.walk(node) if isinstance(each, ast.Constant))
    return {constant.value for constant in constants if isinstance(constant.value, str)}


def _codes_of_checks() -> set[str]:
    """The codes that checks yield, add, count or return, and those of the readers' problems."""
    named: set[str] = set()
    for path in (DATA / "check").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="add" | "count" | "_add" | "add_rows" | "set_detail"),
                    args=[ast.Constant(value=str(code)), *_],
                ):
                    named.add(code)
                case ast.Yield(value=ast.Tuple(elts=[first, _])):
                    named |= _texts_in(first)
                case ast.Assign(targets=[ast.Name(id="code")], value=value):
                    named |= _texts_in(value)
                case ast.For(target=ast.Tuple(elts=[ast.Name(id="code"), _]), iter=ast.Tuple()):
                    for pair in ast.walk(node.iter):
                        if isinstance(pair, ast.Tuple) and isinstance(pair.elts[0], ast.Constant):
                            named |= _texts_in(pair.elts[0])
                case _:
                    pass
    for path in [*(DATA / "readers").glob("*.py"), DATA / "encodings.py"]:
        named |= set(re.findall(r'code="(\w+)"', path.read_text("utf-8")))
    return named | set(CODES)


def test_every_code_that_a_row_or_a_check_can_give_has_a_rule() -> None:
    unusable, found = _codes_in(DATA), _codes_of_checks()
    assert {"empty_chosen", "turn_is_no_object", "history_is_no_list", "no_question"} <= unusable
    assert {"duplicate", "data_type", "empty_turn", "line_too_long", "overlong"} <= found
    assert "missing_field" in found
    assert sorted((unusable | found) - RULES.keys()) == []


def test_a_line_that_is_no_object_is_named_for_each_profile(tmp_path: Path) -> None:
    good = _chat(("system", "s"), ("user", "u"), ("assistant", "a"))
    path = _file(tmp_path, [*[good] * 20, b"[1]", b'"text"'])
    assert _lines(_check(path, Wanted(openai="any")), "data_type") == [21, 22]
    assert _lines(_check(path), "no_object") == [21, 22]


def test_a_ragged_line_of_csv_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("question,answer\nq1,a1\nq2,a2,more\nq3,a3\n")
    report = _check(path)
    assert _lines(report, "invalid_csv") == [3]
    assert report.rows_usable == 2


def test_bytes_that_are_not_utf8_are_told_by_place_and_likely_encoding(tmp_path: Path) -> None:
    rows: list[Any] = [_qa(f"问题{n}是什么？", f"回答{n}。") for n in range(30)]
    rows[10] = b'{"question": "bad \xff\xfe utf", "answer": "ok"}'
    rows[20] = '{"question": "中文问题", "answer": "中文回答"}'.encode("gb18030")
    path = _file(tmp_path, rows)
    finding = _check(path).findings.get("not_utf8")
    assert finding is not None
    assert [place.line for place in finding.places] == [11, 21]
    assert "at byte 19" in finding.places[0].excerpt
    assert "at byte 15; it looks like GB18030" in finding.places[1].excerpt
    subject = files_subject([path], Dataset(dataset=path.name), "auto")
    report = check(subject, Wanted(), processes=1, on_progress=_silent)
    assert _lines(report, "mixed_encodings") == [11, 21]
    assert "auto" not in rule_of("mixed_encodings").mend_en
