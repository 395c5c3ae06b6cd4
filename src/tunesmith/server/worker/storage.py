"""Whether a worker can write where its runs lie, and in words why not.

A job that starts on a full disk only fails to; so none is claimed until there is room again, and
what an engine could not write any more pauses its job, as FAULTS 4 and 27 of the documents say.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tunesmith.runs.files import StorageFull, StorageRefused, format_bytes, storage_errors
from tunesmith.server.datadir import DataDir, prepare

log = logging.getLogger(__name__)
Trouble = StorageFull | StorageRefused
LOOK_SECONDS: Final = 1.0
LEAST_BYTES: Final = 16 << 20
_WAIT_SECONDS: Final = 2.0
_BLOCK: Final = bytes(64 << 10)  # a new file alone takes no room on some file systems


class Storage:
    """Looks at one directory, once a second at most; knows since when something is wrong."""

    def __init__(self, root: Path, least_bytes: int = LEAST_BYTES) -> None:
        """`least_bytes`: with less room than that the disk counts as full."""
        self._root, self._least = root, least_bytes
        self._since: datetime | None = None
        self._found: Trouble | None = None
        self._look_at = 0.0

    def trouble(self, *, now: bool = False) -> Trouble | None:
        """What keeps from writing, without the path, for users; `now`: look again at once."""
        if now or time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._look()
        return self._found

    def _look(self) -> None:
        before = self._found
        error = self._write() or self._room()
        if error is None:
            self._found = self._since = None
        else:
            self._since = self._since or datetime.now(UTC)
            self._found = self._told(error)
        if before is None and self._found is not None:
            log.warning(
                "%s: %s No job is claimed until then. %s", self._root, error, self._found.hint
            )
        elif before is not None and self._found is None:
            log.info("%s can be written again; jobs are claimed", self._root)

    def _write(self) -> Trouble | None:
        """A file tells more than permissions and numbers: of a mount, a quota, a broken disk."""
        path = self._root / f".probe-{secrets.token_hex(8)}"
        try:
            with storage_errors(self._root):
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                try:
                    if os.write(file, _BLOCK) < len(_BLOCK):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                finally:
                    os.close(file)
                    path.unlink()
        except (StorageFull, StorageRefused) as error:
            return error
        except OSError as error:
            return StorageRefused(f"{self._root} cannot be written: {error.strerror}.")
        return None

    def _room(self) -> Trouble | None:
        free = shutil.disk_usage(self._root).free
        if free >= self._least:
            return None
        return StorageFull(f"Disk full: {format_bytes(free)} left in {self._root}.")

    def _told(self, error: Trouble) -> Trouble:
        since = f"since {self._since:%Y-%m-%d %H:%M:%S} UTC"
        if isinstance(error, StorageFull):
            free = format_bytes(_free(self._root))
            return StorageFull(
                f"Disk full on the data directory ({free} left) {since}. What was saved before is "
                "intact.",
                hint="Free space: `tunesmith clean` says what may go. Work goes on by itself.",
            )
        return StorageRefused(
            f"Data directory is read-only {since}. What was saved before is intact.",
            hint="Make it writable for this user (remount the file system, or change its owner). "
            "Work goes on by itself.",
            code="data_directory_read_only",
        )


def _free(root: Path) -> int:
    try:
        return shutil.disk_usage(root).free
    except OSError:
        return 0


def await_storage(root: Path, stop: threading.Event) -> DataDir | None:
    """Lay out the directory of a worker that starts; None when it was stopped while it waited.

    A directory that was used before is waited for: ending would only have the worker started again
    and again. One that never was is a mistake of who started it, and raises.
    """
    is_told = False
    while True:
        try:
            place = prepare(root)
            with storage_errors(root):
                error = Storage(root).trouble()
            if error is None:
                return place
        except (StorageFull, StorageRefused) as found:
            if not DataDir(root).secret_path.is_file():
                raise
            error = found
        if not is_told:
            log.warning("%s The worker waits for %s.", error.message, root)
            is_told = True
        if stop.wait(_WAIT_SECONDS):
            return None
