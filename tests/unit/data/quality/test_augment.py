"""The same rows in other wordings: what matches, what is added, and what a bad file is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.data.quality.conftest import Make, silent

from tunesmith.data import editing
from tunesmith.data.quality.augment import Augmented, augment
from tunesmith.data.quality.templates import Templates, builtin_templates, load_templates
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.rows import StoredRow, stored_rows
from tunesmith.errors import InputError

WORDINGS = """
to_english:
  - "Translate into English: {text}"
  - "请翻译成英文：{text}"
  - "How do you say this in English? {text}"
greeting:
  - Hello
  - Good morning
"""
ROWS = [
    ("Translate into English: 你好", "Hello"),
    ("请翻译成英文：\n谢谢\n再见", "Thank you\nGoodbye"),
    ("Where is my order?", "On its way."),
    ("hello", "Hello! How can I help?"),
]


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    return _load(tmp_path, WORDINGS)


def _load(tmp_path: Path, text: str) -> Templates:
    path = tmp_path / "wordings.yaml"
    path.write_text(text, encoding="utf-8")
    return load_templates(path)


def _rows(version: Version) -> list[StoredRow]:
    return list(stored_rows(version.batches()))


def _questions(done: Augmented) -> list[str]:
    assert done.version is not None
    return [editing.values_of(row)["question"] for row in _rows(done.version)]


def test_matching_rows_get_further_wordings_and_the_others_stay(
    catalog: Catalog, make: Make, templates: Templates
) -> None:
    version = make(ROWS)
    done = augment(catalog, version, templates, seed=1, rate=2, on_progress=silent)
    assert (done.matched, done.added) == (3, 5)
    assert done.version is not None
    rows = _rows(done.version)
    assert rows[:4] == _rows(version)
    assert [row.id for row in rows] == list(range(1, 10))
    assert {(row.extra["augmented_from"], row.extra["template"]) for row in rows[4:]} == {
        (1, "to_english"),
        (2, "to_english"),
        (4, "greeting"),
    }
    assert set(_questions(done)[4:6]) == {
        "请翻译成英文：你好",
        "How do you say this in English? 你好",
    }
    assert "Translate into English: 谢谢\n再见" in _questions(done)
    assert editing.values_of(rows[4])["answer"] == "Hello"


def test_the_same_seed_chooses_the_same_wordings(
    catalog: Catalog, make: Make, templates: Templates
) -> None:
    version = make([(f"Translate into English: 句子{n}", f"s{n}") for n in range(40)])
    once, again, other = (
        augment(catalog, version, templates, seed=seed, rate=0.5, on_progress=silent)
        for seed in (1, 1, 2)
    )
    assert _questions(once) == _questions(again) != _questions(other)
    assert 8 < once.added < 32


def test_copies_are_never_copied_and_never_there_twice(
    catalog: Catalog, make: Make, templates: Templates
) -> None:
    version = make([*ROWS, ("请翻译成英文：你好", "Hello")])
    done = augment(catalog, version, templates, seed=1, rate=9, on_progress=silent)
    assert done.present == 3  # each of the two would repeat the other, both the same third one
    assert done.version is not None
    again = augment(catalog, done.version, templates, seed=1, rate=9, on_progress=silent)
    assert (again.added, again.version) == (0, None)
    assert catalog.versions("shop") == [1, 2]


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("translate into english:Guten Tag", "translate_to_english"),
        ("请翻译成中文： How are you?", "translate_to_chinese"),
        ("Summarize the following text:\nA long story.\nIts end.", "summarise_en"),
        ("总结下面的文字：很长的故事。", "summarise_zh"),
        ("Make this message more polite: Pay now.", "rewrite_politely_en"),
        ("换一种礼貌的说法：快点。", "rewrite_politely_zh"),
        ("Classify the following text as news or sport: They won.", "classify_en"),
        ("判断下面的文字属于新闻、体育中的哪一类：他们赢了", "classify_zh"),
        ("Explain gravity in simple words", "explain_en"),
        ("能不能用大白话说明通货膨胀？", "explain_zh"),
        ("Continue the story: It was night.", "continue_en"),
        ("请接着往下写：天黑了。", "continue_zh"),
    ],
)
def test_the_built_in_wordings_know_usual_questions(question: str, name: str) -> None:
    first = next(each.name for each in builtin_templates().sets if each.match(question))
    assert first == name


def test_every_built_in_wording_can_be_filled_and_is_found_again() -> None:
    for each in builtin_templates().sets:
        for wording in each.wordings:
            values = dict.fromkeys(wording.names, "one thing")
            found = each.match(wording.filled(values))
            assert found is not None, wording
            assert found[1] == values


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("", 1, "expected names of sets"),
        ("- a\n- b\n", 1, "expected names of sets"),
        ("a:\n  - 'x {text}'\n", 1, "two wordings"),
        ("a:\n  - 'x {text}'\n  - 'y {txet}'\n", 3, r"unknown placeholder {txet} \(did you mean"),
        ("a:\n  - 'x {text}'\n  - 'y'\n", 3, r"lacks {text}"),
        ("a:\n  - 'x {text}'\n  - 'y {text'\n", 3, "braces"),
        ("a:\n  - 'x {text}'\n  - 'y {0}'\n", 3, "no placeholder"),
        ("a:\n  - 'x {text}'\n  - '{text}'\n", 3, "would match every question"),
        ("a:\n  - 'x {text} {more}'\n  - 'y'\n", 2, "words between"),
        ("a:\n  - x: {text}\n  - 'y {text}'\n", 2, "quotation marks"),
        ("a: hello\n", 1, "list of wordings"),
        ("a:\n  - 'x {text}'\n  - 'y {text}'\na:\n  - 'z'\n  - 'w'\n", 4, "twice"),
        ("a:\n  - 'x\n", 3, "no YAML"),
        ("a:\n  - 'x {text}'\n  - 'x {text}'\n", 3, "there already"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, told: str
) -> None:
    with pytest.raises(InputError, match=told) as error:
        _load(tmp_path, text)
    assert f"line {line}:" in error.value.message


def test_a_long_question_is_matched_in_no_time(templates: Templates) -> None:
    question = "Translate into English" + " x" * 20_000
    assert all(each.match(question) is None for each in templates.sets)
