"""Lists as tables that fit the terminal; whatever reads a pipe gets every cell whole."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from tunesmith.cli.terminal import columns, say, short_text

_GAP: Final = "  "
_NARROWEST: Final = 8
_TIME_DIGITS: Final = 10
LISTED: Final = 20


def say_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, wide: int) -> None:
    """Rows under their heads; column `wide` is shortened so that every line fits the terminal.

    Heads that begin with `>` stand at the right of their column, as numbers should.
    """
    lines = [[name.removeprefix(">") for name in head]]
    lines += ([short_text(cell, 400) for cell in row] for row in rows)
    if not any(line[-1] for line in lines):
        head, lines = head[:-1], [line[:-1] for line in lines]
    widths = [max(columns(line[n]) for line in lines) for n in range(len(head))]
    room = width() - sum(widths) - len(_GAP) * (len(head) - 1)
    if room < 0 and is_looked_at():
        widths[wide] = max(_NARROWEST, widths[wide] + room)
    for line in lines:
        cells = [
            _padded(short_text(cell, widths[n]), widths[n], right=head[n].startswith(">"))
            for n, cell in enumerate(line)
        ]
        say(_GAP.join(cells).rstrip())


def say_more(shown: int, *, more: bool) -> None:
    """That a list goes on."""
    if more:
        say(f"\nThese are the newest {shown}; --all shows all of them.")


def is_looked_at() -> bool:
    """True for a terminal, or where COLUMNS says how much fits: what is too long is shortened."""
    return sys.stdout.isatty() or bool(os.environ.get("COLUMNS"))


def width() -> int:
    """Columns to write in."""
    return max(60, shutil.get_terminal_size((80, 24)).columns) if sys.stdout.isatty() else 80


def short_id(whole: str, others: Iterable[str] = ()) -> str:
    """The shortest beginning that tells an id from others, without the kind before it."""
    rest = _rest(whole)
    length = _TIME_DIGITS
    for other in others:
        if other != whole:
            same = _common(rest, _rest(other))
            length = max(length, same + 1)
    return rest[:length]


def short_ids(ids: Sequence[str]) -> list[str]:
    """Each as short as it may be in their company, all of one length."""
    length = max((len(short_id(each, ids)) for each in ids), default=0)
    return [_rest(each)[:length] for each in ids]


def ago(moment: datetime | None) -> str:
    """How long something is past: `12s`, `5m`, `3h`, `8d`; a date where that is plainer."""
    if moment is None:
        return "-"
    seconds = (datetime.now(UTC) - _aware(moment)).total_seconds()
    if seconds >= 60 * 86400:
        return f"{moment:%Y-%m-%d}"
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{letter} ago"
    return "now" if seconds < 5 else f"{seconds:.0f}s ago"


def local(moment: datetime | None) -> str:
    """A time as the clock on the wall has it."""
    return "-" if moment is None else f"{_aware(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _rest(whole: str) -> str:
    """An id without the word that says its kind."""
    return whole.replace("_", "-").partition("-")[2] or whole


def _common(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _padded(text: str, width: int, *, right: bool) -> str:
    space = " " * max(0, width - columns(text))
    return space + text if right else text + space
