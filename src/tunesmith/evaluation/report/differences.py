"""Which words of an answer stand in the reference, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from tunesmith.evaluation.scores.texts import HAN

_PIECE: Final = re.compile(f"[{HAN}]|[^\\W_]+|\\s+|.", re.DOTALL)
_MOST_PIECES: Final = 600  # longer texts are shown without marks
_MOST_CHARACTERS: Final = 2000


@dataclass(frozen=True)
class Piece:
    """A part of a text; `same` where the reference has it too."""

    text: str
    same: bool


def marked(answer: str, reference: str) -> list[Piece]:
    """The answer in pieces; what it has in common with the reference is marked.

    >>> [piece.text for piece in marked("Call 555 now", "Please call 555") if piece.same]
    ['Call 555']
    """
    answer = _shortened(answer)
    mine, theirs = _PIECE.findall(answer), _PIECE.findall(_shortened(reference))
    if len(mine) > _MOST_PIECES or len(theirs) > _MOST_PIECES:
        return [Piece(answer, same=False)]
    folded = [[piece.casefold() for piece in pieces] for pieces in (mine, theirs)]
    matcher = SequenceMatcher(None, folded[0], folded[1], autojunk=False)
    pieces: list[Piece] = []
    end = 0
    for block in matcher.get_matching_blocks():
        if block.a > end:
            pieces.append(Piece("".join(mine[end : block.a]), same=False))
        if block.size:
            text = "".join(mine[block.a : block.a + block.size])
            pieces.append(Piece(text, same=bool(re.search(r"\w", text))))
        end = block.a + block.size
    return pieces


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} ..."
