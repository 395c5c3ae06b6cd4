"""Files as streams of UTF-8 bytes: plain, compressed, or in another encoding."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from tunesmith.data.encodings import (
    MARK_BAD,
    SAMPLE,
    UTF8,
    codec_name,
    codec_of,
    decoder,
    guess_encoding,
    not_decodable,
    wide_encoding,
)
from tunesmith.data.readers.blocks import BLOCK_BYTES, GIB, MAX_UNPACKED_BYTES
from tunesmith.errors import DataError

PACKED = (".gz", ".zst")
ARCHIVES = {".7z", ".bz2", ".rar", ".tar", ".tgz", ".xz", ".zip"}
# Deflate reaches 1,032 at most, and repeated rows come near it; zstd has no such end.
MAX_RATIO = 2000
_RATIO_FROM = 256 << 20  # bytes, below which no ratio matters
# Other encodings are not valid UTF-8 by chance for so many bytes: such a file is damaged UTF-8.
_ENOUGH_UTF8 = 32
_OTHER_CONTENT = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"PK\x03\x04", "zip or Office"),
    (b"PAR1", "Parquet"),
    (b"%PDF-", "PDF"),
)


class Stream(Protocol):
    """What is read from: bytes, fewer than asked for only at the end."""

    def read(self, size: int, /) -> bytes: ...


class Source:
    """The text of one file as UTF-8 without a byte order mark."""

    piece_bytes = BLOCK_BYTES  # how much is read at a time

    def __init__(self, path: Path, file: IO[bytes], stream: Stream, encoding: str) -> None:
        self.path = path
        self.encoding = encoding
        self.has_mark = False  # of UTF-8, at its beginning
        self._file = file
        self._stream = stream
        self._ahead = b""

    def read(self, at_least: int = 0) -> bytes:
        """The next bytes, a piece or more; none at the end, and fewer at any time."""
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        return self._stream.read(max(self.piece_bytes, at_least))

    def unread(self, data: bytes) -> None:
        """Put bytes back, to be read again."""
        self._ahead = data + self._ahead

    def position(self) -> int:
        """How many bytes of the file on disk have been read."""
        return self._file.tell()


@contextmanager
def open_source(path: Path, encoding: str | None) -> Generator[Source]:
    """Open a text file; DataError for what is no file, no text, or damaged."""
    check_readable(path)
    try:
        with path.open("rb") as file:
            stream = _unpacked(path, file)
            name = _encoding(path, encoding)
            source = Source(path, file, _utf8(path, stream, name), name)
            source.unread(_beginning(path, source))
            yield source
    except OSError as error:
        raise unreadable(path, error) from error


def check_readable(path: Path) -> None:
    """DataError for a file that is missing, empty, or no regular file."""
    try:
        if path.is_symlink() and not path.exists():
            raise DataError(
                f"{path} is a link to nothing or to itself.", hint="Name the file itself."
            )
        if not path.exists():
            raise DataError(
                f"There is no file {path}.",
                hint="Check the name. A relative one starts at the recipe, or on the command line "
                "at the current folder.",
            )
        if not path.is_file():
            raise DataError(f"{path} is not a file.")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty.")
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror or error}.", code="unreadable")


def file_type(path: Path) -> str:
    """The ending that says what a file is: '.jsonl' for a.jsonl and for a.jsonl.gz."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in PACKED else suffix


def _beginning(path: Path, source: Source) -> bytes:
    """The first bytes without their mark, after a look whether this is text at all."""
    head = source.read()
    source.has_mark = head.startswith(codecs.BOM_UTF8)
    head = head.removeprefix(codecs.BOM_UTF8)
    for magic, name in _OTHER_CONTENT:
        if head.startswith(magic):
            raise DataError(
                f"{path} is no text: it holds {name} data.",
                hint="Give the file the ending of what it holds, or unpack it first.",
                code="not_text",
            )
    is_wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if source.encoding == UTF8 and (is_wide or wide_encoding(head[:SAMPLE])):
        raise not_decodable(path, 1, 1, head)
    return head


