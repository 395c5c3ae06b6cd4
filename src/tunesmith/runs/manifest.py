"""Manifests: a directory counts only when its manifest, written last, still describes it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tunesmith.errors import InputError
from tunesmith.runs.files import fsync_directory, fsync_file, storage_errors, write_atomically
from tunesmith.runs.rundir import RunDir

MANIFEST = "manifest.json"
_STEP_NAME = re.compile(r"step-(\d+)")
_HASH_THREADS = 4


class CheckpointBroken(InputError):
    """A directory does not match its manifest; it is used for nothing."""

    code = "checkpoint_broken"


@dataclass(frozen=True)
class ManifestFile:
    """One file: its path within the directory (forward slashes), its size in bytes, its hash."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a complete directory holds. `extra` is what its writer added, such as the step."""

    files: tuple[ManifestFile, ...]
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class CheckpointDir:
    """A checkpoint on the disk, not yet verified."""

    step: int
    path: Path


def write_manifest(directory: Path, **extra: Any) -> Manifest:
    """Sync every file, then write the manifest: from here on the directory counts."""
    with storage_errors(directory):
        paths = sorted(path for path in directory.rglob("*") if path.is_file() and _belongs(path))
        with ThreadPoolExecutor(_HASH_THREADS) as pool:
            files = tuple(pool.map(lambda path: _describe(path, directory), paths))
        for folder in {path.parent for path in paths}:
            fsync_directory(folder)
        content = {"files": [vars(file) for file in files], **extra}
        write_atomically(
            directory / MANIFEST, json.dumps(content, ensure_ascii=False, indent=2) + "\n"
        )
        fsync_directory(directory.parent)
    return Manifest(files, extra)


def verify_manifest(directory: Path) -> Manifest:
    """The manifest of a directory that matches it; CheckpointBroken names a file that does not."""
    manifest = read_manifest(directory)
    for file in manifest.files:  # sizes first: they are cheap and find most damage
        _check_size(directory, file)
    with ThreadPoolExecutor(_HASH_THREADS) as pool:
        for file, actual in zip(
            manifest.files,
            pool.map(lambda file: _sha256(directory / file.path), manifest.files),
            strict=True,
        ):
            if actual != file.sha256:
                raise _broken(directory, file, file.size, "its content has changed (SHA-256)")
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """What the manifest says, unchecked; CheckpointBroken when there is none that can be read."""
    try:
        content: dict[str, Any] = json.loads((directory / MANIFEST).read_bytes())
        files = tuple(ManifestFile(**file) for file in content.pop("files"))
    except FileNotFoundError:
        raise CheckpointBroken(
            f"{directory} is incomplete: {MANIFEST}, written last, is missing.", file=MANIFEST
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointBroken(
            f"{directory} is damaged: {MANIFEST} cannot be read ({error}).", file=MANIFEST
        ) from None
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts:
            raise CheckpointBroken(
                f"{directory} is damaged: {MANIFEST} names {file.path}.", file=MANIFEST
            )
    return Manifest(files, content)


def checkpoints(run: RunDir) -> list[CheckpointDir]:
    """All checkpoint directories, oldest first, broken ones included."""
    if not run.checkpoints_dir.is_dir():
        return []
    found = [
        CheckpointDir(int(match.group(1)), path)
        for path in run.checkpoints_dir.iterdir()
        if (match := _STEP_NAME.fullmatch(path.name)) and path.is_dir()
    ]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def latest_valid_checkpoint(
    run: RunDir, on_broken: Callable[[Path, str], None]
) -> CheckpointDir | None:
    """The newest checkpoint that verifies; `on_broken` hears of each newer one that does not."""
    for checkpoint in reversed(checkpoints(run)):
        try:
            verify_manifest(checkpoint.path)
        except CheckpointBroken as error:
            on_broken(checkpoint.path, error.message)
        else:
            return checkpoint
    return None


def _belongs(path: Path) -> bool:
    return path.name != MANIFEST and not path.name.endswith(".tmp")


def _describe(path: Path, directory: Path) -> ManifestFile:
    fsync_file(path)
    return ManifestFile(path.relative_to(directory).as_posix(), path.stat().st_size, _sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_size(directory: Path, file: ManifestFile) -> None:
    path = directory / file.path
    if not path.is_file():
        raise _broken(directory, file, 0, "it is missing")
    size = path.stat().st_size
    if size != file.size:
        raise _broken(directory, file, size, "its size is wrong")


def _broken(directory: Path, file: ManifestFile, actual_size: int, reason: str) -> CheckpointBroken:
    sizes = f"; expected {file.size} bytes, found {actual_size} bytes"
    return CheckpointBroken(
        f"{directory} is damaged: {file.path}: {reason}{sizes * (actual_size != file.size)}.",
        hint="The checkpoint before it is used instead; this one can be deleted.",
        file=file.path,
        expected_size=file.size,
        actual_size=actual_size,
    )
