"""Which texts are alike: by runs of two and three characters, so that Chinese needs no words.

    "退款 how" -> 退款, 款·, ·h, ho, ow, and the runs of three; · is a space

A run of characters counts more the rarer it is in the indexed texts. Similarity is the cosine of
the weights: 1 for the same text, 0 for texts that share nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

BITS = 20  # runs are hashed to about a million numbers
MOST_CHARACTERS = 4000  # of a text: the rest of a long document is left aside
_FACTORS = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xC2B2AE3D27D4EB4F),
    np.uint64(0x165667B19E3779F9),
)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class NgramIndex:
    """Texts that can be asked for the nearest to another one. Memory: 8 bytes a run and text."""

    def __init__(self, texts: Iterable[str]) -> None:
        grams: list[Ints] = []
        counts: list[Floats] = []
        for text in texts:
            found, times = _grams(text)
            grams.append(found)
            counts.append(1 + np.log(times).astype(np.float32))
        self.size = len(grams)
        lengths = np.array([len(found) for found in grams], dtype=np.int64)
        rows = np.repeat(np.arange(self.size, dtype=np.int32), lengths)
        all_grams = np.concatenate([*grams, np.empty(0, np.int64)])
        weights = np.concatenate([*counts, np.empty(0, np.float32)])
        self._rarity = self._rarities(all_grams)
        weights *= self._rarity[all_grams]
        weights /= np.maximum(_norms(rows, weights, self.size), 1e-12)[rows]
        order = np.argsort(all_grams, kind="stable")
        self._rows, self._weights = rows[order], weights[order].astype(np.float32)
        self._starts = np.searchsorted(all_grams[order], np.arange((1 << BITS) + 1))

    def similarities(self, text: str) -> Floats:
        """The similarity of a text to each indexed one."""
        found, times = _grams(text)
        weights = (1 + np.log(times)) * self._rarity[found]
        total = float(np.sqrt((weights**2).sum()))
        scores = np.zeros(self.size, dtype=np.float32)
        for gram, weight in zip(found.tolist(), weights.tolist(), strict=True):
            part = slice(self._starts[gram], self._starts[gram + 1])
            # A run occurs once a text, so no row is added to twice here.
            scores[self._rows[part]] += self._weights[part] * np.float32(weight / max(total, 1e-12))
        return np.clip(scores, 0.0, 1.0)

    def _rarities(self, grams: Ints) -> Floats:
        """log(texts / texts with it) + 1, smoothed."""
        frequency = np.bincount(grams, minlength=1 << BITS)
        return (np.log((1 + self.size) / (1 + frequency)) + 1).astype(np.float32)


def _norms(rows: npt.NDArray[np.int32], weights: Floats, size: int) -> Floats:
    return np.sqrt(np.bincount(rows, weights.astype(np.float64) ** 2, minlength=size)).astype(
        np.float32
    )


def plain(text: str) -> str:
    """A text without what makes no difference: width of characters, case, and runs of space."""
    return " ".join(unicodedata.normalize("NFKC", text[:MOST_CHARACTERS]).lower().split())


def _grams(text: str) -> tuple[Ints, npt.NDArray[np.int64]]:
    """Hashes of the runs of a text, and how often each occurs."""
    letters = np.array([ord(c) for c in f" {plain(text)} "], dtype=np.uint64)
    hashed: list[npt.NDArray[np.uint64]] = []
    for width in (2, 3):
        if len(letters) < width:
            continue
        mixed = np.full(len(letters) - width + 1, width, dtype=np.uint64)
        for place in range(width):
            mixed = (mixed ^ letters[place : place + len(mixed)]) * _FACTORS[place]
            mixed ^= mixed >> np.uint64(29)
        hashed.append(mixed >> np.uint64(64 - BITS))
    if not hashed:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    found, times = np.unique(np.concatenate(hashed), return_counts=True)
    return found.astype(np.int64), times
