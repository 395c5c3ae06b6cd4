"""Text files as text: UTF-8 with or without a byte order mark, and a good guess when it is not."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from tunesmith.errors import DataError

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_SAMPLE = 1 << 16


def open_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, without line ends; DataError where a line is not UTF-8."""
    check_readable(path)
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                yield number, raw.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise _not_utf8(path, number, error.start + 1) from error


def read_text(path: Path) -> str:
    """The whole file as text; DataError when it is not UTF-8."""
    check_readable(path)
    raw = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise _not_utf8(path, line, column) from error


def check_readable(path: Path) -> None:
    """DataError for a file that is missing, empty, or no file."""
    if not path.exists():
        raise DataError(
            f"There is no file {path}.", hint="Check the name; relative names start at the recipe."
        )
    if not path.is_file():
        raise DataError(f"{path} is not a file.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty.")


def guess_encoding(path: Path) -> str:
    """The most likely encoding of a file that is not UTF-8."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if sample.count(0) > len(sample) // 5:  # every second byte of Western text in UTF-16 is zero
        return "UTF-16"
    return "GB18030 (GBK)" if _is_chinese(sample) else "Latin-1 or Windows-1252"


def _is_chinese(sample: bytes) -> bool:
    """True when the bytes make sense as GB18030: most of what is not ASCII is usual characters."""
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(sample)
    except UnicodeDecodeError:
        return False
    other = [char for char in text if char > "\x7f"]
    # Accented letters followed by a plain one decode too, but as rare characters outside GB2312.
    usual = [char for char in other if len(char.encode("gb2312", "ignore")) == 2]
    return len(usual) * 2 >= len(other)


def _not_utf8(path: Path, line: int, byte: int) -> DataError:
    guess = guess_encoding(path)
    return DataError(
        f"{path}, line {line}, byte {byte} of the line: not UTF-8; it looks like {guess}.",
        hint="Save the file as UTF-8, for example: "
        f"iconv -f {guess.split()[0]} -t UTF-8 {path.name} > {path.stem}.utf8{path.suffix}",
        code="not_utf8",
        file=str(path),
        line=line,
        byte=byte,
        encoding=guess,
    )
