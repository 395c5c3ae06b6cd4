"""Conditions on rows: a small language that reaches nothing but the row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.expression import Condition, RowValues
from tunesmith.errors import InputError

ROW = {
    "id": 7,
    "line": 9,
    "question": "Where is my Order?",
    "answer": "It ships today.",
    "answer_length": 15,
    "turns": 2,
    "category": "delivery",
    "score": 0.4,
}


@pytest.mark.parametrize(
    ("source", "meets"),
    [
        ("answer_length > 10", True),
        ("10 < answer_length <= 14", False),
        ('category == "delivery" and score < 0.5', True),
        ('category in ["refund", "invoice"]', False),
        ('contains(question, "ORDER")', True),
        ('not contains(question, "order")', False),
        ("matches(answer, r'\\bships\\b')", True),
        ("len(answer) == answer_length", True),
        ('lower(category) == "delivery" or missing > 3', True),
        ("turns * 2 - 1 == 3", True),
        ("score == None", False),
        ("-score < 0", True),
        ("nothing > 5", False),
        ("5 >= nothing", False),
        ("not nothing < 5", True),
        ("nothing * 2 > 1 or -nothing < 3", False),
        ('"a" in nothing', False),
        ('contains(nothing, "none")', False),
        ("len(nothing) == 0", True),
        ('col("my column") > 3', True),
        ('col("id") == "ext7" and id == 7', True),
        ('startswith(answer, "It") and endswith(answer, ".")', True),
    ],
)
def test_a_condition_is_met_or_not(source: str, meets: bool) -> None:
    beside = {"my column": 4, "id": "ext7"}
    assert Condition(source)(RowValues({**ROW, "nothing": None}, beside)) is meets


@pytest.mark.parametrize(
    "source",
    [
        "__import__('os').system('true')",
        "answer.__class__",
        "(lambda: 1)()",
        "[x for x in answer]",
        "open('/etc/passwd')",
        "answer[0]",
        "f'{answer}'",
        "2 ** 9",
        "answer_length >",
        "len(answer, question)",
        "col(answer)",
        "1 if True else 2",
        "",
        "(" * 2000 + "1" + ")" * 2000,
    ],
)
def test_everything_else_is_refused_in_plain_words(source: str) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        Condition(source)


def test_an_unknown_column_is_told_with_those_there_are() -> None:
    with pytest.raises(InputError, match="names 'my colum'"):
        Condition('col("my colum") > 1')(RowValues(ROW, {"my column": 4}))


def test_an_unknown_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(InputError) as caught:
        Condition("anwser == 'x'")(ROW)
    assert "Did you mean 'answer'?" in caught.value.hint


@pytest.mark.parametrize(
    "source", ["answer > 3", "answer * 1000000", "score / 0 > 1", "matches(answer, '(')"]
)
def test_a_condition_that_fails_on_a_row_names_the_row(source: str) -> None:
    with pytest.raises(InputError, match="row 7"):
        Condition(source)(ROW)


@given(st.text(max_size=40))
def test_no_text_makes_it_fail_in_another_way(source: str) -> None:
    try:
        Condition(source)(ROW)
    except InputError:
        return
