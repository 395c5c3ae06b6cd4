"""A backup of an installation that is consistent while everything runs.

    report = back_up(settings, Path("2026-11-21.tar.zst"))

The database is copied first, as of one moment; then the files. Files only ever appear complete, by
renaming, and are deleted late; so whatever the copied rows name is there to be copied. What was
deleted meanwhile is listed in the manifest, and a restore says so in the database. Files that grow
(events and logs of runs) are copied as they are at that moment: a torn last line is repaired by
whoever goes on with the run. At the end the backup is read again and every hash compared.

Not part of a backup: unfinished uploads, the cache, logs of the server, earlier backups.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import orjson

from tunesmith import __version__
from tunesmith.runs.files import storage_errors
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir, Holder, held
from tunesmith.server.errors import BackupRefused
from tunesmith.server.keeping.archive import (
    MANIFEST,
    OnBytes,
    Writer,
    check_target,
    damaged,
    entries,
    read_small,
    readable,
    writing,
)
from tunesmith.server.keeping.copies import copy_database, database_kind, file_to_be, told
from tunesmith.server.keeping.needed import living_jobs, needed_checkpoints
from tunesmith.server.migrations.revisions import revision_of
from tunesmith.server.settings import Settings

FORMAT: Final = 1
_FOLDERS: Final = ("datasets", "files", "models", "runs")
_FILES: Final = ("secret", "settings.yaml")
OnProgress = Callable[[str, int, int], None]  # what is done, bytes so far, bytes in all
LeftOut = Callable[[str], bool]  # whether a folder, by its name in the backup, is left out


@dataclass(frozen=True)
class StoredFile:
    """One file of a backup."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class BackupManifest:
    """What a backup holds. `missing` were deleted while it was made; `skipped` are odd links."""

    format: int
    tunesmith: str
    created: str
    database: str  # sqlite, postgresql
    revision: str
    checkpoints: bool
    data: bool  # False: the database alone
    files: list[StoredFile]
    missing: list[str] = field(default_factory=list[str])
    skipped: list[str] = field(default_factory=list[str])

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class LeftIn:
    """What a backup has beside the rest: checkpoints of finished jobs, secret and settings."""

    checkpoints: bool = True
    secret: bool = True


@dataclass(frozen=True)
class _Source:
    """A file to copy, and its name in the backup."""

    path: Path
    name: str
    bytes: int

    @property
    def grows(self) -> bool:
        """Whether its content may change: of a run, all but checkpoints and results."""
        parts = self.name.split("/")
        return parts[0] == "runs" and parts[2:3] not in (["checkpoints"], ["artifacts"])


def back_up(
    settings: Settings,
    target: Path,
    *,
    checkpoints: bool = True,
    secret: bool = True,
    on_progress: OnProgress = lambda *_: None,
) -> BackupManifest:
    """Write a backup and read it again; `checkpoints=False` leaves out those of finished jobs.

    `secret=False` leaves out the key and the settings file, to be kept elsewhere.
    BackupRefused when the target exists or would lie in what is copied; BackupFailed when what was
    written does not read back. Nothing is left behind then.
    """
    place = DataDir(settings.data_dir)
    target = target.expanduser().absolute()
    _refuse_inside(target, place)
    check_target(target)
    database = open_existing(settings)
    try:
        with alone(place), _beside(target) as folder:
            kept = LeftIn(checkpoints, secret)
            manifest = _write(database, place, target, folder, kept, on_progress)
    finally:
        database.close()
    return manifest


def back_up_database(database: Database, target: Path) -> BackupManifest:
    """A backup of the rows alone, beside whatever else is at work."""
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    check_target(target)
    with _beside(target) as folder:
        return _write(database, None, target, folder, LeftIn(), lambda *_: None)


@contextmanager
def alone(place: DataDir) -> Generator[None]:
    """One backup, restore or clean-up at a time, so that none removes what another copies."""
    with held(place.keeping_lock) as other:
        if other is not None:
            raise _busy(place, other)
        yield


