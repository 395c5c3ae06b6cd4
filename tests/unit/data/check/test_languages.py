"""The language of a row, told by its script."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.check.buffers import rows_of
from tunesmith.data.check.languages import LANGUAGES, language_of


def _language(text: str) -> str:
    return LANGUAGES[language_of(pa.array([text]))[0]]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("请用一句话介绍北京。", "zh"),
        ("用 Python 写一个计算斐波那契数列的函数", "zh"),
        ("Name three primary colours.", "latin"),
        ("Où est la bibliothèque ?", "latin"),
        ("Xin chào, bạn khỏe không?", "latin"),
        ("今日はとても暑いですね。", "ja"),
        ("오늘 날씨가 어때요?", "ko"),
        ("Какая сегодня погода?", "ru"),
        ("كيف حالك اليوم؟", "ar"),
        ("आज मौसम कैसा है?", "hi"),
        ("วันนี้อากาศเป็นอย่างไร", "th"),
        ("Πώς είσαι σήμερα;", "other"),
        ("12 + 30 = 42 👍", "none"),
        ("", "none"),
    ],
)
def test_a_text_is_of_the_language_of_its_script(text: str, language: str) -> None:
    assert _language(text) == language


def test_a_word_of_another_script_does_not_change_the_language() -> None:
    assert _language("The Chinese word for tea is 茶, and in Japanese it is お茶.") == "latin"
    assert (
        _language("日语里“谢谢”写作ありがとう，" + "这是一个很常用的词语，大家都知道。" * 9) == "zh"
    )


def test_a_long_text_is_judged_by_its_whole_length() -> None:
    assert _language("Introduction. " + "接下来是正文的内容，" * 500) == "zh"


def test_null_rows_slices_and_both_kinds_of_arrays_are_read() -> None:
    for kind in (pa.string(), pa.large_string()):
        texts = pa.array(["ignored", "你好世界", None, "hello", ""], kind)[1:]
        assert [LANGUAGES[i] for i in language_of(texts)] == ["zh", "none", "latin", "none"]
    assert len(language_of(pa.array([], pa.string()))) == 0


@given(st.lists(st.none() | st.text(), max_size=8), st.integers(0, 8))
def test_the_bytes_of_any_rows_are_those_of_the_texts(texts: list[str | None], start: int) -> None:
    texts = [text and text.encode(errors="replace").decode() for text in texts]
    data, offsets = rows_of(pa.array(texts, pa.string())[start:])
    rows = [bytes(data[a:b]) for a, b in pairwise(offsets)]
    assert rows == [(text or "").encode() for text in texts[start:]]
    assert len(language_of(pa.array(texts, pa.string()))) == len(texts)
