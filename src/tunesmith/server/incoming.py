"""A file while it arrives: its bytes go to a draft, which nobody sees before it is kept.

Never whole in memory; counted and hashed on the way; whatever ends it early leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tunesmith.runs.files import (
    StorageFull,
    StorageRefused,
    explain_storage_error,
    format_bytes,
    fsync_directory,
)
from tunesmith.server.errors import TooLarge

DRAFT: Final = ".draft-"
_STALE_SECONDS: Final = 24 * 3600


class Incoming:
    """A draft in a folder; `keep` gives it its name, `discard` removes it."""

    def __init__(self, folder: Path, *, most: int) -> None:
        """`most`: bytes that the file may have."""
        self.path = folder / f"{DRAFT}{secrets.token_hex(8)}"
        self.bytes = 0
        self._most = most
        self._sha256 = hashlib.sha256()
        with storing(folder):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._file = os.open(self.path, flags, 0o600)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def write(self, data: bytes) -> None:
        """Add bytes; TooLarge above the limit, StorageFull where the disk is."""
        if self.bytes + len(data) > self._most:
            raise too_large(self._most)
        with storing(self.path.parent):
            write_all(self._file, data)
        self._sha256.update(data)
        self.bytes += len(data)

    def sync(self) -> None:
        """Wait until the content is on the disk; `keep` is quick afterwards."""
        with storing(self.path.parent):
            os.fsync(self._file)

    def keep(self, path: Path) -> None:
        """Give the draft its name, once its content is on the disk."""
        self.sync()
        with storing(path.parent):
            self.path.rename(path)
            fsync_directory(path.parent)
        self._close()

    def discard(self) -> None:
        """Remove what came; nothing happens to a draft that was kept."""
        self._close()
        with suppress(FileNotFoundError):
            self.path.unlink()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def write_all(file: int, data: bytes) -> None:
    """A disk that fills up takes a part first and refuses the rest then."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


@contextmanager
def storing(folder: Path) -> Generator[None]:
    """A disk that is full or read-only, in words without paths: its readers are users."""
    try:
        yield
    except OSError as error:
        explained = explain_storage_error(error, folder)
        if isinstance(explained, StorageFull):
            raise disk_full(folder) from error
        if isinstance(explained, StorageRefused):
            raise StorageRefused(
                "The data directory of this installation cannot be written; nothing was kept.",
                hint="Tell an administrator; what was saved before is intact.",
            ) from error
        raise


def refuse_full_disk(folder: Path, wanted: int) -> None:
    """StorageFull where a file of so many bytes has no room."""
    if shutil.disk_usage(folder).free < wanted:
        raise disk_full(folder)


def disk_full(folder: Path) -> StorageFull:
    left = format_bytes(shutil.disk_usage(folder).free)
    return StorageFull(
        f"Disk full: {left} are left in the data directory. Nothing of this was kept; what was "
        "saved before is intact.",
        hint="Delete files, datasets or models that nobody needs, or tell an administrator.",
        left=left,
    )


def too_large(most: int) -> TooLarge:
    return TooLarge(
        f"The file is above the limit of {format_bytes(most)}; nothing was kept.",
        hint="512 MB may be sent at once; uploads in parts may be larger, up to the limit that an "
        "administrator has set (TUNESMITH_UPLOAD_MAX_BYTES). Split what is larger.",
        code="file_too_large",
        limit=most,
    )


def remove_stale_drafts(folder: Path) -> int:
    """Remove what a process left that was killed while it received a file."""
    oldest, removed = time.time() - _STALE_SECONDS, 0
    for draft in folder.glob(f"{DRAFT}*"):
        with suppress(FileNotFoundError):
            if draft.stat().st_mtime < oldest:
                draft.unlink()
                removed += 1
    return removed
