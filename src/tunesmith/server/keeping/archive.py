"""The files of a backup: a folder, or a tar file, plain or compressed by gzip or zstd.

    manifest.json       written last, so that half a backup has none: every file, size and SHA-256
    database/...        copies.py
    datasets/ files/ models/ runs/ secret settings.yaml

A reader takes nothing on trust: plain files with plain names only, and each hash is compared.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, Protocol, cast

from tunesmith.runs.files import fsync_directory, fsync_file, storage_errors
from tunesmith.server.errors import BackupFailed, BackupRefused

MANIFEST: Final = "manifest.json"
TOP_NAMES: Final = frozenset(
    {"database", "datasets", "files", "models", "runs", "secret", "settings.yaml", MANIFEST}
)
_BLOCK: Final = 1 << 20
_SUFFIXES: Final = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_MOST_MANIFEST_BYTES: Final = 1 << 30
OnBytes = Callable[[int], None]


class Writer(Protocol):
    """Where a backup goes."""

    def add(self, name: str, file: BinaryIO, size: int, modified: float) -> str:
        """Store exactly `size` bytes of a file; gives their SHA-256."""
        ...


class _Hashing(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO, on_bytes: OnBytes) -> None:
        self._file = file
        self._on_bytes = on_bytes
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        self._on_bytes(len(block))
        return block


class _TarWriter:
    def __init__(self, tar: tarfile.TarFile, on_bytes: OnBytes) -> None:
        self._tar, self._on_bytes = tar, on_bytes

    def add(self, name: str, file: BinaryIO, size: int, modified: float) -> str:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = size, modified, 0o600
        hashing = _Hashing(file, self._on_bytes)
        self._tar.addfile(entry, cast("BinaryIO", hashing))
        return hashing.digest.hexdigest()


class _FolderWriter:
    def __init__(self, root: Path, on_bytes: OnBytes) -> None:
        self._root, self._on_bytes = root, on_bytes

    def add(self, name: str, file: BinaryIO, size: int, modified: float) -> str:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = store(_Hashing(file, self._on_bytes), path, size)
        os.utime(path, (modified, modified))
        return digest


def check_target(target: Path) -> None:
    """BackupRefused where something would be overwritten, or the kind is not known."""
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists():
        raise BackupRefused(
            f"{target} exists already; nothing in it was changed.",
            hint="Choose another name, such as one with the date.",
            code="backup_exists",
        )
    is_folder = "." not in target.name
    if not is_folder and not target.name.endswith(_SUFFIXES):
        raise BackupRefused(
            f"The kind of backup cannot be told from the name {target.name}.",
            hint=f"End it in {', '.join(_SUFFIXES)}, or name a folder without a dot.",
            code="unknown_backup_kind",
        )
    if not target.parent.is_dir():
        raise BackupRefused(
            f"There is no folder {target.parent}.", hint="Make it, or choose another place."
        )


@contextmanager
def writing(target: Path, on_bytes: OnBytes, check: Callable[[Path], object]) -> Generator[Writer]:
    """Write a backup under another name; once `check` has read it, it becomes the target."""
    draft = target.with_name(f".{target.name}-{os.getpid()}.part")
    try:
        with storage_errors(target), ExitStack() as stack:
            if target.name.endswith(_SUFFIXES) and not target.is_dir():
                yield _TarWriter(stack.enter_context(_tar_to(draft, target.name)), on_bytes)
            else:
                draft.mkdir(mode=0o700)
                yield _FolderWriter(draft, on_bytes)
        with storage_errors(target):
            check(draft)
            _publish(draft, target)
    except BaseException:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        draft.unlink(missing_ok=True)
        raise


def _publish(draft: Path, target: Path) -> None:
    for path in draft.rglob("*") if draft.is_dir() else [draft]:
        fsync_file(path)
    if target.is_dir():
        target.rmdir()
    draft.rename(target)
    fsync_directory(target.parent)


@contextmanager
def _tar_to(draft: Path, name: str) -> Generator[tarfile.TarFile]:
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with ExitStack() as stack:
        raw = stack.enter_context(os.fdopen(handle, "wb"))
        stream = stack.enter_context(_compressing(raw, name))
        streamed = cast("Any", tarfile.open)  # its stubs do not know copybufsize
        yield stack.enter_context(
            streamed(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, copybufsize=_BLOCK)
        )


def _compressing(raw: BinaryIO, name: str) -> Any:
    if name.endswith(".zst"):
        import pyarrow as pa

        return pa.CompressedOutputStream(pa.PythonFile(raw, mode="w"), "zstd")
    if name.endswith("gz"):
        return gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0)
    return nullcontext(raw)


def entries(source: Path) -> Generator[tuple[str, int, float, BinaryIO]]:
    """Name, size, time and content of each file of a backup; each is read before the next."""
    yield from _folder_entries(source) if source.is_dir() else _tar_entries(source)


@contextmanager
def readable(source: Path) -> Generator[None]:
    """Around every reading of entries: what cannot be read is a damaged backup."""
    try:
        yield
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(source, str(error)) from error
    except OSError as error:
        if error.errno is not None:  # of a disk; broken compressed streams have no number
            raise
        raise damaged(source, str(error)) from error


def damaged(source: Path, reason: str) -> BackupFailed:
    return BackupFailed(
        f"{source} is damaged or no backup: {reason}. Nothing was restored.",
        hint="Use another backup.",
        code="backup_damaged",
    )


def _folder_entries(source: Path) -> Generator[tuple[str, int, float, BinaryIO]]:
    for path in sorted(source.rglob("*"), key=lambda path: (path.name == MANIFEST, str(path))):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise _refused_entry(str(path.relative_to(source)), "it is no plain file")
        if path.is_file():
            state = path.stat()
            with path.open("rb") as file:
                name = path.relative_to(source).as_posix()
                yield checked_name(name), state.st_size, state.st_mtime, file


def _tar_entries(source: Path) -> Generator[tuple[str, int, float, BinaryIO]]:
    with ExitStack() as stack:
        raw = stack.enter_context(source.open("rb"))
        stream = _decompressing(raw)
        tar = stack.enter_context(tarfile.open(fileobj=stream, mode="r|"))
        for entry in tar:
            if not entry.isreg():
                raise _refused_entry(entry.name, "it is no plain file")
            file = cast("BinaryIO", tar.extractfile(entry))
            yield checked_name(entry.name), entry.size, float(entry.mtime), file


def _decompressing(raw: BinaryIO) -> Any:
    """By the first bytes, whatever the file is called."""
    start = raw.read(4)
    raw.seek(0)
    if start == b"\x28\xb5\x2f\xfd":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
    return gzip.GzipFile(fileobj=raw) if start[:2] == b"\x1f\x8b" else raw


def checked_name(name: str) -> str:
    """A name that stays below the folder it is joined to."""
    parts = PurePosixPath(name).parts
    plain = "/".join(parts) == name and not name.startswith("/")
    odd = ".." in parts or re.search(r"[\x00\\]", name)
    if not plain or odd or parts[0] not in TOP_NAMES:
        raise _refused_entry(name, "its name is not one that a backup has")
    return name


def _refused_entry(name: str, reason: str) -> BackupFailed:
    return BackupFailed(
        f"The backup holds {name[:200]!r}, and {reason}. Nothing was restored.",
        hint="Use a backup that `tunesmith backup` wrote.",
        code="backup_damaged",
    )


def store(file: Any, path: Path, size: int) -> str:
    """Write a new file with exactly `size` bytes of another one; gives their SHA-256."""
    digest = hashlib.sha256()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as target:
        while size > 0 and (block := file.read(min(size, _BLOCK))):
            target.write(block)
            digest.update(block)
            size -= len(block)
    if size:
        raise OSError(f"{path.name} ended {size} bytes too early")
    return digest.hexdigest()


def read_small(file: BinaryIO, size: int, source: Path) -> bytes:
    """The manifest, which is small unless somebody made it otherwise."""
    if size > _MOST_MANIFEST_BYTES:
        raise damaged(source, "its manifest is too large")
    return file.read(size)
