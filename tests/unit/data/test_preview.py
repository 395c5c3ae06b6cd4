"""A preview shows each token of a row and whether it is learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
