"""What encoding a text is in: the names a user may give, and a good guess when it is not UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Callable
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
    for name, is_likely in _LIKELY.items():
        if is_likely(sample):
            return name
    return "Latin-1 or Windows-1252"


def wide_encoding(sample: bytes) -> str | None:
    """UTF-16 without a byte order mark: zeros are common, and stand at every second byte."""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    few, many = sorted((even, odd))  # the few are in characters such as U+9000
    if many < 2 or few * 8 > many or (many < 16 and many * 5 < len(sample)):
        return None
    return "UTF-16LE" if odd > even else "UTF-16BE"


def codec_of(guess: str) -> str:
    """The codec for a guess: 'GB18030 (GBK)' is read as gb18030."""
    return "latin-1" if guess.startswith("Latin-1") else guess.split()[0].lower()


def iconv_name(guess: str) -> str:
    """The name by which every iconv knows a guess: none knows Latin-1, and its superset is safe."""
    return "WINDOWS-1252" if guess.startswith("Latin-1") else guess.split()[0].upper()


def codec_name(encoding: str, path: Path) -> str:
    """The usual name of an encoding that a user named; DataError when there is none."""
    try:
        name = codecs.lookup(encoding).name
        "a".encode(name)  # refused for codecs that are no text encodings
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
        f"iconv -f {iconv_name(guess)} -t UTF-8 {path.name} > {path.stem}.utf8{path.suffix}",
        code="not_utf8",
        encoding=guess,
        **place,
    )


def _beyond_ascii(sample: bytes, encoding: str) -> list[str]:
    """The characters beyond ASCII; none when the bytes make no sense in this encoding."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return []
    return [char for char in text if char > "\x7f"]


def _is_chinese(sample: bytes) -> bool:
    """True when most of what is not ASCII is usual characters in GB18030."""
    other = _beyond_ascii(sample, "gb18030")
    # Accented letters followed by a plain one decode too, but as rare characters outside GB2312.
    usual = [char for char in other if len(char.encode("gb2312", "ignore")) == 2]
    return bool(other) and len(usual) * 2 >= len(other)


def _is_japanese(sample: bytes) -> bool:
    other = _beyond_ascii(sample, "shift_jis")
    kana = [char for char in other if "\u3040" <= char <= "\u30ff"]
    return len(kana) * 10 > len(other)


def _is_traditional_chinese(sample: bytes) -> bool:
    other = _beyond_ascii(sample, "big5")
    # The first bytes of the 5,401 usual characters and of punctuation.
    usual = [char for char in other if 0xA1 <= char.encode("big5")[0] <= 0xC6]
    return bool(other) and len(usual) * 10 >= len(other) * 9


def _is_cyrillic(sample: bytes) -> bool:
    other = _beyond_ascii(sample, "windows-1251")
    letters = [char for char in other if "\u0400" <= char <= "\u04ff"]
    num_plain = sum(bytes([byte]).isalpha() for byte in sample)
    return len(letters) * 10 >= len(other) * 9 and len(letters) > max(8, num_plain)


_LIKELY: dict[str, Callable[[bytes], bool]] = {
    "GB18030 (GBK)": _is_chinese,
    "Shift_JIS": _is_japanese,
    "Big5": _is_traditional_chinese,
    "Windows-1251": _is_cyrillic,
}
