"""What encoding a text is in: the names a user may give, and a good guess when it is not UTF-8."""

from __future__ import annotations

import codecs
from pathlib import Path

from tunesmith.errors import DataError

UTF8 = "utf-8"
SAMPLE = 1 << 16  # bytes that a guess looks at
MARK_BAD = "tunesmith-bad-byte"  # how bytes that mean nothing are handled: see `decoder`
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# Python's codecs for things that are no encodings of text files.
_NOT_FOR_FILES = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}


def guess_encoding(sample: bytes) -> str:
    """The most likely encoding of bytes that are not UTF-8; they begin where a line begins."""
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if wide := wide_encoding(sample):
        return wide
    return "GB18030 (GBK)" if _is_chinese(sample) else "Latin-1 or Windows-1252"


def wide_encoding(sample: bytes) -> str | None:
    """UTF-16 without a byte order mark: the zeros stand at every second byte, and only there."""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if len(sample) < 4 or min(even, odd) or (even + odd) * 5 < len(sample):
        return None
    return "UTF-16LE" if odd else "UTF-16BE"


def codec_of(guess: str) -> str:
    """The codec for a guess: 'GB18030 (GBK)' is read as gb18030."""
    return "latin-1" if guess.startswith("Latin-1") else guess.split()[0].lower()


def codec_name(encoding: str, path: Path) -> str:
    """The usual name of an encoding that a user named; DataError when there is none."""
    try:
        name = codecs.lookup(encoding).name
        b"".decode(name)
    except (LookupError, ValueError, UnicodeError):
        name = ""
    if not name or name in _NOT_FOR_FILES:
        raise DataError(
            f"{path}: there is no text encoding named {encoding!r}.",
            hint="Known are for example utf-8, gb18030, big5, shift_jis, utf-16 and latin-1; "
            "'auto' guesses.",
            code="unknown_encoding",
        )
    return UTF8 if name == "utf-8-sig" else name


def decoder(encoding: str) -> codecs.IncrementalDecoder:
    """Decodes piece by piece, to be encoded as UTF-8 with MARK_BAD.

    Bytes that mean nothing become FF, which no UTF-8 holds: their line is found where it is parsed.
    """
    codecs.register_error(MARK_BAD, _mark_bad)
    return codecs.getincrementaldecoder(encoding)(MARK_BAD)


def _mark_bad(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeDecodeError | UnicodeEncodeError)
    return (b"\xff" if isinstance(error, UnicodeEncodeError) else "\udcff"), error.end


def not_decodable(
    path: Path, line: int, byte: int, sample: bytes = b"", encoding: str = UTF8
) -> DataError:
    """The problem of a line that is not in its encoding; `sample` holds the line, as it stands."""
    where = f"{path}, line {line}, byte {byte} of the line: not"
    place = {"file": str(path), "line": line, "byte": byte}
    if encoding != UTF8:
        return DataError(
            f"{where} {encoding}.",
            hint="Name another encoding, or mend or remove this line.",
            code="not_decodable",
            **place,
        )
    guess = guess_encoding(sample[:SAMPLE])
    return DataError(
        f"{where} UTF-8; it looks like {guess}.",
        hint="Save the file as UTF-8, for example: "
        f"iconv -f {guess.split()[0]} -t UTF-8 {path.name} > {path.stem}.utf8{path.suffix}",
        code="not_utf8",
        encoding=guess,
        **place,
    )


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