def verify(source: Path, on_bytes: OnBytes = lambda _: None) -> BackupManifest:
    """Read a whole backup; BackupFailed names the first file that is not as it was written."""
    found: dict[str, StoredFile] = {}
    manifest: BackupManifest | None = None
    with readable(source):
        for name, size, _, file in entries(source):
            if name == MANIFEST:
                manifest = read_manifest(read_small(file, size, source), source)
            elif name in found:
                raise damaged(source, f"it holds {name} twice")
            else:
                found[name] = StoredFile(name, size, _digest(file, size))
                on_bytes(size)
    return compare(manifest, found, source)


def compare(
    manifest: BackupManifest | None, found: dict[str, StoredFile], source: Path
) -> BackupManifest:
    """The manifest when it describes exactly the files that were found."""
    if manifest is None:
        raise damaged(source, "it has no manifest, so it was never finished")
    wanted = {file.path: file for file in manifest.files}
    for path in sorted(wanted.keys() | found.keys()):
        if path not in found:
            raise damaged(source, f"{path} is missing")
        if wanted.get(path) != found[path]:
            raise damaged(source, f"{path} is not as it was written")
    return manifest


def read_manifest(content: bytes, source: Path) -> BackupManifest:
    try:
        document = cast("dict[str, Any]", orjson.loads(content))
        files = [StoredFile(**row) for row in document.pop("files")]
        manifest = BackupManifest(files=files, **document)
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise damaged(source, "its manifest cannot be read") from error
    if manifest.format > FORMAT:
        raise BackupRefused(
            f"{source} was written by tunesmith {manifest.tunesmith}, in a newer format.",
            hint="Restore it with that version or a newer one.",
        )
    return manifest


def open_existing(settings: Settings) -> Database:
    """The database of an installation, which must be there: opening would make an empty one."""
    file = file_to_be(settings.database)
    if file is not None and not file.is_file():
        raise BackupRefused(
            f"There is no database {file}, so there is nothing to back up or to clean.",
            hint="Name the data directory with --data-dir, or the database with --database.",
            code="no_database",
        )
    return Database(settings.database, timeout=settings.database_timeout)


def _write(
    database: Database,
    place: DataDir | None,
    target: Path,
    folder: Path,
    kept: LeftIn,
    on_progress: OnProgress,
) -> BackupManifest:
    with told():
        revision = revision_of(database)
    if revision is None:
        raise BackupRefused("The database is empty: there is nothing to back up.")
    on_progress("database", 0, 0)
    is_left_out = _nothing if kept.checkpoints else _checkpoints_to_leave_out(database)
    copy_database(database, folder / "database")
    skipped: list[str] = []
    sources = list(_below(folder / "database", "database", _nothing, skipped))
    files = _FILES if kept.secret else ()
    sources += _in_data_dir(place, files, is_left_out, skipped) if place else []
    total = sum(source.bytes for source in sources)
    copied, checked = (_Counting(word, total, on_progress) for word in ("copy", "verify"))
    with writing(target, copied, lambda draft: verify(draft, checked)) as writer:
        stored = [_add(writer, source, folder) for source in sources]
        manifest = BackupManifest(
            format=FORMAT,
            tunesmith=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            database=database_kind(database),
            revision=revision,
            checkpoints=kept.checkpoints,
            data=place is not None,
            files=[file for file in stored if file is not None],
            missing=[s.name for s, file in zip(sources, stored, strict=True) if file is None],
            skipped=skipped,
        )
        content = orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
        writer.add(MANIFEST, io.BytesIO(content), len(content), time.time())
    return manifest


class _Counting:
    """Adds up bytes and tells of them."""

    def __init__(self, word: str, total: int, on_progress: OnProgress) -> None:
        self._word, self._total, self._on_progress = word, total, on_progress
        self._done = 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._on_progress(self._word, self._done, self._total)


