"""Archives that users send: what is in them is read first, then its data files are unpacked.

    contents = look(path, "rows.zip")        limits are kept before anything is written
    paths = unpack(path, contents, folder)   under names of ours, links and other files left out

A zip lists its files at its end, so it is looked at while a request waits; a tar has to be read
to its end. Archives inside of archives are not opened.
"""

from __future__ import annotations

import gzip
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast

from tunesmith.data.readers import READERS
from tunesmith.data.readers.sources import ARCHIVES, file_type
from tunesmith.data.subject import MAX_BYTES
from tunesmith.errors import DataError
from tunesmith.server.errors import TooLarge
from tunesmith.server.filenames import component

ENDINGS: Final = (".zip", ".tar", ".tar.gz", ".tgz")
INFO: Final = "dataset_info.json"  # lists datasets, and holds no rows
_MOST_TEXT: Final = 4 << 20  # bytes of that list
_MOST_AT_ONCE: Final = 8 << 20  # bytes that one header may make the reader of tar hold
_MOST_DIRECTORY: Final = 4 << 20  # bytes of the list of a zip
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_DAMAGE: Final = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile,
                  NotImplementedError, RuntimeError, struct.error, OverflowError)  # fmt: skip
_PIECE: Final = 1 << 20  # bytes
OnBytes = Callable[[int, int], None]


@dataclass(frozen=True)
class Caps:
    """What an archive may come to; `ratio` counts from `ratio_from` unpacked bytes on."""

    bytes: int = MAX_BYTES
    entries: int = 10_000
    depth: int = 10
    ratio: int = 200
    ratio_from: int = 256 << 20


@dataclass(frozen=True)
class Member:
    """A data file in an archive: the name that it has there, as text, and its size."""

    name: str
    place: str  # the same as the archive spells it
    bytes: int


@dataclass(frozen=True)
class Contents:
    """The data files of an archive, and what else is in it and why it is left aside."""

    members: list[Member]
    aside: list[tuple[str, str]]
    info: Member | None  # a dataset_info.json

    @property
    def bytes(self) -> int:
        return sum(member.bytes for member in self.members)


