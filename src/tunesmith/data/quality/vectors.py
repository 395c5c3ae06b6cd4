"""Texts as hashed n-grams of characters, thousands of rows at once, in numpy alone.

A block is a sparse matrix in coordinate form: entry i says that row `rows[i]` has feature
`features[i]`. `weigh` counts equal entries and scales each row to length 1.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]
START, END = "\x02", "\x03"
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xC2B2AE3D27D4EB4F)
STEM = 6  # letters of a word that count: "translate" and "translation" are alike
# Classes of characters: what a text looks like, whatever it speaks of.
_OTHER, _SMALL, _CAPITAL, _DIGIT, _SPACE, _LINE, _STOP, _COMMA, _QUOTE, _BRACKET = range(10)
_HAN, _KANA, _START, _END, _UNSEEN, _LETTER = range(10, 16)


@dataclass(frozen=True)
class Characters:
    """The characters of some texts behind each other, each text between two marks."""

    codes: Codes
    rows: Ints  # of each character
    ends: Ints  # for each character, the place behind its text
    num_rows: int


@dataclass(frozen=True)
class Block:
    """Entries of a sparse matrix [num_rows, features]."""

    rows: Ints
    features: Ints
    num_rows: int
    values: npt.NDArray[np.float32] | None = None  # 1 where there are none


def characters(texts: Sequence[str]) -> Characters:
    """Texts in lower or upper case, as they are."""
    marked = [f"{START}{text}{END}" for text in texts]
    lengths = np.fromiter(map(len, marked), np.int64, len(marked))
    codes = np.frombuffer("".join(marked).encode("utf-32-le", "surrogatepass"), np.uint32)
    rows = np.repeat(np.arange(len(marked)), lengths)
    return Characters(codes, rows, np.cumsum(lengths)[rows], len(marked))


def ngrams(of: Characters, sizes: Sequence[int], bits: int, values: Codes | None = None) -> Block:
    """Hashed n-grams of some sizes; `values` stand in for the characters where they are given."""
    base = (of.codes if values is None else values).astype(np.uint64)
    rows: list[Ints] = []
    features: list[Ints] = []
    for size in sizes:
        hashed = np.full(len(base), size, np.uint64)
        for step in range(size):
            hashed = (hashed + np.roll(base, -step) + np.uint64(1)) * _SPREAD
            hashed ^= hashed >> np.uint64(29)
        whole = np.flatnonzero(np.arange(len(base)) + size <= of.ends)
        rows.append(of.rows[whole])
        features.append((hashed[whole] * _MIX >> np.uint64(64 - bits)).astype(np.int64))
    return Block(np.concatenate(rows), np.concatenate(features), of.num_rows)


def word_features(of: Characters, bits: int) -> Block:
    """Each word of each text once: its first letters, and each pair of Chinese characters."""
    classes = classes_of(of)
    in_word = np.isin(classes, (_SMALL, _CAPITAL, _LETTER))  # numbers say little
    starts = in_word & ~np.concatenate([[False], in_word[:-1]])
    number = np.cumsum(starts) - 1  # of the word that a character belongs to, or of the last one
    places = np.arange(len(classes))
    first = np.flatnonzero(starts)
    features: list[Ints] = []
    rows: list[Ints] = []
    if len(first):
        within = places - first[np.maximum(number, 0)]
        counted = np.flatnonzero(in_word & (within < STEM))
        step = within[counted].astype(np.uint64)
        codes = of.codes[counted].astype(np.uint64)
        hashed = ((codes + np.uint64(1)) * _SPREAD) ^ ((step + np.uint64(1)) * _MIX)
        hashed = (hashed ^ (hashed >> np.uint64(31))) * _SPREAD
        starts_at = np.flatnonzero(np.diff(number[counted], prepend=-1))
        whole = np.add.reduceat(hashed, starts_at) * _MIX
        features.append((whole >> np.uint64(64 - bits)).astype(np.int64))
        rows.append(of.rows[counted[starts_at]])
    wide = np.isin(classes, (_HAN, _KANA))
    pairs = np.flatnonzero(wide[:-1] & wide[1:])
    codes = of.codes.astype(np.uint64)
    both = (codes[pairs] * _SPREAD) ^ (codes[pairs + 1] * _MIX)
    both = (both ^ (both >> np.uint64(29))) * _SPREAD
    features.append((both >> np.uint64(64 - bits)).astype(np.int64))
    rows.append(of.rows[pairs])
    keys = np.unique((np.concatenate(rows) << bits) + np.concatenate(features))
    return Block(keys >> bits, keys & ((1 << bits) - 1), of.num_rows)


def classes_of(of: Characters) -> Codes:
    """The class of each character."""
    table = _class_table()
    return table[np.minimum(of.codes, len(table) - 1)].astype(np.uint32)


def weigh(block: Block, num_features: int) -> Block:
    """Each feature once a row, by the root of its count, rows scaled to length 1."""
    keys = block.rows * num_features + block.features
    unique, counts = np.unique(keys, return_counts=True)
    rows, features = np.divmod(unique, num_features)
    values = np.sqrt(counts.astype(np.float32))
    return scaled(Block(rows, features, block.num_rows, values))


def scaled(block: Block) -> Block:
    """Rows of length 1; a row without entries stays empty."""
    assert block.values is not None
    norms = np.sqrt(np.bincount(block.rows, block.values**2, block.num_rows))
    values = (block.values / np.maximum(norms, 1e-12)[block.rows]).astype(np.float32)
    return Block(block.rows, block.features, block.num_rows, values)


@lru_cache(1)
def _class_table() -> npt.NDArray[np.uint8]:
    """By code; characters beyond the table are Chinese or pictures, by their block."""
    table = np.full(0x20001, _OTHER, np.uint8)
    named = {
        _STOP: ".!?。！？…",
        _COMMA: ",，、;；:：",
        _QUOTE: "\"'“”‘’「」『』`",
        _BRACKET: "()[]{}<>（）【】《》",
    }
    kinds = {"Ll": _SMALL, "Lu": _CAPITAL, "Nd": _DIGIT, "Zs": _SPACE, "Cc": _UNSEEN}
    kinds |= {"Lo": _LETTER, "Lm": _LETTER, "Lt": _CAPITAL, "Cf": _UNSEEN, "Co": _UNSEEN}
    for code in range(0x3000):
        table[code] = kinds.get(unicodedata.category(chr(code)), _OTHER)
    for name, signs in named.items():
        table[[ord(sign) for sign in signs]] = name
    table[0x3040:0x3100] = _KANA
    table[0x3400:0xA000] = table[0xF900:0xFB00] = table[0x20000:] = _HAN
    table[0xAC00:0xD7B0] = _LETTER
    table[ord("\n")], table[0x3000] = _LINE, _SPACE
    table[ord(START)], table[ord(END)] = _START, _END
    table[0xFFFD] = table[0xE000:0xF900] = _UNSEEN
    return table
