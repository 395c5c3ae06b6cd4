"""Which tokens of a vocabulary may come next, found without a look at each of them.

A model that does not want to write a call has to be held to it at nearly every token, and to try
all of 150,000 tokens one by one would keep everybody else in the batch waiting for seconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.serving.forced import Expected
from tunesmith.serving.tokens import text_bytes

Ints = npt.NDArray[np.int64]
_ENDING = frozenset(b'"\\') | frozenset(range(0x20))  # what may end or break a JSON text


class Vocabulary:
    """The tokens that stand for text, in the order of their bytes: equal beginnings together.

    `texts`: the bytes of each token, none of those with a meaning of their own.
    """

    def __init__(self, texts: Iterable[bytes]) -> None:
        pairs = sorted((text, token) for token, text in enumerate(texts) if text)
        self._texts = [text for text, _ in pairs]
        self._ids = np.array([token for _, token in pairs], np.int64)
        ends = [not _ENDING.isdisjoint(text) for text in self._texts]
        self._ending = np.flatnonzero(ends)
        self._going_on = np.flatnonzero(np.logical_not(ends))

    def allowed(self, expected: Expected) -> Ints:
        """The ids of all tokens that may come."""
        if expected.in_text:  # nearly all: of those that end nothing none needs a look
            ends = [at for at in self._ending if expected.after(self._texts[at])]
            return self._ids[np.concatenate([self._going_on, np.array(ends, np.int64)])]
        return self._ids[np.array(self._found(expected), np.int64)]

    def _found(self, expected: Expected) -> list[int]:
        """Places of the tokens that may come; all with a beginning that may not are left out."""
        texts = self._texts
        found: list[int] = []
        open_ranges = [(expected, 0, len(texts), 0)]
        while open_ranges:
            state, low, high, depth = open_ranges.pop()
            if state.done:  # what is behind the end is left
                found += range(low, high)
                continue
            while low < high and len(texts[low]) == depth:
                found.append(low)
                low += 1
            while low < high:
                byte = texts[low][depth]
                end = bisect_right(texts, byte, low, high, key=lambda text: text[depth])
                following = state.after(bytes((byte,)))
                if following is not None:
                    open_ranges.append((following, low, end, depth + 1))
                low = end
        return found


def vocabulary_of(tokenizer: TextTokenizer) -> Vocabulary:
    """The vocabulary of a tokenizer; sorting a large one takes about a second, once."""
    return _made(_Key(tokenizer.fingerprint, tokenizer.special_tokens, tokenizer))


@dataclass(frozen=True)
class _Key:
    """What a vocabulary depends on: adapters with tokenizers alike share one."""

    fingerprint: str
    special: frozenset[str]
    tokenizer: TextTokenizer = field(compare=False)


@lru_cache(maxsize=4)
def _made(key: _Key) -> Vocabulary:
    size = key.tokenizer.vocab_size
    return Vocabulary(text_bytes(key.tokenizer, token) for token in range(size))
