"""Streams carry whole characters, stop strings are met across tokens, and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.serving.conftest import write_tiny_tokenizer

from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.serving.text import AnswerText, Detokeniser, StopWatch
from tunesmith.serving.tokens import token_bytes


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    return TextTokenizer.load(write_tiny_tokenizer(tmp_path_factory.mktemp("bytes")))


@pytest.fixture(scope="module")
def starter() -> TextTokenizer:
    from tunesmith.starter import starter_directory

    return TextTokenizer.load(starter_directory())


def pieces_of(tokenizer: TextTokenizer, ids: list[int], stops: tuple[str, ...] = ()) -> list[str]:
    text = AnswerText(tokenizer, stops)
    told: list[str] = []
    for token in ids:
        told.append(text.push(token))
        if text.stopped:
            return told
    return [*told, text.finish()]


@given(st.text(max_size=40))
def test_the_pieces_of_any_text_are_the_text(tokenizer: TextTokenizer, text: str) -> None:
    assert "".join(pieces_of(tokenizer, tokenizer.encode(text))) == text


@given(st.lists(st.integers(0, 258), max_size=30))
def test_the_pieces_of_any_tokens_are_what_they_decode_to(
    tokenizer: TextTokenizer, ids: list[int]
) -> None:
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    assert "".join(pieces_of(tokenizer, ids)) == whole


@given(st.lists(st.integers(0, 4095), max_size=30))
def test_the_pieces_of_a_real_vocabulary_are_what_they_decode_to(
    starter: TextTokenizer, ids: list[int]
) -> None:
    assert "".join(pieces_of(starter, ids)) == starter.decode(ids, skip_special_tokens=True)


def test_characters_of_several_tokens_come_whole(tokenizer: TextTokenizer) -> None:
    told = pieces_of(tokenizer, tokenizer.encode("您好👍"))
    assert [piece for piece in told if piece] == ["您", "好", "👍"]


def test_what_never_becomes_a_character_is_shown_and_delays_nothing_for_long(
    tokenizer: TextTokenizer,
) -> None:
    half = tokenizer.encode("好")[:2]
    told = pieces_of(tokenizer, [*half * 10, *tokenizer.encode("ok")])
    assert told[-1] == "" or "ok" in "".join(told)
    assert any(told[:12])


@given(
    text=st.text(alphabet="abAB", max_size=30),
    stops=st.lists(st.text(alphabet="abAB", min_size=1, max_size=4), min_size=1, max_size=3),
    cuts=st.lists(st.integers(1, 4), max_size=30),
)
def test_a_stop_string_ends_the_text_however_it_is_cut(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    watch = StopWatch(stops)
    told, rest = "", text
    for size in [*cuts, *[1] * len(text)]:
        told += watch.push(rest[:size])
        rest = rest[size:]
    stopped = watch.stopped
    told += watch.finish()
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    assert stopped == bool(found)
    if found:
        # Of two stops that overlap, the one that was complete first may be told.
        assert text.startswith(told)
        assert not any(stop in told for stop in stops)
    else:
        assert told == text


def test_special_tokens_are_no_text_unless_they_are_wanted(tokenizer: TextTokenizer) -> None:
    ids = [5, 1, 6]
    assert "<|im_start|>" not in "".join(pieces_of(tokenizer, ids))
    kept = Detokeniser(tokenizer, skip_special=False)
    assert "<|im_start|>" in "".join([*map(kept.push, ids), kept.finish()])


def test_tokens_tell_their_bytes(tokenizer: TextTokenizer, starter: TextTokenizer) -> None:
    for text in ("好", " a\n", "é"):
        for each in (tokenizer, starter):
            ids = each.encode(text)
            assert b"".join(token_bytes(each, token) for token in ids) == text.encode()
    assert token_bytes(tokenizer, 1) == b"<|im_start|>"
    assert token_bytes(tokenizer, 263) == b""
