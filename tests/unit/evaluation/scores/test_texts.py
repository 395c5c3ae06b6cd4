"""Equality and overlap of texts."""

from __future__ import annotations

import pytest

from tunesmith.evaluation.scores.texts import (
    contains_any,
    exact_match,
    is_chinese,
    normalise,
    normalised_match,
    token_f1,
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paris", "paris.", True),
        ("Ｐａｒｉｓ", "Paris", True),  # full width
        ("北京。", "北京", True),
        ("你好，世界！", "你好 世界", True),
        ("don't", "dont", True),
        ("  a   b\n", "a b", True),
        ("1,000", "1000", True),
        ("3.5", "35", False),
        ("-5", "5", False),
        ("5%", "5", False),
        ("9:30", "930", False),
        ("C++", "C", False),
        ("No. 5", "No 5", True),
        ("", "!", True),
    ],
)
def test_normalised_texts_are_equal_where_people_see_the_same(
    one: str, other: str, *, same: bool
) -> None:
    assert normalised_match(one, other) == same
    assert normalise(normalise(one)) == normalise(one)


def test_exact_is_exact_but_for_space_around() -> None:
    assert exact_match(" Paris\n", "Paris") == 1
    assert exact_match("paris", "Paris") == 0


@pytest.mark.parametrize(
    ("prediction", "reference", "f1"),
    [
        ("the cat sat", "the cat", 2 * 2 / 5),
        ("cat cat cat", "cat", 2 * 1 / 4),  # each word counts as often as the reference has it
        ("请拨打客服", "请联系客服", 2 * 3 / 10),
        ("", "", 1.0),
        ("something", "", 0.0),
    ],
)
def test_token_f1_is_that_of_words_and_of_chinese_characters(
    prediction: str, reference: str, f1: float
) -> None:
    assert token_f1(prediction, reference) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("prediction", "accepted", "found"),
    [
        ("It is Paris, of course.", ["Paris"], True),
        ("The answer is 42.", ["42"], True),
        ("It is 142.", ["42"], False),
        ("Parisian", ["Paris"], False),
        ("答案是北京市。", ["北京"], True),
        ("H₂O", ["H2O"], True),
        ("", ["Paris"], False),
    ],
)
def test_an_accepted_answer_counts_where_it_stands_as_words(
    prediction: str, accepted: list[str], *, found: bool
) -> None:
    assert contains_any(prediction, accepted) == found


def test_language_is_that_of_most_of_the_text() -> None:
    assert is_chinese("请写信到 account@lantern.example 联系我们的客服")
    assert not is_chinese("The word 你好 means hello to somebody who speaks it")
    assert not is_chinese("42")
