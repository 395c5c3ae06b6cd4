"""Files that are either complete or absent, and errors of storage in plain words."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tunesmith.errors import InputError, RunFailed

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # two letters at least: C:/ is a drive


def data_directory() -> Path:
    """Where tunesmith keeps its own files: TUNESMITH_DATA_DIR, or ~/.tunesmith."""
    return folder_path(os.environ.get("TUNESMITH_DATA_DIR") or "~/.tunesmith").expanduser()


def folder_path(written: Path | str) -> Path:
    """The path that somebody wrote: file:///data is /data, and no other address is a folder."""
    text = str(written)
    address = _ADDRESS.match(text)
    if address is None:
        return Path(text)
    if address[1].lower() != "file" or urlsplit(text).netloc not in ("", "localhost"):
        raise InputError(
            f"{text} is an address, not a folder of this machine.",
            hint="Write the path of a folder, such as /data/tunesmith.",
            code="not_a_folder",
        )
    return Path(unquote(urlsplit(text).path))


class StorageFull(RunFailed):
    """No space is left, or a quota is used up; what was saved before is intact."""

    code = "disk_full"


class StorageRefused(RunFailed):
    """The place where the run writes does not allow it."""

    code = "storage_refused"


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace `path`; a reader, or a crash, sees the old content or the new one, never a part."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.parent / f".{os.urandom(8).hex()}.tmp"
    with storage_errors(path):
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)


def fsync_file(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    fsync_file(path)


@contextmanager
def storage_errors(path: Path) -> Generator[None]:
    """Turn a full or read-only disk into an error that says where and what to do."""
    try:
        yield
    except Exception as error:
        explained = explain_storage_error(error, path)
        if explained is None:
            raise
        raise explained from error


def _error_number(error: Exception) -> int | None:
    """Of an OSError; libraries written in Rust, such as safetensors, have it in their text only."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


def explain_storage_error(error: Exception, path: Path) -> RunFailed | None:
    """The error of a full, read-only or forbidden place in plain words; None for any other."""
    number = _error_number(error)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(
            f"Disk full: {path} could not be written ({_free_bytes(path)} left). "
            "What was saved before is intact.",
            hint="Free space on that file system, then resume the run.",
            path=str(path),
        )
    if number == errno.EFBIG:
        return StorageFull(
            f"{path} could not be written: a file would become larger than the file system, or the "
            "limit of this process (ulimit -f), allows. What was saved before is intact.",
            hint="Raise the limit, or choose a place on another file system.",
            path=str(path),
        )
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StorageRefused(
            f"{path} cannot be written: {os.strerror(number)}.",
            hint="Make its folder writable for this user, or choose another one.",
            path=str(path),
        )
    return None


def _free_bytes(path: Path) -> str:
    folder = next((p for p in (path, *path.parents) if p.is_dir()), Path("/"))
    return format_bytes(shutil.disk_usage(folder).free)


def format_bytes(count: float) -> str:
    """1536 -> '1.5 KiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