def _add(writer: Writer, source: _Source, folder: Path) -> StoredFile | None:
    """None for a file that was deleted since it was listed."""
    try:
        file = source.path.open("rb")
    except FileNotFoundError:
        return None
    with file, _steady(file, source, folder) as steady:
        state = os.fstat(steady.fileno())
        size = state.st_size
        digest = writer.add(source.name, steady, size, os.fstat(file.fileno()).st_mtime)
    return StoredFile(source.name, size, digest)


@contextmanager
def _steady(file: BinaryIO, source: _Source, folder: Path) -> Generator[BinaryIO]:
    """A file whose size does not change while it is read: a copy of one that may."""
    if not source.grows:
        yield file
        return
    with tempfile.TemporaryFile(dir=folder) as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.seek(0)
        yield cast("BinaryIO", copy)


def _in_data_dir(
    place: DataDir, files: Sequence[str], is_left_out: LeftOut, skipped: list[str]
) -> Generator[_Source]:
    for name in files:
        path = place.root / name
        if path.is_file():
            yield _Source(path, name, path.stat().st_size)
    for name in _FOLDERS:
        yield from _below(place.root / name, name, is_left_out, skipped)


def _below(root: Path, top: str, is_left_out: LeftOut, skipped: list[str]) -> Generator[_Source]:
    """The files of a folder by name; the folder itself may be a link to another disk."""
    for folder, folders, files in os.walk(root):
        at = Path(folder)
        inside = f"{top}/{at.relative_to(root).as_posix()}".removesuffix("/.")
        links = [name for name in folders if (at / name).is_symlink()]
        skipped += [f"{inside}/{name}" for name in links]
        # Drafts of what is being made are nothing yet.
        folders[:] = sorted(n for n in folders if n not in links and not _is_draft(n))
        if is_left_out(inside):
            folders.clear()
            continue
        for name in sorted(files):
            if _is_draft(name):
                continue
            source = _source(at / name, f"{inside}/{name}", root, skipped)
            if source is not None:
                yield source


def _source(path: Path, name: str, root: Path, skipped: list[str]) -> _Source | None:
    """A file to copy; a link is followed while it stays in the folder."""
    try:
        is_inside = path.resolve().is_relative_to(root.resolve())
        if not is_inside or not path.is_file():
            skipped.append(name)
            return None
        return _Source(path, name, path.stat().st_size)
    except FileNotFoundError:  # deleted a moment ago
        return None


def _is_draft(name: str) -> bool:
    return name.startswith(("draft-", ".draft-", ".deleted-")) or (
        name.startswith(".") and name.endswith(".tmp")
    )


def _nothing(_: str) -> bool:
    return False


def _checkpoints_to_leave_out(database: Database) -> LeftOut:
    """Checkpoints of finished jobs, but for those that a model or another job needs."""
    with database.read() as session:
        jobs = {job.id for job in living_jobs(session)}
        steps = {f"runs/{job}/checkpoints/step-{n:06d}" for job, n in needed_checkpoints(session)}

    def is_left_out(name: str) -> bool:
        parts = name.split("/")
        return (
            len(parts) == 4
            and parts[0] == "runs"
            and parts[2] == "checkpoints"
            and parts[1] not in jobs
            and name not in steps
        )

    return is_left_out


@contextmanager
def _beside(target: Path) -> Generator[Path]:
    """A folder for the copy of the database, on the disk that the backup goes to."""
    with storage_errors(target):
        folder = Path(tempfile.mkdtemp(prefix=".tunesmith-backup-", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _digest(file: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    while size > 0 and (block := file.read(min(size, 1 << 20))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


def _refuse_inside(target: Path, place: DataDir) -> None:
    for name in _FOLDERS:
        if target.resolve().is_relative_to((place.root / name).resolve()):
            raise BackupRefused(
                f"{target} lies in {place.root / name}, which is copied itself.",
                hint="Choose a place outside, best on another disk.",
            )


def _busy(place: DataDir, other: Holder) -> BackupRefused:
    return BackupRefused(
        f"A backup, restore or clean-up of {place.root} is at work: process {other.pid} "
        f"on {other.host} since {other.since}. Nothing was changed.",
        hint="Wait for its end.",
        code="keeping_busy",
    )
