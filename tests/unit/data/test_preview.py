"""A preview shows each token of a row and whether it is learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith.data.preview import preview_row
from tunesmith.data.renderer import Renderer
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.errors import DataError
from tunesmith.recipe import Dataset


def test_a_row_is_shown_in_tokens(
    tmp_path: Path, tokenizer_of: Callable[[str], TextTokenizer]
) -> None:
    (tmp_path / "d.csv").write_text("问题,答案\nq1,a1\nq2,yes\nq3,\n", "utf-8")
    renderer, dataset = Renderer(tokenizer_of("chatml")), Dataset(dataset="d.csv")
    shown = preview_row(dataset, 2, renderer, base_dir=tmp_path)
    assert shown.line == 3
    assert shown.why.startswith("prompt_response: ")
    learned = [token.text for token in shown.rows[0] if token.supervised]
    assert learned == ["y", "e", "s", "<|im_end|>"]
    assert "".join(token.text for token in shown.rows[0]).startswith("<|im_start|>user\nq2")
    assert preview_row(dataset, 3, renderer, base_dir=tmp_path).refused == "empty_answer"
    with pytest.raises(DataError, match="no row 4"):
        preview_row(dataset, 4, renderer, base_dir=tmp_path)
