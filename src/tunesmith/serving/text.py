"""Tokens to text, piece by piece: whole characters only, and nothing behind a stop string.

An answer's text is always the pieces put together, streamed or not, so both are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.data.tokenizer import TextTokenizer

REPLACEMENT = "\ufffd"
# A character has four bytes at most, so at most so many tokens can wait for its rest.
MOST_PENDING = 8


class Detokeniser:
    """The text of a growing list of tokens."""

    def __init__(self, tokenizer: TextTokenizer, *, skip_special: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._ids: list[int] = []
        self._begin = self._told = 0

    def push(self, token: int) -> str:
        """The text that is certain now and was not before."""
        self._ids.append(token)
        return self._tell(final=False)

    def finish(self) -> str:
        """What is left, an incomplete character included."""
        return self._tell(final=True)

    def _tell(self, *, final: bool) -> str:
        # A token's text may depend on the one before it (spaces), so the text is decoded from a
        # token on that is told already.
        before = self._decode(self._ids[self._begin : self._told])
        text = self._decode(self._ids[self._begin :])
        waiting = len(self._ids) - self._told
        if text.endswith(REPLACEMENT) and not final and waiting < MOST_PENDING:
            return ""
        if len(text) <= len(before):
            return ""
        self._begin, self._told = self._told, len(self._ids)
        return text[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=self._skip_special) if ids else ""


class StopWatch:
    """Passes text on until a stop string; what may be the beginning of one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False
        self.behind = ""  # what came behind the stop string, in the piece that had it

    def push(self, text: str) -> str:
        """The text that is certainly in front of any stop string."""
        if not self._stops or self.stopped:
            return "" if self.stopped else text
        self._held += text
        found = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            at, stop = min(found, key=lambda pair: pair[0])
            self.stopped = True
            self.behind = self._held[at + len(stop) :]
            told, self._held = self._held[:at], ""
            return told
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        told = self._held[: len(self._held) - keep]
        self._held = self._held[len(told) :]
        return told

    def finish(self) -> str:
        """What was held back for nothing."""
        told, self._held = self._held, ""
        return told


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins."""
    most = min(len(text), len(stop) - 1)
    return next((size for size in range(most, 0, -1) if stop.startswith(text[-size:])), 0)


class AnswerText:
    """Detokeniser and stop strings of one answer."""

    def __init__(
        self, tokenizer: TextTokenizer, stops: Sequence[str] = (), *, skip_special: bool = True
    ) -> None:
        self._tokens = Detokeniser(tokenizer, skip_special=skip_special)
        self._watch = StopWatch(stops)

    @property
    def stopped(self) -> bool:
        """True once a stop string was met."""
        return self._watch.stopped

    def push(self, token: int) -> str:
        """The text that one more token makes certain."""
        return self._watch.push(self._tokens.push(token))

    def finish(self) -> str:
        """The rest of the text."""
        if self.stopped:
            return ""
        return self._watch.push(self._tokens.finish()) + self._watch.finish()
