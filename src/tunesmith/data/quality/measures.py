"""Countable facts about a question and its answer, meant to be fair to any language."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, fields
from itertools import pairwise
from operator import attrgetter

ENDS = ".!?。！？…"
_CLOSING = "\"'”’)）]】」』*_` \n"
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_ALNUM = re.compile(r"[^\W_]+")
_UPPER = re.compile("[A-Z]+")
_LOWER = re.compile("[a-z]+")
_SENTENCE = re.compile(r"[.!?。！？…]+\s*|\n+")
_ENDED = re.compile(r"[.!?][\"'”’)]*\s+(?=[A-Za-z])|[。！？]")
_ENDED_ODDLY = re.compile(r"[a-z]{4,}[.!?]\s+[a-z]")
_CAPITAL_INSIDE = re.compile(
    r"(?<=[a-z,] )(?:The|A|An|It|They|If|You|We|This|That|To|In|For|And)\b"
)
_WORD = re.compile(r"[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{4,}")
_HAN = re.compile("[\u3400-\u9fff]+")
_STEM = 5  # letters of a word that are compared: "plants" and "planting" are alike
# Pairs of characters that nearly every Chinese question has.
_COMMON_HAN_PAIRS = (
    "什么|怎么|怎样|如何|为什|哪些|哪个|多少|可以|一个|一种|是什|请问|我们|你们|他们|以下|下面"
    "|这个|那个|没有|应该|需要|给出|请给|以及|或者|并且|因为|所以|就是|还是"
)
_COMMON_ENGLISH = (
    "what|where|which|when|should|would|could|about|there|their|these|those|that|this|with|from"
    "|have|does|your|into|some|give|given|write|following|between|please|describe|explain"
    "|them|they|then|than|will|also|more|most|very|just|only|over|such|many|each|here|been|were|around"
)
_COMMON = frozenset(f"{_COMMON_HAN_PAIRS}|{_COMMON_ENGLISH}".split("|"))


@dataclass(frozen=True)
class Measures:
    """Shares lie between 0 and 1; widths count a Chinese character as two."""

    question_width: int
    answer_width: int
    letters: float  # letters and digits among the visible characters of the answer
    capitals: float  # among its Latin letters
    packed: float  # its size when compressed, by its size: low for texts that repeat themselves
    repeated: float  # of its sentences, those that stood there before
    ends_open: float  # 1 when it stops in mid-sentence
    marks: float  # sentence ends by 100 columns
    odd_ends: float  # of the sentence ends, those before a small letter
    odd_capitals: float  # capitals in mid-sentence by 100 columns
    shared: float  # of the words of the question, those in the answer; 0.5 where that says nothing

    def numbers(self) -> tuple[float, ...]:
        return _numbers(self)


_numbers = attrgetter(*(field.name for field in fields(Measures)))


def measure(question: str, answer: str) -> Measures:
    """Look at one row."""
    width = _width(answer)
    visible = sum(map(len, answer.split())) or 1
    capitals, small = _count(_UPPER, answer), _count(_LOWER, answer)
    ended = len(_ENDED.findall(answer))
    return Measures(
        question_width=_width(question),
        answer_width=width,
        letters=_count(_ALNUM, answer) / visible,
        capitals=capitals / max(1, capitals + small),
        packed=_packed(answer),
        repeated=_repeated(answer),
        ends_open=float(_ends_open(answer, ended)),
        marks=min(1.0, 100 * ended / max(100, width) / 10),
        odd_ends=len(_ENDED_ODDLY.findall(answer)) / max(3, ended),
        odd_capitals=min(1.0, 20 * len(_CAPITAL_INSIDE.findall(answer)) / max(100, width)),
        shared=_shared(question, answer),
    )


def _width(text: str) -> int:
    return len(text) + (0 if text.isascii() else _count(_WIDE, text))


def _count(pattern: re.Pattern[str], text: str) -> int:
    """Characters in runs that match."""
    return sum(map(len, pattern.findall(text)))


def _packed(text: str) -> float:
    """1 for short texts: they cannot repeat much."""
    data = text.encode(errors="replace")
    return min(1.0, len(zlib.compress(data, 1)) / len(data)) if len(data) >= 100 else 1.0


def _repeated(text: str) -> float:
    sentences = [part for part in _SENTENCE.split(text) if len(part) >= 6]
    return 1 - len(set(sentences)) / len(sentences) if len(sentences) > 1 else 0.0


def _ends_open(text: str, ended: int) -> bool:
    """Sentences before, none at the end; the last line of a list, of code or a table is an end."""
    text = text.rstrip()
    if text.count("```") % 2:
        return True
    line = text.rsplit("\n", 1)[-1].strip().rstrip(_CLOSING)
    if not line:
        return False
    if line[-1] in ",，、(（":
        return True
    if "\n" in text:  # such as a list, whose last item needs no full stop
        return False
    return ended > 0 and line[-1] not in ENDS + ";；:：~～" and line[-1].isalnum()


def _shared(question: str, answer: str) -> float:
    wanted = pieces_of(question)
    if len(wanted) < 2 or len(answer) < 20:
        return 0.5
    return len(wanted & pieces_of(answer)) / len(wanted)


def pieces_of(text: str) -> frozenset[str]:
    """The telling words cut to their first letters, and pairs of Chinese characters."""
    return frozenset([word[:_STEM] for word in telling_words(text)])


def telling_words(text: str) -> set[str]:
    """The words that carry meaning, and pairs of Chinese characters that do."""
    found = set(_WORD.findall(text.lower()))
    if not text.isascii():
        for run in _HAN.findall(text):
            found.update(map("".join, pairwise(run)))
    return found - _COMMON
