"""HTML that was left over in prose when somebody copied it from a page."""

from __future__ import annotations

import html
import re
from collections import Counter

Span = tuple[int, int]

_BLOCKS = (
    "div|span|p|br|hr|font|table|thead|tbody|tr|td|th|img|center|iframe|input|button|form|nav|"
    "section|a|script|style|noscript"
)
_INLINE = "b|i|u|s|em|strong|sup|sub|small|ul|ol|li|h[1-6]|code|pre|blockquote|mark|del"
_VALUE = r"""(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+)"""
_TAG = re.compile(
    rf"<(?P<end>/?)(?P<name>{_BLOCKS}|{_INLINE})(?:\s+[\w:-]+\s*=\s*{_VALUE})*\s*(?P<empty>/?)>"
)
_UPPER_TAG = re.compile(r"</?(?:DIV|SPAN|BR|HR|FONT|TABLE|TR|TD|TH|IMG|CENTER)\s*/?>")
_IS_BLOCK = re.compile(f"(?:{_BLOCKS})$")
_ENTITY = re.compile(
    r"&(?:nbsp|amp|lt|gt|quot|apos|hellip|[mn]dash|[lr][sd]quo|laquo|raquo|middot|bull|copy|reg|"
    r"trade|deg|times|ensp|emsp|#\d{2,6}|#[xX][0-9a-fA-F]{2,5});"
)
_BREAK = re.compile(r"<br\s*/?>|<BR\s*/?>")
_ELEMENT_LINE = re.compile(r"^<(?P<name>div|p|td|section|center)\b[^>\n]*>.*</(?P=name)>$", re.M)
_MAX_ESCAPES = 4
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
# A row that speaks about markup, or is some, shows tags on purpose.
_ON_PURPOSE = re.compile(
    r"html|xml|\bcss\b|javascript|jsx|\bvue\b|\bsvg\b|\bphp\b|\btags?\b|markup|<body|<head|"
    r"标签|网页|前端|标记语言",
    re.IGNORECASE,
)

# A superset, for RE2.
LIKELY = (
    r"</?(?:[bcdfhinprstux]|em|a|ol|li|ul|button|blockquote|mark|DIV|SPAN|BR|HR|FONT|T|IMG|CENTER)"
    r"[a-z1-6]*[\s/>]|&(?:[a-z]{2,6}|#[xX]?[0-9a-fA-F]{2,6});"
)


def find_markup(text: str) -> Span | None:
    """Where a leftover entity or tag lies; inline tags count only when one end is missing."""
    prose = without_code(text)
    found = _ENTITY.search(prose) or _UPPER_TAG.search(prose)
    span = found.span() if found else _find_tag(prose)
    if span is None or not _ON_PURPOSE.search(text):
        return span
    return _find_unclosed_line(prose)


def mend_markup(text: str) -> str | None:
    """Entities as the characters they stand for and <br> as a line break; other tags stay.

    What was escaped twice is mended twice: mending a mended text changes nothing.
    """
    mended = text
    for _ in range(_MAX_ESCAPES):
        again = _mended_once(mended)
        if again is None:
            break
        mended = again
    return mended if mended != text else None


def _mended_once(text: str) -> str | None:
    if find_markup(text) is None:
        return None
    pieces: list[str] = []
    end = 0
    for code in _CODE.finditer(text):
        pieces += [_mended(text[end : code.start()]), code[0]]
        end = code.end()
    mended = "".join([*pieces, _mended(text[end:])])
    return mended if mended != text else None


def without_code(text: str) -> str:
    """The text with code in backticks blanked out, all else at its place."""
    return _CODE.sub(lambda code: " " * len(code[0]), text) if "`" in text else text


def _find_tag(prose: str) -> Span | None:
    tags = list(_TAG.finditer(prose))
    for tag in tags:
        if _IS_BLOCK.match(tag["name"]):
            return tag.span()
    open_ends = Counter[str]()
    for tag in tags:
        open_ends[tag["name"]] += 0 if tag["empty"] else -1 if tag["end"] else 1
    # HTML closes list items by itself.
    unclosed = {name for name, count in open_ends.items() if count and name != "li"}
    suspects = (tag for tag in tags if tag["name"] in unclosed and not _in_formula(prose, tag))
    return next((tag.span() for tag in suspects), None)


def _find_unclosed_line(prose: str) -> Span | None:
    """A line that is one element with an inline tag open in it: nobody shows that on purpose."""
    for line in _ELEMENT_LINE.finditer(prose):
        tags = list(_TAG.finditer(line[0]))
        for name in ("b", "i", "u", "em", "strong", "span", "a"):
            ends = [bool(tag["end"]) for tag in tags if tag["name"] == name and not tag["empty"]]
            if ends and not any(ends):
                return line.span()
    return None


def _in_formula(prose: str, tag: re.Match[str]) -> bool:
    """True for the middle of a<b>c."""
    return len(tag["name"]) == 1 and prose[tag.start() - 1 : tag.start()].isalnum()


def _mended(prose: str) -> str:
    prose = _BREAK.sub("\n", prose)
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]).replace("\u00a0", " "), prose)
