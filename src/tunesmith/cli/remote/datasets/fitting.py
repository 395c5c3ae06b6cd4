"""Screens of `tunesmith data`, which are wide, in the width of these commands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tunesmith.cli.remote.tables import width
from tunesmith.cli.terminal import columns, fold, say

_CELLS: Final = re.compile(r"\S\s{2,}\S")  # of a table, or a row with its number
_LINES: Final = 6
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;]*m")


def say_fitting(lines: Iterable[str]) -> None:
    """Each line as it is where it fits; cells are cut, sentences and commands go on below."""
    for line in "\n".join(lines).splitlines():
        for part in _parts(line, width()):
            say(part)


def _parts(line: str, most: int) -> list[str]:
    if columns(_ESCAPE.sub("", line)) <= most:
        return [line]
    plain = _ESCAPE.sub("", line)
    indent = plain[: len(plain) - len(plain.lstrip())]
    if _CELLS.search(plain) and "tunesmith " not in plain:
        return [_cut(plain, most)]
    room = most - len(indent) - 2
    first, *rest = fold(plain, room, _LINES)
    return [indent + first, *(f"{indent}  {each}" for each in rest)]


def _cut(text: str, most: int) -> str:
    """With the spaces that align its cells."""
    while columns(text) > most - 3:
        text = text[:-1]
    return f"{text}..."
