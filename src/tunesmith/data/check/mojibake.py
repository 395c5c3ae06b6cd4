"""Texts that were decoded with the wrong encoding, and the way back where it is certain."""

from __future__ import annotations

import re
from collections import Counter

Span = tuple[int, int]

# Windows-1252 as programs use it: the five bytes that it leaves open stay what Latin-1 says.
_SPECIALS = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_BYTES = {special: special.encode("cp1252")[0] for special in _SPECIALS}
_CONT = rf"[\u0080-\u00bf{_SPECIALS}]"
# Marks that end a word in ordinary typography: "fiancé…”" is no mojibake.
_MARK = "[\u00a0«»´`°‘’“”…–—•›‹]"
_TYPICAL = (
    r"Â[\u00a0-\u00bf]"
    rf"|Ã(?!{_MARK}){_CONT}|Ã{_MARK}(?=\w)|(?<=[a-z])[ÄÅ](?!{_MARK}){_CONT}"
    rf"|â€{_CONT}|â\u0080{_CONT}"
    rf"|[à-ï](?!{_MARK}{_MARK}){_CONT}{_CONT}"
    rf"|ðŸ{_CONT}{_CONT}|ð\u009f{_CONT}{_CONT}"
    rf"|[Ä-ß]{_CONT}(?:[Ä-ß]{_CONT})+"
)
_RUN = re.compile(rf"(?:{_TYPICAL})+")
# In a text that is known to be garbled, these are too.
_RUN_IN_GARBLED = re.compile(rf"(?:{_TYPICAL}|Ã{_CONT}|[ÄÅ](?!{_MARK}){_CONT})+")
_CUT_OFF = re.compile("[Ã-ô]")
_LOST = re.compile("\ufffd|锟斤拷|(?:烫){3}|(?:屯){3}|â€(?!" + _CONT + ")")
# UTF-8 read as GBK turns the comma and the full stop of Chinese into these two rare characters.
_AS_GBK = re.compile("[锛銆]")


def _gbk_characters(firsts: range, seconds: range) -> list[str]:
    """The characters of GBK by ranges of their two bytes."""
    pairs = (bytes([first, second]) for first in firsts for second in seconds)
    return [char for pair in pairs if len(char := pair.decode("gbk", "ignore")) == 1]


# UTF-8 of Chinese read as GBK: of three characters the first has the two first bytes of a Chinese
# character, the second its last byte and the next one's first, the third the two that are left.
_FIRSTS, _INNER = range(0xE4, 0xEA), range(0x80, 0xC0)
_FIRST_OF_THREE, _SECOND, _THIRD = (
    f"[{''.join(_gbk_characters(*ranges))}]"
    for ranges in ((_FIRSTS, _INNER), (_INNER, _FIRSTS), (_INNER, _INNER))
)
_THREE_AS_GBK = re.compile(_FIRST_OF_THREE + _SECOND + _THIRD)
_CHINESE = re.compile("[\u3400-\u9fff\uff00-\uffef\u3000-\u303f]+")
# GBK of Chinese read as Latin-1: pairs of letters and marks that no Western language writes.
_AS_LATIN = re.compile("[\u00a1-\u00fe]{4,}")
# What garbled characters look like, certain or not.
_DOUBTFUL = re.compile(rf"[Â-ß]{_CONT}|[à-ï]{_CONT}{_CONT}")


def _usual_firsts() -> str:
    """The firsts of three that ten or more usual characters begin with.

    They are rare in a text that is not garbled, and few enough that RE2 reads them fast.
    """
    usual = (bytes([a, b]) for a in range(0xB0, 0xD8) for b in range(0xA1, 0xFF))
    begun = Counter(
        char.encode()[:2] for pair in usual if (char := pair.decode("gb2312", "ignore"))
    )
    firsts = (pair.decode("gbk", "ignore") for pair, count in begun.items() if count >= 10)
    return "".join(sorted(first for first in firsts if len(first) == 1))


# A superset, for RE2, but for a text of few garbled characters.
LIKELY = (
    r"Â[\x{80}-\x{bf}]|[ÃÄ-ï][\x{80}-\x{bf}€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
    r"|ð[Ÿ\x{9f}]|\x{fffd}|锟斤拷|烫烫烫|屯屯屯|[锛銆]|[\x{a1}-\x{fe}]{4}"
    f"|[{_usual_firsts()}]"
)


