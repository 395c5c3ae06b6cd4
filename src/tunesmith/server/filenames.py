"""Names of files as users have them: text to show. What lies on the disk is named by our ids."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

_LONGEST: Final = 255  # characters to show
_LONGEST_COMPONENT: Final = 100  # bytes on a disk, with room for a number in front
_LONGEST_ENDING: Final = 20
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def display_name(text: str) -> str:
    """The name as text for people: no control characters, not endless, never empty."""
    text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no text
    text = _CONTROL.sub("\ufffd", text).strip() or "file"
    if len(text) <= _LONGEST:
        return text
    ending = _ending(text)
    return text[: _LONGEST - len(ending)] + ending


def component(name: str) -> str:
    """A display name as the name of a link in a folder of ours: letters, digits, `-_.` only.

    Readers know a file by its ending, and people know a row by the name of its file.
    """
    last = re.split(r"[/\\]", name)[-1]
    safe = re.sub(r"[^\w.-]+", "_", last).strip(".") or "file"
    ending = _ending(safe)
    stem = safe[: len(safe) - len(ending)].encode()[:_LONGEST_COMPONENT]
    return (stem.decode("utf-8", "ignore") or "file") + ending


def _ending(name: str) -> str:
    """`.jsonl.gz` of a name; nothing where it is too long to be one."""
    ending = "".join(PurePosixPath(name).suffixes[-2:])
    if len(ending) > _LONGEST_ENDING:
        ending = PurePosixPath(name).suffix
    return ending if len(ending.encode()) <= _LONGEST_ENDING else ""
