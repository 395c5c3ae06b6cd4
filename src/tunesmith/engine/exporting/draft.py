"""The folder of an export: written beside its place, moved there at once, or not there at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tunesmith.engine.exporting.errors import ExportFailed, ExportRefused
from tunesmith.runs import write_manifest
from tunesmith.runs.files import (
    StorageFull,
    StorageRefused,
    format_bytes,
    fsync_directory,
    storage_errors,
)

SPARE_BYTES = 16 << 20  # texts, headers, and what the file system needs itself
_DRAFT = re.compile(r"\.(.+)\.exporting-(\d+)")


def check_place(out: Path) -> None:
    """Refuse a place that is taken; a finished export is never overwritten."""
    nearest = next(path for path in (out, *out.parents) if path.exists() or path.is_symlink())
    if not nearest.is_dir() or out.is_symlink():
        raise ExportRefused(
            f"{nearest} is no folder.",
            hint="Choose another --out.",
            code="export_place_taken",
        )
    if out.is_dir() and any(out.iterdir()):
        raise ExportRefused(
            f"{out} is not empty.",
            hint="Choose another --out, or remove the folder first; nothing was changed.",
            code="export_place_taken",
        )


def check_room(out: Path, needed: int) -> None:
    """Refuse before anything is written when the disk has too little room."""
    folder = next(p for p in (out, *out.parents) if p.is_dir())
    free = shutil.disk_usage(folder).free
    wanted = needed + SPARE_BYTES
    if wanted > free:
        raise ExportRefused(
            f"The export needs {format_bytes(wanted)}; {format_bytes(free)} are free at {folder}.",
            hint="Free space there, or choose an --out on another disk.",
            code="not_enough_space",
            needed_bytes=wanted,
            free_bytes=free,
        )


@contextmanager
def drafted(out: Path) -> Generator[Path]:
    """A new folder beside `out`; what is still there when the block ends is removed."""
    draft = out.parent / f".{out.name}.exporting-{os.getpid()}"
    with _explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(out)
        draft.mkdir()
    try:
        with _explained(out):
            yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def publish(draft: Path, out: Path, **facts: Any) -> None:
    """Write the manifest and move the folder to its place: from here on the export exists."""
    write_manifest(draft, **facts)
    check_place(out)  # somebody else may have been faster
    draft.rename(out)
    fsync_directory(out.parent)


def folder_bytes(folder: Path) -> int:
    """What the files of a folder take."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@contextmanager
def _explained(out: Path) -> Generator[None]:
    try:
        with storage_errors(out):
            yield
    except (StorageFull, StorageRefused) as error:
        raise ExportFailed(
            f"{error.message.removesuffix(' What was saved before is intact.')} "
            "Nothing of the export was kept.",
            hint="Free space there, or choose another --out, and export again."
            if isinstance(error, StorageFull)
            else error.hint,
            code=error.code,
            path=str(out),
        ) from error


def _remove_abandoned(out: Path) -> None:
    """Drafts of exports to this place whose process was killed."""
    for folder in out.parent.glob(".*.exporting-*"):
        found = _DRAFT.fullmatch(folder.name)
        if found and found[1] == out.name and not psutil.pid_exists(int(found[2])):
            shutil.rmtree(folder, ignore_errors=True)
