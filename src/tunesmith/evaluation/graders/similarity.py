"""How alike two texts are, from 0 to 1. A word is a run of letters and digits, or a Han character.

cosine        angle between the counts of words (no embedding: none is at hand without a model)
fuzzy_match   characters in common: 2 x longest common subsequence / characters of both
bleu          precision of 1- to 4-grams, add-one smoothed above one, with the brevity penalty
gleu          the smaller of precision and recall of all 1- to 4-grams
meteor        words found, recall weighs nine times, less for scattered ones (exact words only)
rouge_N       F1 of N-grams              rouge_l   F1 of the longest common subsequence of words
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Final

MOST_CHARACTERS: Final = 100_000
_WORD: Final = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff]|[^\\W_]+", re.UNICODE
)
_ORDERS: Final = range(1, 5)


def words(text: str) -> list[str]:
    """'Die 2 Katzen' -> die, 2, katzen. Characters of scripts without spaces are words."""
    return _WORD.findall(_split_han(text.casefold()))


def _split_han(text: str) -> str:
    """A space around each Han or Kana character, so that the runs of others end there."""
    return re.sub("([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff])", r" \1 ", text)


def cosine(answer: str, reference: str) -> float:
    one, other = Counter(words(answer)), Counter(words(reference))
    dot = sum(count * other[word] for word, count in one.items())
    length = math.sqrt(_square(one) * _square(other))
    return dot / length if length else float(answer == reference)


def fuzzy_match(answer: str, reference: str) -> float:
    total = len(answer) + len(reference)
    return 2 * _common(answer, reference) / total if total else 1.0


def bleu(answer: str, reference: str) -> float:
    given, wanted = words(answer), words(reference)
    if not given or not wanted:
        return float(given == wanted)
    logs = 0.0
    for order in _ORDERS:
        hits, total = _hits(given, wanted, order), max(0, len(given) - order + 1)
        if order == 1 and not hits:
            return 0.0
        smooth = int(order > 1)
        logs += math.log((hits + smooth) / (total + smooth))
    brevity = min(0.0, 1 - len(wanted) / len(given))
    return math.exp(logs / len(_ORDERS) + brevity)


def gleu(answer: str, reference: str) -> float:
    given, wanted = words(answer), words(reference)
    hits = sum(_hits(given, wanted, order) for order in _ORDERS)
    longest = max(_ngrams_in_all(given), _ngrams_in_all(wanted))
    return hits / longest if longest else float(answer == reference)


def meteor(answer: str, reference: str) -> float:
    given, wanted = words(answer), words(reference)
    if not given or not wanted:
        return float(given == wanted)
    places = _aligned(given, wanted)
    if not places:
        return 0.0
    precision, recall = len(places) / len(given), len(places) / len(wanted)
    mean = 10 * precision * recall / (recall + 9 * precision)
    chunks = 1 + sum(later != (before[0] + 1, before[1] + 1) for before, later in pairwise(places))
    scattered = 0.0 if chunks == 1 else chunks / len(places)
    return mean * (1 - 0.5 * scattered**3)


def rouge_n(order: int) -> Callable[[str, str], float]:
    def rouge(answer: str, reference: str) -> float:
        given, wanted = words(answer), words(reference)
        counts = [max(0, len(each) - order + 1) for each in (given, wanted)]
        if not any(counts):
            return float(given == wanted)
        return _f1(_hits(given, wanted, order), *counts)

    return rouge


def rouge_l(answer: str, reference: str) -> float:
    given, wanted = words(answer), words(reference)
    return _f1(_common(given, wanted), len(given), len(wanted))


METRICS: Final[Mapping[str, Callable[[str, str], float]]] = {
    "cosine": cosine,
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    **{f"rouge_{order}": rouge_n(order) for order in range(1, 6)},
    "rouge_l": rouge_l,
}


def _square(counts: Counter[str]) -> int:
    return sum(count * count for count in counts.values())


def _hits(given: Sequence[str], wanted: Sequence[str], order: int) -> int:
    """N-grams in common, each as often as the rarer side has it."""
    return (_ngrams(given, order) & _ngrams(wanted, order)).total()


def _ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1))


def _ngrams_in_all(tokens: Sequence[str]) -> int:
    return sum(max(0, len(tokens) - order + 1) for order in _ORDERS)


def _f1(hits: int, given: int, wanted: int) -> float:
    """Of nothing and nothing it is 1, of nothing on one side 0."""
    return 2 * hits / (given + wanted) if given or wanted else 1.0


def _common(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, one bit a place of `one` (Hyyro 2004).

    A zero in `state` is a place that is matched: "abc" against "ac" leaves zeros at a and c.
    """
    places: dict[Hashable, int] = {}
    for index, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << index
    full = (1 << len(one)) - 1
    state = full
    for token in other:
        matched = state & places.get(token, 0)
        state = (state + matched | state - matched) & full
    return len(one) - state.bit_count()


def _aligned(given: Sequence[str], wanted: Sequence[str]) -> list[tuple[int, int]]:
    """Each word of the answer with a place of the reference, behind the last one where it can."""
    free: dict[str, list[int]] = {}
    for place, word in enumerate(wanted):
        free.setdefault(word, []).append(place)
    pairs: list[tuple[int, int]] = []
    last = -1
    for index, word in enumerate(given):
        choices = free.get(word)
        if choices:
            last = next((place for place in choices if place > last), choices[0])
            choices.remove(last)
            pairs.append((index, last))
    return pairs
