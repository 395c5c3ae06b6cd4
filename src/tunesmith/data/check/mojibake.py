"""Texts that were decoded with the wrong encoding, and the way back where it is certain."""

from __future__ import annotations

import re

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
_LOST = re.compile("\ufffd|锟斤拷|(?:烫){3}|(?:屯){3}|â€(?!" + _CONT + ")")
# UTF-8 read as GBK turns the comma and the full stop of Chinese into these two rare characters.
_AS_GBK = re.compile("[锛銆]")
# What garbled characters look like, certain or not.
_DOUBTFUL = re.compile(rf"[Â-ß]{_CONT}|[à-ï]{_CONT}{_CONT}")

# A superset, for RE2.
LIKELY = (
    r"Â[\x{80}-\x{bf}]|[ÃÄ-ï][\x{80}-\x{bf}€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
    r"|ð[Ÿ\x{9f}]|\x{fffd}|锟斤拷|烫烫烫|屯屯屯|[锛銆]"
)


def find_mojibake(text: str) -> Span | None:
    """Where the first garbled characters lie."""
    for match in _RUN.finditer(text):
        if _decoded(match[0]) is not None:
            return match.span()
    lost = _LOST.search(text)
    return lost.span() if lost else _find_as_gbk(text)


def mend_mojibake(text: str) -> str | None:
    """The text as it was meant, or None where characters were lost or doubt remains."""
    for _ in range(3):  # some files went through the wrong encoding more than once
        if find_mojibake(text) is None or _LOST.search(text):
            return None
        as_gbk = _AS_GBK.search(text)
        mended = _from_gbk(text) if as_gbk else _RUN_IN_GARBLED.sub(_replacement, text)
        if mended is None:
            return None
        if not any(_decoded(match[0]) for match in _DOUBTFUL.finditer(mended)):
            return mended
        text = mended
    return None


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
