"""What every command says to the terminal: results on standard output, talk on standard error."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from tunesmith.cli.language import heading

_CLOSING = "，。、；：！？”’）》】"
# Controls but tab and line feed; marks and overrides of direction.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_RED = "1;31"
_YELLOW = "1;33"


def say(text: str = "", *, to: TextIO | None = None) -> None:
    """One line of result for people."""
    stream = to or sys.stdout
    stream.write(text + "\n")
    stream.flush()


def say_json(document: Any) -> None:
    """The one JSON document of a command, on standard output."""
    say(json.dumps(document, ensure_ascii=False, indent=2, default=str))


def warn(text: str, hint: str = "") -> None:
    """A warning on standard error."""
    say(f"{paint(heading('Warning:'), _YELLOW)} {printable(text)}", to=sys.stderr)
    if hint:
        say(f"  {printable(hint)}", to=sys.stderr)


def complain(message: str, hint: str = "") -> None:
    """An error on one screen: what happened and where, then what to change."""
    say(f"{paint(heading('Error:'), _RED)} {printable(_one_screen(message))}", to=sys.stderr)
    if hint:
        say(f"\n{printable(_one_screen(hint))}", to=sys.stderr)


def paint(text: str, code: str) -> str:
    """The text in colour where standard error is a terminal that wants colour."""
    return f"\033[{code}m{text}\033[0m" if wants_colour(sys.stderr) else text


def wants_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours; NO_COLOR and TERM=dumb say no."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def command_line(*arguments: str | Path) -> str:
    """A command that can be pasted into a shell, whatever is in its paths."""
    return shlex.join(["tunesmith", *(str(argument) for argument in arguments)])


def short_path(path: Path) -> Path:
    """The path as people write it: relative where it lies below the current directory."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def table(rows: Sequence[tuple[str, str]], indent: int = 2) -> str:
    """Names and values in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{'':{indent}}{name:<{width}}  {value}" for name, value in rows)


def printable(text: str) -> str:
    """A text of others as it can be shown: what would move the cursor or turn the line around is
    written as \\xNN or \\uNNNN. Line breaks and tabs stay.
    """
    return _HARMFUL.sub(lambda found: ascii(found[0])[1:-1], text)


def fold(text: str, width: int, lines: int) -> list[str]:
    """A text as at most `lines` lines of `width` columns, without control characters.

    Lines break at spaces, or between Chinese characters, which take two columns each.
    """
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    folded = [""]
    for word in re.findall(r"[⺀-鿿＀-￯]|[^\s⺀-鿿＀-￯]+\s?|\s", plain):
        for piece in _pieces(word, width):
            full = columns((folded[-1] + piece).rstrip()) > width
            if full and piece not in _CLOSING:  # a line does not begin with one of those
                folded.append("")
            folded[-1] += piece
    folded = [line.strip() for line in folded]
    if len(folded) <= lines:
        return folded
    last = folded[lines - 1]
    while columns(last) > width - 3:
        last = last[:-1]
    return [*folded[: lines - 1], last.rstrip() + "..."]


def short_text(text: str, width: int) -> str:
    """The text on one line of at most `width` columns, without control characters."""
    return fold(text, width, 1)[0]


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pieces(word: str, width: int) -> list[str]:
    """A word that is longer than a line, such as an address, is cut."""
    return [word[i : i + width] for i in range(0, len(word), width)]


def use_utf8() -> None:
    """Make both streams UTF-8, so that Chinese text is intact under LC_ALL=C and in pipes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            utf8 = (stream.encoding or "").lower().replace("-", "") == "utf8"
            reconfigure(encoding=None if utf8 else "utf-8", errors="replace")


def _one_screen(text: str, lines: int = 40) -> str:
    parts = text.splitlines()
    if len(parts) <= lines:
        return text
    return "\n".join([*parts[: lines - 1], f"... and {len(parts) - lines + 1} more lines"])
