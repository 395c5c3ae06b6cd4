"""A preview shows each token of a row and whether it is learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tunesmith.data.preview import preview_row
from tunesmith.data.renderer import Renderer
from tunesmith.data.subject import Files, files_subject
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.errors import DataError
from tunesmith.recipe import Dataset


@pytest.fixture
def files(tmp_path: Path) -> Files:
    path = tmp_path / "d.csv"
    path.write_text("问题,答案\nq1,a1\nq2,yes\nq3,\n", "utf-8")
    return files_subject([path], Dataset(dataset="d.csv"), None)


@pytest.fixture
def renderer(tokenizer_of: Callable[[str], TextTokenizer]) -> Renderer:
    return Renderer(tokenizer_of("chatml"))


def test_a_row_is_shown_in_tokens(files: Files, renderer: Renderer) -> None:
    shown = preview_row(files, 2, renderer)
    assert shown.line == 3
    assert shown.why.startswith("prompt_response: ")
    tokens = shown.rows[0].tokens
    assert [token.text for token in tokens if token.supervised] == ["y", "e", "s", "<|im_end|>"]
    assert "".join(token.text for token in tokens).startswith("<|im_start|>user\nq2")
    assert tokens[0].special
    assert shown.record == {
        "messages": [{"role": "user", "content": "q2"}, {"role": "assistant", "content": "yes"}]
    }


def test_a_row_that_cannot_be_used_says_why(files: Files, renderer: Renderer) -> None:
    assert preview_row(files, 3, renderer).refused == "empty_answer"


def test_the_place_where_a_long_row_is_cut_is_marked(files: Files, renderer: Renderer) -> None:
    whole = preview_row(files, 1, renderer).rows[0]
    assert whole.cut_at is None
    assert preview_row(files, 1, renderer, max_length=5).rows[0].cut_at == 5
    assert preview_row(files, 1, renderer, max_length=len(whole.tokens)).rows[0].cut_at is None


def test_a_row_that_is_not_there_is_an_error_with_the_number_of_rows(
    files: Files, renderer: Renderer
) -> None:
    with pytest.raises(DataError, match="no row 4") as caught:
        preview_row(files, 4, renderer)
    assert "1 to 3" in caught.value.hint


def _jsonl(tmp_path: Path, *rows: object) -> Files:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return files_subject([path], Dataset(dataset="d.jsonl"), None)


def test_a_good_answer_is_shown_as_training_learns_it(tmp_path: Path, renderer: Renderer) -> None:
    judged = {"instruction": "q", "output": "yes", "kto_tag": True}
    shown = preview_row(_jsonl(tmp_path, judged, judged), 1, renderer)
    assert shown.refused is None
    tokens = shown.rows[0].tokens
    assert [token.text for token in tokens if token.supervised] == ["y", "e", "s", "<|im_end|>"]


def test_a_bad_answer_is_shown_as_stage_kto_learns_it(tmp_path: Path, renderer: Renderer) -> None:
    judged = {"instruction": "q", "output": "yes", "kto_tag": False}
    shown = preview_row(_jsonl(tmp_path, judged, judged), 1, renderer)
    assert shown.refused is None
    tokens = shown.rows[0].tokens
    assert [token.text for token in tokens if token.supervised] == ["y", "e", "s", "<|im_end|>"]


def test_a_pair_is_shown_with_each_of_its_answers(tmp_path: Path, renderer: Renderer) -> None:
    pair = {"instruction": "q", "chosen": "good one", "rejected": "bad one"}
    shown = preview_row(_jsonl(tmp_path, pair, pair), 1, renderer)
    assert shown.refused is None
    assert [row.answer for row in shown.rows] == ["chosen", "rejected"]
    learned = ["".join(t.text for t in row.tokens if t.supervised) for row in shown.rows]
    assert learned == ["good one<|im_end|>", "bad one<|im_end|>"]


def test_a_document_is_split_and_never_cut(tmp_path: Path, renderer: Renderer) -> None:
    files = _jsonl(tmp_path, {"text": "word " * 30}, {"text": "b"})
    row = preview_row(files, 1, renderer, max_length=50).rows[0]
    assert (row.cut_at, row.window) == (None, 50)
    assert preview_row(files, 2, renderer, max_length=50).rows[0].window is None


@given(text=st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tokens_hold_the_whole_text_whatever_characters_they_share(
    tmp_path: Path, renderer: Renderer, text: str
) -> None:
    assume(text.strip())
    shown = preview_row(_jsonl(tmp_path, {"text": text}, {"text": "b"}), 1, renderer)
    told = "".join(token.text for token in shown.rows[0].tokens)
    assert told.removesuffix("<|im_end|>") == text


def test_a_row_can_be_named_by_the_line_that_a_check_names(
    tmp_path: Path, renderer: Renderer
) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"question": "a", "answer": "1"}\n{broken\n{"question": "b", "answer": "2"}\n')
    files = files_subject([path], Dataset(dataset="d.jsonl"), None)
    third = preview_row(files, 3, renderer, by_line=True)
    assert third.record is not None
    assert third.record["messages"][0]["content"] == "b"
    broken = preview_row(files, 2, renderer, by_line=True)
    assert (broken.line, broken.refused) == (2, "invalid_json")
    assert "column 2" in broken.why
    with pytest.raises(DataError, match="no row in line 9"):
        preview_row(files, 9, renderer, by_line=True)
