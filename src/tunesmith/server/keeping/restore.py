"""A backup becomes an installation again: in an empty data directory and an empty database.

    report = restore(Path("2026-11-21.tar.zst"), Settings.load(data_dir=Path("/data/new")))

Everything is unpacked beside its place and every hash compared before anything is moved. Then the
database is filled, brought to the revision of this version, and told of files that were deleted
while the backup was made. A backup of SQLite may go into PostgreSQL.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tunesmith.runs.files import storage_errors
from tunesmith.server import clock
from tunesmith.server.database import Database, metrics_file
from tunesmith.server.datadir import FOLDERS, DataDir, prepare
from tunesmith.server.errors import BackupRefused
from tunesmith.server.keeping.archive import MANIFEST, damaged, entries, read_small, readable, store
from tunesmith.server.keeping.backup import (
    BackupManifest,
    OnProgress,
    StoredFile,
    alone,
    compare,
    read_manifest,
)
from tunesmith.server.keeping.copies import (
    MAIN_NAME,
    METRICS_NAME,
    fill_postgres,
    has_no_tables,
    is_empty,
    move_rows,
    sqlite_file,
)
from tunesmith.server.keeping.moving import clear, move_all, take_back
from tunesmith.server.migrations.revisions import refuse_unknown
from tunesmith.server.migrations.upgrade import upgrade
from tunesmith.server.settings import FILE_NAME, Settings
from tunesmith.server.tables import (
    Checkpoint,
    Dataset,
    DatasetVersion,
    File,
    Model,
    Upload,
)

OLD_SETTINGS: Final = "settings.restored.yaml"
_UNPACKED: Final = ".restoring-"
_LOCKS: Final = {"serve.lock", "keeping.lock"}


@dataclass(frozen=True)
class Restored:
    """What came back. `missing` are files that rows name and that the backup does not have."""

    manifest: BackupManifest
    data_dir: Path
    missing: list[str]
    has_old_settings: bool


def restore(
    source: Path,
    settings: Settings,
    *,
    database_only: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Restored:
    """Bring a backup back; BackupRefused where anything would be overwritten.

    `database_only` fills an empty database and leaves the data directory as it is.
    Whatever goes wrong, all is as it was before. Only a try that is killed leaves a folder
    `.restoring-...`; the next one takes back what that moved.
    """
    source = source.expanduser().absolute()
    if not source.exists():
        raise BackupRefused(f"There is no backup {source}.", hint="Check the path.")
    place = DataDir(settings.data_dir)
    if not database_only and not _left(place):
        _refuse_used(place.root)
    with _directory(place):
        target = Database(settings.database, timeout=settings.database_timeout)
        with closing(target), alone(place), _or_nothing(place, target):
            _take_back_left(place)
            if not database_only:
                _refuse_used(place.root)
            _refuse_filled(target)
            with _unpacking(place) as folder:
                manifest = _unpack(source, folder, on_progress)
                if not manifest.data and not database_only:
                    raise BackupRefused(
                        f"{source} holds a database alone. Nothing was changed.",
                        hint="Bring it back beside its data directory, with --database-only.",
                    )
                on_progress("database", 0, 0)
                data = place if database_only else DataDir(folder)
                missing = _fill(manifest, folder, target, data)
                _move(folder, place, target, database_only)
            prepare(place.root)
    return Restored(manifest, place.root, missing, (place.root / OLD_SETTINGS).exists())


@contextmanager
def _directory(place: DataDir) -> Generator[None]:
    """Make the directory; where the restore fails, a new one goes again."""
    is_new = not place.root.exists()
    with storage_errors(place.root):
        place.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # somebody else has put something there
            if is_new:
                place.root.rmdir()
        raise


@contextmanager
def _or_nothing(place: DataDir, target: Database) -> Generator[None]:
    """Where the restore fails, tables that it made go again, and its lock while we hold it."""
    makes_tables = not target.is_sqlite and has_no_tables(target)
    try:
        yield
    except BaseException:
        if makes_tables:
            clear(target)
        if not place.secret_path.exists():  # no installation, so nobody else keeps anything here
            place.keeping_lock.unlink(missing_ok=True)
        raise


def _left(place: DataDir) -> list[Path]:
    """What tries that were killed have left."""
    return list(place.root.glob(f"{_UNPACKED}*"))


def _take_back_left(place: DataDir) -> None:
    for folder in _left(place):
        take_back(folder)
        shutil.rmtree(folder)


def _refuse_used(root: Path) -> None:
    """Only what an empty start leaves may be there, and what an earlier try left."""
    found = list(root.iterdir()) if root.is_dir() else []
    used = [
        path.name
        for path in found
        if path.name not in _LOCKS
        and path.name != FILE_NAME
        and not path.name.startswith(_UNPACKED)
        and not (path.name in FOLDERS and path.is_dir() and not any(path.iterdir()))
    ]
    if used or (root.exists() and not root.is_dir()):
        what = f": {', '.join(sorted(used)[:5])}" if used else ""
        raise BackupRefused(
            f"{root} is not empty{what}. Nothing was changed.",
            hint="Restore into a new directory with --data-dir.",
            code="data_directory_not_empty",
        )


@contextmanager
def _unpacking(place: DataDir) -> Generator[Path]:
    folder = Path(mkdtemp(prefix=_UNPACKED, dir=place.root))
    try:
        yield folder
    except BaseException:
        take_back(folder)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(source: Path, folder: Path, on_progress: OnProgress) -> BackupManifest:
    found: dict[str, StoredFile] = {}
    manifest: BackupManifest | None = None
    done = 0
    with storage_errors(folder.parent), readable(source):
        for name, size, modified, file in entries(source):
            if name == MANIFEST:
                manifest = read_manifest(read_small(file, size, source), source)
                continue
            if name in found:
                raise damaged(source, f"it holds {name} twice")
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            found[name] = StoredFile(name, size, store(file, path, size))
            os.utime(path, (modified, modified))
            done += size
            on_progress("unpack", done, 0)
    return compare(manifest, found, source)


def _refuse_filled(target: Database) -> None:
    files = _sqlite_files(target) if target.is_sqlite else {}
    there = [str(file) for file in files.values() if file.exists()]
    if there or (not target.is_sqlite and not is_empty(target)):
        raise BackupRefused(
            f"The database {there[0] if there else target.url.database} is not empty. "
            "Nothing was changed.",
            hint="Name a new one with --database.",
            code="database_not_empty",
        )


def _sqlite_files(database: Database) -> dict[str, Path]:
    file = sqlite_file(database)
    return {MAIN_NAME: file, METRICS_NAME: Path(metrics_file(str(file)))}


def _fill(manifest: BackupManifest, folder: Path, target: Database, data: DataDir) -> list[str]:
    """Rows at the newest revision: SQLite where it was unpacked, PostgreSQL in its database."""
    refuse_unknown(manifest.revision)
    copy = folder / "database"
    if manifest.database == "sqlite":
        source = Database(f"sqlite:///{copy / MAIN_NAME}")
        try:
            upgrade(source)
            missing = _reconcile(source, data)
            if not target.is_sqlite:
                upgrade(target)
                move_rows(source, target)
        finally:
            source.close()
        return missing
    if target.is_sqlite:
        raise BackupRefused(
            "This is a backup of PostgreSQL, which cannot become SQLite. Nothing was changed.",
            hint="Name an empty PostgreSQL database with --database.",
            code="wrong_database",
        )
    upgrade(target, manifest.revision)
    fill_postgres(target, copy)
    upgrade(target)
    return _reconcile(target, data)


def _move(folder: Path, place: DataDir, target: Database, database_only: bool) -> None:
    """Into place, one rename each. Old settings name an old database: they are not taken over."""
    moves: dict[Path, Path] = {}
    if not database_only:
        for path in sorted(folder.iterdir()):
            if path.name != "database":
                moves[path] = place.root / (OLD_SETTINGS if path.name == FILE_NAME else path.name)
    if target.is_sqlite:  # last: where a database is, the files are
        files = _sqlite_files(target)
        moves |= {folder / "database" / name: file for name, file in files.items()}
    with storage_errors(place.root):
        move_all(folder, moves)


def _reconcile(database: Database, place: DataDir) -> list[str]:
    """Rows say what is there: checkpoints that did not come are gone, uploads begin again."""
    with database.write() as session:
        now = clock.read(session).wall
        session.execute(update(Upload).where(Upload.state == "pending").values(state="expired"))
        for checkpoint in session.scalars(
            select(Checkpoint).where(Checkpoint.deleted_at.is_(None))
        ):
            if not place.checkpoint(checkpoint.job_id, checkpoint.step).is_dir():
                checkpoint.deleted_at = now
        return [str(path.relative_to(place.root)) for path in missing_files(session, place)]


def missing_files(session: Session, place: DataDir) -> list[Path]:
    """Everything that living rows name and that is not on the disk."""
    wanted = [
        (place.file(name),)
        for name in session.scalars(select(File.id).where(File.deleted_at.is_(None)))
    ]
    wanted += [
        (place.dataset_version(folder, number),)
        for folder, number in session.execute(
            select(Dataset.folder, DatasetVersion.number)
            .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
            .where(Dataset.deleted_at.is_(None), DatasetVersion.deleted_at.is_(None))
        )
    ]
    wanted += [
        (place.model(model.id), place.run(model.job_id or "") / "artifacts")
        for model in session.scalars(
            select(Model).where(Model.deleted_at.is_(None), Model.source == "job")
        )
    ]
    return [paths[0] for paths in wanted if not any(path.exists() for path in paths)]