def _encoding(path: Path, wanted: str | None) -> str:
    if wanted is None:
        return UTF8
    return _guessed(path) if wanted == "auto" else codec_name(wanted, path)


def _guessed(path: Path) -> str:
    """UTF-8 when the whole file is, else the guess at the first line that is not."""
    with path.open("rb") as file:
        stream = _unpacked(path, file)
        check = codecs.getincrementaldecoder(UTF8)()
        before, seen = b"", 0  # the last bytes, and how many were beyond ASCII
        while chunk := stream.read(BLOCK_BYTES):
            known = before + chunk
            if not before and wide_encoding(known[:SAMPLE]):
                return codec_of(guess_encoding(known[:SAMPLE]))
            try:
                check.decode(chunk)
            except UnicodeDecodeError as error:
                at = len(known) - len(error.object) + error.start
                if seen + _num_beyond_ascii(known[:at]) >= _ENOUGH_UTF8:
                    return UTF8
                start = known.rfind(b"\n", 0, at) + 1
                return codec_of(guess_encoding(known[start : start + SAMPLE]))
            before = known[-SAMPLE:]
            seen += _num_beyond_ascii(known[:-SAMPLE])
    return UTF8


def _num_beyond_ascii(data: bytes) -> int:
    return 0 if data.isascii() else len(data) - len(data.decode("ascii", "ignore"))


def _utf8(path: Path, stream: Stream, encoding: str) -> Stream:
    return stream if encoding == UTF8 else _Transcoded(path, stream, encoding)


class _Transcoded:
    """Another encoding as UTF-8; bytes that mean nothing become FF, which is found later."""

    def __init__(self, path: Path, stream: Stream, encoding: str) -> None:
        self._path = path
        self._encoding = encoding
        self._stream = stream
        self._decoder = decoder(encoding)
        self._is_first = True
        self._ended = False

    def read(self, size: int, /) -> bytes:
        while not self._ended:
            raw = self._stream.read(size)
            self._ended = not raw
            text = self._decoded(raw)
            if text and self._is_first:
                text = text.removeprefix("\ufeff")
                self._is_first = False
            if text:
                return text.encode(UTF8, MARK_BAD)
        return b""

    def _decoded(self, raw: bytes) -> str:
        try:
            return self._decoder.decode(raw, self._ended)
        except UnicodeError as error:  # beyond single bytes: UTF-16 that does not say which one
            raise DataError(
                f"{self._path} is not {self._encoding}: {error}.",
                hint="Without a byte order mark name utf-16-le or utf-16-be.",
                code="not_decodable",
            ) from error


def _unpacked(path: Path, file: IO[bytes]) -> Stream:
    suffix = path.suffix.lower()
    if suffix not in PACKED:
        return file
    if suffix == ".gz":
        return _Unpacked(path, file, gzip.GzipFile(fileobj=file, mode="rb"))
    import pyarrow as pa

    return _Unpacked(path, file, pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"))


class _Unpacked:
    """Compressed data as it was, up to a limit."""

    def __init__(self, path: Path, file: IO[bytes], stream: Any) -> None:
        self._path = path
        self._file = file
        self._stream = stream
        self._size = 0

    def read(self, size: int, /) -> bytes:
        try:
            data = bytes(self._stream.read(size))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{self._path} cannot be unpacked: {error}.",
                hint="The file is damaged or was not copied to its end.",
                code="damaged_archive",
            ) from error
        self._size += len(data)
        ratio = self._size / max(1, self._file.tell())
        if self._size > MAX_UNPACKED_BYTES or (self._size > _RATIO_FROM and ratio > MAX_RATIO):
            raise DataError(
                f"{self._path} unpacks to more than {self._size / GIB:,.1f} GiB, "
                f"{ratio:,.0f} times its size.",
                hint=f"The limits are {MAX_UNPACKED_BYTES // GIB} GiB and {MAX_RATIO:,} times.",
                code="expands_too_far",
                form="packed",
                size=self._size,
                gib=f"{self._size / GIB:,.1f}",
                ratio=f"{ratio:,.0f}",
                most_gib=MAX_UNPACKED_BYTES // GIB,
                most_ratio=f"{MAX_RATIO:,}",
            )
        return data
