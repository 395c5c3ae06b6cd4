"""The data of the package: enough rows, balanced languages, nothing held out is trained on."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.conversation import Conversation
from tunesmith.data.formats import find_layout
from tunesmith.data.resolve import resolve_dataset
from tunesmith.examples import example_directory
from tunesmith.recipe import DataSource

FOLDER = example_directory("customer-service")


def read_rows(name: str) -> list[dict[str, Any]]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def questions(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        found[row["intent"], row["language"]].append(row["messages"][0]["content"])
    return found


def answers(rows: list[dict[str, Any]]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        found[row["intent"], row["language"]].add(row["messages"][1]["content"])
    return found


def normalised(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.lower())


def test_thirty_intents_are_there_in_two_languages() -> None:
    """G3: a customer-service example ships with the product."""
    keys = questions(read_rows("train.jsonl")).keys()
    assert len(keys) == 60
    assert len({intent for intent, _ in keys}) == 30
    assert {language for _, language in keys} == {"en", "zh"}
    assert questions(read_rows("heldout.jsonl")).keys() == keys


def test_each_intent_has_ten_training_questions_and_two_held_out_ones() -> None:
    assert min(map(len, questions(read_rows("train.jsonl")).values())) >= 10
    assert min(map(len, questions(read_rows("heldout.jsonl")).values())) >= 2


def test_no_question_occurs_twice_in_training_and_held_out_rows_together() -> None:
    rows = read_rows("train.jsonl") + read_rows("heldout.jsonl")
    texts = [normalised(row["messages"][0]["content"]) for row in rows]
    assert len(set(texts)) == len(texts)


def test_each_intent_and_language_has_one_answer_of_its_own() -> None:
    trained = answers(read_rows("train.jsonl"))
    assert trained == answers(read_rows("heldout.jsonl"))
    assert all(len(texts) == 1 for texts in trained.values())
    assert len(set.union(*trained.values())) == len(trained)


def test_answers_have_the_length_of_a_short_helpful_reply() -> None:
    for (_, language), texts in answers(read_rows("train.jsonl")).items():
        (text,) = texts
        size = len(text.split()) if language == "en" else len(re.findall(r"[\u4e00-\u9fff]", text))
        assert (40 if language == "en" else 50) <= size <= 110, text


@pytest.mark.parametrize("name", ["train.jsonl", "heldout.jsonl"])
def test_the_first_sixty_rows_cover_every_intent_and_language(name: str) -> None:
    assert len(questions(read_rows(name)[:60])) == 60


def general_rows() -> list[dict[str, Any]]:
    text = resolve_dataset("builtin:general", Path()).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_general_corpus_is_in_two_languages_and_ten_fields_in_equal_parts() -> None:
    """C10: a general corpus ships with the product."""
    counts = Counter((row["field"], row["language"]) for row in general_rows())
    assert len({field for field, _ in counts}) == 10
    assert {language for _, language in counts} == {"en", "zh"}
    assert set(counts.values()) == {15}


def test_the_general_corpus_says_nothing_twice() -> None:
    shop = [row["messages"][0]["content"] for row in read_rows("train.jsonl")]
    questions = [normalised(row["question"]) for row in general_rows()]
    assert len(set(questions)) == len(questions) == 300
    assert not set(questions) & set(map(normalised, shop))
    answers = [normalised(row["answer"]) for row in general_rows()]
    assert len(set(answers)) == len(answers)


def test_general_answers_are_in_the_language_of_their_question() -> None:
    for row in general_rows():
        for text in (row["question"], row["answer"]):
            assert text == text.strip()
            assert "\ufffd" not in text
        chinese = len(re.findall(r"[\u4e00-\u9fff]", row["question"] + row["answer"]))
        assert (chinese > 0) == (row["language"] == "zh"), row["question"]


def test_general_answers_differ_in_length() -> None:
    lengths = sorted(len(row["answer"]) for row in general_rows())
    assert lengths[0] < 20
    assert lengths[len(lengths) // 2] > 80
    assert lengths[-1] > 300


def test_the_general_corpus_is_read_as_questions_and_answers() -> None:
    rows = general_rows()
    layout = find_layout(rows[:100], DataSource(dataset="builtin:general"), "general.jsonl")
    assert layout.format == "prompt_response"
    records = [layout.convert(row) for row in rows]
    assert all(isinstance(record, Conversation) for record in records)
