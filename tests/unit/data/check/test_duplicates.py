"""Exact and near duplicates, in English and in Chinese."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.check.duplicates import (
    BANDS,
    NearDuplicates,
    band_keys,
    exact_duplicates,
    leaking,
)

_SYLLABLES = ("ba", "ton", "ri", "mel", "ka", "su", "vor", "lin", "de", "pra", "go", "nes", "ty")


def _sentence(draws: random.Random, chinese: bool, num_words: int = 60) -> list[str]:
    if chinese:  # words of two characters from the common block
        return ["".join(chr(draws.randrange(0x4E00, 0x8000)) for _ in "ab") for _ in range(60)]
    return ["".join(draws.choices(_SYLLABLES, k=draws.randint(1, 3))) for _ in range(num_words)]


def _joined(words: list[str], chinese: bool) -> str:
    return "".join(words) if chinese else " ".join(words)


def _pairs(texts: list[str], folder: Path, block: int = 100) -> list[tuple[int, int]]:
    with NearDuplicates(folder) as near:
        for start in range(0, len(texts), block):
            near.add(band_keys(pa.array(texts[start : start + block], pa.large_string())))
        return list(near.groups())


@pytest.mark.parametrize("chinese", [False, True])
def test_one_changed_word_in_sixty_is_found_and_different_texts_are_not(
    chinese: bool, tmp_path: Path
) -> None:
    draws = random.Random(3)
    originals = [_sentence(draws, chinese) for _ in range(400)]
    changed = [list(words) for words in originals[:200]]
    for words in changed:
        words[draws.randrange(60)] = _sentence(draws, chinese)[0]
    texts = [_joined(words, chinese) for words in originals + changed]
    pairs = _pairs(texts, tmp_path)
    assert all(later == earlier + 400 for earlier, later in pairs)
    assert len(pairs) >= 196  # an estimate may miss one in fifty


@pytest.mark.parametrize("chinese", [False, True])
def test_texts_that_share_half_of_their_words_are_not_near(chinese: bool, tmp_path: Path) -> None:
    draws = random.Random(4)
    texts: list[str] = []
    for _ in range(100):
        words = _sentence(draws, chinese)
        texts += [_joined(words, chinese)]
        texts += [_joined(words[:30] + _sentence(draws, chinese)[:30], chinese)]
    assert _pairs(texts, tmp_path) == []


def test_the_estimate_is_close_to_the_true_similarity() -> None:
    draws = random.Random(5)
    errors: list[float] = []
    for num_changed in (1, 2, 4, 8, 16) * 20:
        words = _sentence(draws, chinese=False, num_words=100)
        other = list(words)
        for place in draws.sample(range(100), num_changed):
            other[place] = _sentence(draws, chinese=False)[0]
        one, two = " ".join(words), " ".join(other)
        keys = band_keys(pa.array([one, two]))
        estimate = float((keys[0].view(np.uint16) == keys[1].view(np.uint16)).mean())
        errors.append(estimate - _similarity(one, two))
    assert abs(np.mean(errors)) < 0.01
    assert np.std(errors) < 0.07


def _similarity(one: str, two: str) -> float:
    first, second = ({text[i : i + 8] for i in range(len(text) - 7)} for text in (one, two))
    return len(first & second) / len(first | second)


def test_case_and_white_space_make_no_difference(tmp_path: Path) -> None:
    text = "The quick brown fox jumps over the lazy dog, then it sleeps under an old tree."
    other = text.upper().replace(" ", " \n\t ")
    assert _pairs([text, "something else entirely, about boats and the sea", other], tmp_path) == [
        (0, 2)
    ]


def test_many_alike_are_each_paired_with_an_earlier_one_in_order(tmp_path: Path) -> None:
    draws = random.Random(6)
    text = " ".join(_sentence(draws, chinese=False))
    texts = [text.replace(" ", f" {number} ", 1) for number in range(300)]
    pairs = _pairs(texts, tmp_path, block=7)
    assert [later for _, later in pairs] == list(range(1, 300))
    assert all(earlier < later for earlier, later in pairs)


def test_texts_shorter_than_a_shingle_are_near_only_when_equal(tmp_path: Path) -> None:
    texts = ["yes", "no", "", "好的", "yes", "", "maybe", "yesyes"]
    assert _pairs(texts, tmp_path) == [(0, 4)]


def test_keys_do_not_depend_on_the_neighbours_of_a_row() -> None:
    texts = ["one short", "  led by blanks ", "x" * 40_000, "", "最后一行文字，内容很短。", "end "]
    together = band_keys(pa.array(texts))
    alone = np.concatenate([band_keys(pa.array([text])) for text in texts])
    assert together.shape == (6, BANDS)
    assert (together == alone).all()


def test_the_files_are_removed_in_the_end(tmp_path: Path) -> None:
    with NearDuplicates(tmp_path) as near:
        near.add(band_keys(pa.array(["a text of some length"])))
        assert any(tmp_path.iterdir())
    assert not any(tmp_path.iterdir())


def test_nothing_added_gives_no_groups(tmp_path: Path) -> None:
    with NearDuplicates(tmp_path) as near:
        assert list(near.groups()) == []
    assert band_keys(pa.array([], pa.string())).shape == (0, BANDS)


@given(st.lists(st.text(), max_size=6))
def test_any_text_has_keys_and_equal_texts_equal_ones(texts: list[str]) -> None:
    rows = [text.encode(errors="replace").decode() for text in texts] * 2
    keys = band_keys(pa.array(rows, pa.large_string()))
    assert (keys[: len(texts)] == keys[len(texts) :]).all()
    assert all(bool(key.any()) == bool(row) for key, row in zip(keys, rows, strict=True))


@given(st.lists(st.integers(0, 5), max_size=30))
def test_exact_duplicates_name_the_first_row_of_their_kind(values: list[int]) -> None:
    first, repeated = exact_duplicates(np.array(values, np.uint64))
    expected = [(values.index(v), i) for i, v in enumerate(values) if values.index(v) < i]
    assert list(zip(first.tolist(), repeated.tolist(), strict=True)) == expected


@given(st.lists(st.integers(0, 9), max_size=20), st.lists(st.integers(0, 9), max_size=20))
def test_leaking_rows_name_the_first_training_row(train: list[int], valid: list[int]) -> None:
    first, rows = leaking(np.array(train, np.uint64), np.array(valid, np.uint64))
    expected = [(train.index(v), i) for i, v in enumerate(valid) if v in train]
    assert list(zip(first.tolist(), rows.tolist(), strict=True)) == expected