def is_archive(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def is_quick(name: str) -> bool:
    """Whether a look at it takes no time, however large it is."""
    return name.lower().endswith(".zip")


def look(path: Path, name: str, caps: Caps | None = None) -> Contents:
    """What is in an archive. TooLarge above a limit, DataError where it cannot be taken."""
    tally = _Tally(name, path.stat().st_size, caps or Caps())
    with _readable(name), _opened(path, name) as entries:
        for entry in entries():
            tally.add(entry)
    if not tally.members and tally.info is None:
        raise DataError(
            f"{name} holds no data files{tally.told_aside()}.",
            hint=f"Known types: {', '.join(sorted(READERS))}.",
            code="archive_without_data",
            name=name,
        )
    return Contents(sorted(tally.members, key=lambda each: each.name), tally.aside, tally.info)


def unpack(
    path: Path,
    name: str,
    contents: Contents,
    folder: Path,
    on_bytes: OnBytes = lambda _done, _total: None,
) -> list[Path]:
    """The data files of an archive as files of a folder; `train/a.jsonl` becomes train_a.jsonl."""
    wanted = {member.place: member for member in contents.members}
    found: dict[str, Path] = {}
    done, total = 0, contents.bytes
    with _readable(name), _opened(path, name) as entries:
        for entry in entries():
            member = wanted.get(entry.place)
            if member is None or entry.kind != "file" or entry.place in found:
                continue
            target = _free(folder, component(member.name.replace("/", "_")), found)
            with entry.open() as source, target.open("xb") as file:
                counted = cast("IO[bytes]", _Counted(source, member.bytes, name))
                shutil.copyfileobj(counted, file, _PIECE)
            found[entry.place] = target
            done += member.bytes
            on_bytes(done, total)
    return [found[member.place] for member in contents.members if member.place in found]


def read_text(path: Path, name: str, member: Member) -> bytes:
    """A small file of an archive."""
    if member.bytes > _MOST_TEXT:
        raise TooLarge(
            f"{member.name} in {name} has {member.bytes:,} bytes; {_MOST_TEXT:,} are read.",
            code="archive_too_large",
            name=name,
            limit=_MOST_TEXT,
        )
    with _readable(name), _opened(path, name) as entries:
        for entry in entries():
            if entry.place == member.place and entry.kind == "file":
                with entry.open() as source:
                    return source.read(_MOST_TEXT)
    raise _damaged(name, "a file of its list is missing")


# ---------------------------------------------------------------- what is in it


@dataclass(frozen=True)
class _Entry:
    """One entry as the archive has it."""

    name: str
    place: str
    kind: str  # file, folder, link, other
    bytes: int
    open: Callable[[], Any]


class _Tally:
    """Sorts entries, and ends where an archive comes to more than it may."""

    def __init__(self, name: str, packed: int, caps: Caps) -> None:
        self._name, self._packed, self._caps = name, max(1, packed), caps
        self._entries = self._bytes = 0
        self.members: list[Member] = []
        self.aside: list[tuple[str, str]] = []
        self.info: Member | None = None

    def add(self, entry: _Entry) -> None:
        self._entries += 1
        if self._entries > self._caps.entries:
            limit = self._caps.entries
            raise self._too_large(f"Archive holds more than {limit:,} entries", limit)
        name = self._safe(entry.name)
        if entry.kind == "folder":
            return
        self._bytes += max(0, entry.bytes)
        self._refuse_bomb()
        member = Member(name, entry.place, entry.bytes)
        why = _why_aside(name, entry)
        if not why and PurePosixPath(name).name == INFO:
            self.info = min((each for each in (self.info, member) if each), key=_depth)
        elif not why:
            self.members.append(member)
        elif len(self.aside) < 100:
            self.aside.append((name, why))

    def told_aside(self) -> str:
        some = "; ".join(f"{name}: {why}" for name, why in self.aside[:5])
        return f" ({some})" if some else ""

    def _refuse_bomb(self) -> None:
        caps = self._caps
        if self._bytes > caps.bytes:
            raise self._too_large(f"Archive expands to more than {_size(caps.bytes)}", caps.bytes)
        if self._bytes > caps.ratio_from and self._bytes > caps.ratio * self._packed:
            most = max(caps.ratio_from, caps.ratio * self._packed)
            raise self._too_large(
                f"Archive expands to more than {_size(most)}, {caps.ratio} times its size", most
            )

    def _safe(self, name: str) -> str:
        """The name with slashes, where it stays below the archive's own folder."""
        plain = name.replace("\\", "/")
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        if plain.startswith("/") or _DRIVE.match(plain) or ".." in parts or "\0" in plain:
            raise DataError(
                f"{self._name} names a file outside of itself: {name[:100]!r}. Nothing was taken.",
                hint="Pack the files anew, with names relative to one folder.",
                code="archive_unsafe_name",
                name=self._name,
            )
        if len(parts) > self._caps.depth:
            limit = self._caps.depth
            raise self._too_large(f"Archive has folders more than {limit} deep", limit)
        return "/".join(parts) or "file"

    def _too_large(self, what: str, limit: int) -> TooLarge:
        return TooLarge(
            f"{what}; nothing of {self._name} was taken.",
            hint="Send the data files themselves, or several archives.",
            code="archive_too_large",
            name=self._name,
            limit=limit,
        )


def _why_aside(name: str, entry: _Entry) -> str:
    path = PurePosixPath(name)
    if entry.kind == "link":
        return "a link, which is not followed"
    if entry.kind != "file":
        return "no regular file"
    if name.startswith("__MACOSX/") or path.name.startswith("."):
        return "a hidden file"
    if is_archive(name) or path.suffix.lower() in ARCHIVES:
        return "an archive inside of the archive"
    return "" if file_type(Path(path.name)) in READERS else "no file of a known type"


def _depth(member: Member) -> int:
    return member.name.count("/")


def _size(amount: int) -> str:
    for unit, power in (("GB", 30), ("MB", 20), ("KB", 10)):
        if amount >= 1 << power:
            return f"{amount / (1 << power):g} {unit}"
    return f"{amount} bytes"


def _free(folder: Path, name: str, taken: dict[str, Path]) -> Path:
    """A path that no other file has, whatever the disk thinks of capitals."""
    known = {path.name.casefold() for path in taken.values()}
    number, free = 2, name
    while free.casefold() in known:
        number, free = number + 1, f"{number}-{name}"
    return folder / free


# ---------------------------------------------------------------- zip and tar


@contextmanager
def _opened(path: Path, name: str) -> Generator[Callable[[], Iterator[_Entry]]]:
    lower = name.lower()
    if lower.endswith(".zip"):
        _refuse_large_directory(path, name)
        with zipfile.ZipFile(path) as archive:
            yield lambda: _zip_entries(archive, name)
        return
    packed = lower.endswith((".gz", ".tgz"))
    with path.open("rb") as file:
        stream = gzip.GzipFile(fileobj=file, mode="rb") if packed else file
        plain = cast("IO[bytes]", _Sparing(stream, name))
        with tarfile.open(fileobj=plain, mode="r:") as archive:
            yield lambda: _tar_entries(archive)


def _zip_entries(archive: zipfile.ZipFile, name: str) -> Iterator[_Entry]:
    for info in archive.infolist():
        if info.flag_bits & 0x1:
            raise DataError(
                f"{name} is encrypted; nothing was taken.",
                hint="Pack the files without a password.",
                code="archive_encrypted",
                name=name,
            )
        mode = info.external_attr >> 16
        kind = "folder" if info.is_dir() else "file"
        if stat.S_ISLNK(mode):
            kind = "link"
        elif mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            kind = "other"

        def open_one(info: zipfile.ZipInfo = info) -> IO[bytes]:
            return archive.open(info)

        yield _Entry(_zip_name(info), info.filename, kind, info.file_size, open_one)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Programs on Chinese systems write names in GBK, and say nothing of it."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        raw = info.filename.encode("cp437")
    except UnicodeEncodeError:
        return info.filename
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename


def _tar_entries(archive: tarfile.TarFile) -> Iterator[_Entry]:
    while (info := archive.next()) is not None:
        kind = "file" if info.isreg() else "folder" if info.isdir() else "other"
        if info.issym() or info.islnk():
            kind = "link"

        def open_one(info: tarfile.TarInfo = info) -> IO[bytes]:
            file = archive.extractfile(info)
            assert file is not None, "a regular file"
            return file

        yield _Entry(info.name, info.name, kind, info.size if kind == "file" else 0, open_one)


def _refuse_large_directory(path: Path, name: str) -> None:
    """The list at the end of a zip is read as a whole, so its size is looked at before."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 65_557 - 20))
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) < at + 22:
            raise _damaged(name, "it is no zip, or was cut")
        listed = struct.unpack_from("<L", tail, at + 12)[0]
        locator = at - 20
        if listed == 0xFFFFFFFF and locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
            file.seek(struct.unpack_from("<Q", tail, locator + 8)[0])
            record = file.read(56)
            listed = struct.unpack_from("<Q", record, 40)[0] if len(record) == 56 else size
    if listed > _MOST_DIRECTORY:
        raise TooLarge(
            f"Archive holds too many entries: the list of {name} has {listed:,} bytes.",
            hint="Send the data files themselves, or several archives.",
            code="archive_too_large",
            name=name,
            limit=_MOST_DIRECTORY,
        )


class _Sparing:
    """A stream from which nobody reads much at once: a header of a tar may claim any size."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream, self._name = stream, name
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise _damaged(self._name, "one of its headers is too large")
        return self._stream.read(size)


class _Counted:
    """No more bytes than an entry announced."""

    def __init__(self, stream: Any, most: int, name: str) -> None:
        self._stream, self._left, self._name = stream, most, name

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _damaged(self._name, "an entry is longer than it says")
        return data


@contextmanager
def _readable(name: str) -> Generator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise _damaged(name, str(error)[:200] or type(error).__name__) from error


def _damaged(name: str, why: str) -> DataError:
    return DataError(
        f"{name} cannot be unpacked: {why}.",
        hint="The archive is damaged or was not copied to its end; pack it anew.",
        code="archive_damaged",
        name=name,
    )
