"""Equality and overlap of two texts, in English and in Chinese."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Final

HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_KEPT: Final = frozenset("%#@&")  # punctuation to Unicode, yet 5% is not 5 and C# is not C
_HAN: Final = re.compile(f"[{HAN}]")
_TOKEN: Final = re.compile(f"[{HAN}]|[^\\s{HAN}]+")
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SPACE_BY_HAN: Final = re.compile(f"(?<=[{HAN}])\\s+|\\s+(?=[{HAN}])")


def exact_match(prediction: str, reference: str) -> float:
    """1 where the texts are equal but for white space around them."""
    return float(prediction.strip() == reference.strip())


def normalised_match(prediction: str, reference: str) -> float:
    """1 where the texts are equal once normalised."""
    return float(normalise(prediction) == normalise(reference))


def normalise(text: str) -> str:
    """Without case, width, punctuation and needless white space.

    >>> normalise("  The answer:  ３，000. ")
    'the answer 3000'
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    text = _THOUSANDS.sub("", text)
    text = "".join(_plain(text, place) for place in range(len(text)))
    return _SPACE_BY_HAN.sub("", " ".join(text.split()))


def _plain(text: str, place: int) -> str:
    character = text[place]
    if unicodedata.category(character)[0] != "P" or character in _KEPT:
        return character
    before, after = text[max(0, place - 1) : place], text[place + 1 : place + 2]
    if character in ".:/-" and after.isdigit():
        # 3.5, 9:30, 1/2, -5 and .5, but no full stop in front of a number.
        begins = not before.strip() and character in ".-"
        return character if before.isdigit() or begins or character == "-" else ""
    return ""


def tokens(text: str) -> list[str]:
    """Words of the normalised text; each Chinese character is one.

    >>> tokens("Call 客服, please")
    ['call', '客', '服', 'please']
    """
    return _TOKEN.findall(normalise(text))


def token_f1(prediction: str, reference: str) -> float:
    """Twice the tokens in common, divided by those of both."""
    given, wanted = Counter(tokens(prediction)), Counter(tokens(reference))
    total = given.total() + wanted.total()
    return 2 * (given & wanted).total() / total if total else 1.0


def contains_any(prediction: str, accepted: list[str]) -> float:
    """1 where one of the accepted answers stands in the prediction as words of its own."""
    text = normalise(prediction)
    return float(any(_stands_in(text, normalise(answer)) for answer in accepted))


def _stands_in(text: str, answer: str) -> bool:
    if not answer:
        return False
    # A Latin word or a number must not be the middle of another; Chinese has no such borders.
    before = r"(?<![a-z0-9])" if answer[0].isascii() else ""
    after = r"(?![a-z0-9])" if answer[-1].isascii() else ""
    return re.search(f"{before}{re.escape(answer)}{after}", text) is not None


def is_chinese(text: str) -> bool:
    """Whether Chinese characters say most of it: one of them counts as three letters."""
    han = len(_HAN.findall(text))
    letters = sum(character.isalpha() for character in text) - han
    return han > 0 and 3 * han >= letters