def find_mojibake(text: str) -> Span | None:
    """Where the first garbled characters lie."""
    for match in _RUN.finditer(text):
        if _decoded(match[0]) is not None:
            return match.span()
    lost = _LOST.search(text)
    return lost.span() if lost else _find_as_gbk(text) or _find_short(text) or _find_as_latin(text)


def _find_short(text: str) -> Span | None:
    """A few Chinese characters whose bytes in GBK say something usual in UTF-8."""
    if not _THREE_AS_GBK.search(text):
        return None
    for run in _CHINESE.finditer(text):
        if _THREE_AS_GBK.search(run[0]) and _says_more(run[0]):
            return run.span()
    return None


def _says_more(run: str) -> bool:
    meant = run.encode("gb18030").decode("utf-8", "ignore")
    usual = sum(_is_usual(char) for char in meant)
    return usual >= 2 and usual * 2 >= len(run) and usual > sum(map(_is_usual, run))


def _is_usual(char: str) -> bool:
    """True for the 3,755 usual characters of GB2312."""
    data = char.encode("gb2312", "ignore")
    return len(data) == 2 and 0xB0 <= data[0] <= 0xD7


def _find_as_latin(text: str) -> Span | None:
    for run in _AS_LATIN.finditer(text):
        meant = _from_latin(run[0])
        # Letters of one case alone may be somebody shouting.
        is_word = run[0].isalpha() and (run[0].isupper() or run[0].islower())
        is_varied = len(set(run[0])) >= 4  # unlike ¿¿¿¿
        has_mark = any(char < "À" for char in run[0])
        if meant and is_varied and not is_word and (has_mark or len(run[0]) >= 6):
            return run.span()
    return None


def _from_latin(run: str) -> str | None:
    """What it says in GBK; None unless that is usual Chinese."""
    try:
        meant = run.encode("latin-1").decode("gb2312")
    except UnicodeError:
        return None
    usual = sum(map(_is_usual, meant))
    return meant if usual >= 2 and usual * 5 >= len(meant) * 4 else None


def mend_mojibake(text: str) -> str | None:
    """The text as it was meant, or None where characters were lost or doubt remains."""
    for turn in range(3):  # some files went through the wrong encoding more than once
        if find_mojibake(text) is None or _LOST.search(text):
            return None
        if turn and _reads_as_latin(text):  # what is left of UTF-8 may read as Chinese by chance
            return None
        mended = _mended_once(text)
        if mended is None or mended == text:
            return None
        if not any(_decoded(match[0]) for match in _DOUBTFUL.finditer(mended)):
            return mended
        text = mended
    return None


def _mended_once(text: str) -> str | None:
    if _find_as_gbk(text) or _find_short(text):
        return _from_gbk(text)
    if _reads_as_latin(text):
        # Bytes that are UTF-8 as well as Chinese: nobody can tell which was meant.
        if any(_decoded(run[0]) for run in _AS_LATIN.finditer(text)):
            return None
        return _AS_LATIN.sub(lambda run: _from_latin(run[0]) or run[0], text)
    # A first byte without the others behind what can be restored: characters were cut off there.
    if any(_CUT_OFF.match(text, run.end()) for run in _RUN_IN_GARBLED.finditer(text)):
        return None
    return _RUN_IN_GARBLED.sub(_replacement, text)


def _reads_as_latin(text: str) -> bool:
    return bool(_find_as_latin(text)) and not _RUN.search(text)


def _find_as_gbk(text: str) -> Span | None:
    """One of the rare characters may be meant; two, or a line that reads as UTF-8, are not."""
    first = _AS_GBK.search(text)
    if first is None:
        return None
    start, end = text.rfind("\n", 0, first.start()) + 1, text.find("\n", first.end())
    line = text[start : end if end >= 0 else len(text)]
    garbled = _AS_GBK.search(text, first.end()) or _from_gbk(line) is not None
    return first.span() if garbled else None


def _replacement(match: re.Match[str]) -> str:
    return _decoded(match[0]) or match[0]


def _decoded(garbled: str) -> str | None:
    """What the characters say as UTF-8; None when they are no UTF-8 or nothing printable."""
    try:
        data = bytes(_BYTES.get(character) or ord(character) for character in garbled)
        decoded = data.decode()
    except (ValueError, UnicodeDecodeError):
        return None
    readable = all(character.isprintable() or character == "\u00a0" for character in decoded)
    return decoded if readable else None


def _from_gbk(text: str) -> str | None:
    try:
        return text.encode("gb18030").decode()
    except UnicodeError:
        return None
