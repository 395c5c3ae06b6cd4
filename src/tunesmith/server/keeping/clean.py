"""Remove by rule what nobody needs any more; the rules are settings (`clean_..._days`).

    found = clean(database, settings)                  # only says what would go
    gone = clean(database, settings, dry_run=False)

Rows are told first, in one transaction, then bytes go: a process killed between the two leaves
bytes that the next clean-up finds. Never touched: anything of a job that is not final, what a model
or dataset that somebody still has rests on (needed.py), and folders that no row knows, since a lost
database is made again from them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Update, or_, select, update
from sqlalchemy.orm import Session

from tunesmith.server import clock
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir, held
from tunesmith.server.keeping.backup import alone
from tunesmith.server.keeping.needed import (
    needed_checkpoints,
    needed_models,
    needed_versions,
    texts_of_living_work,
)
from tunesmith.server.settings import Settings
from tunesmith.server.states import FINAL
from tunesmith.server.tables import (
    Checkpoint,
    Dataset,
    DatasetVersion,
    File,
    Job,
    Model,
    Upload,
)

RULES: Final = ("checkpoints", "deleted", "uploads", "cache", "logs", "backups")
_ORPHAN: Final = timedelta(days=1)  # of what a crash left between two steps
_CACHES: Final = ("tokens", "tokenizers", "quality", "unpacked")
_NEWEST_BACKUPS: Final = 3  # copies before an upgrade that always stay
_GONE: Final = ".deleted-"


@dataclass(frozen=True)
class Rubbish:
    """Something that may go, by which rule, and why."""

    rule: str
    path: Path
    why: str
    bytes: int = 0
    change: Update | None = None  # what its row is told first


@dataclass(frozen=True)
class _Look:
    """What the rules look at."""

    session: Session
    place: DataDir
    settings: Settings
    now: datetime

    def before(self, days: int) -> datetime | None:
        """The time that a rule counts back to; None for a rule that is off."""
        return self.now - timedelta(days=days) if days else None


def clean(database: Database, settings: Settings, *, dry_run: bool = True) -> list[Rubbish]:
    """What goes by the rules of the settings, with its size; gone already unless `dry_run`.

    BackupRefused while a backup, a restore or another clean-up is at work.
    """
    place = DataDir(settings.data_dir)
    if dry_run:
        with database.read() as session:
            return [_measured(item) for item in _find(session, place, settings)]
    with alone(place):
        with database.write() as session:
            found = _find(session, place, settings)
            for item in found:
                if item.change is not None:
                    session.execute(item.change)
        return [_removed(_measured(item)) for item in found]


def clean_expired(database: Database, settings: Settings) -> list[Rubbish]:
    """The same for a server, from time to time; nothing while a backup is made."""
    with held(DataDir(settings.data_dir).keeping_lock) as other:
        is_busy = other is not None
    return [] if is_busy else clean(database, settings, dry_run=False)


def _find(session: Session, place: DataDir, settings: Settings) -> list[Rubbish]:
    look = _Look(session, place, settings, clock.read(session).wall)
    rules = (_leftovers, _checkpoints, _deleted, _uploads, _caches, _logs, _backups)
    return [item for rule in rules for item in rule(look) if os.path.lexists(item.path)]


def _leftovers(look: _Look) -> Generator[Rubbish]:
    """What a clean-up that was killed had begun to remove."""
    for depth in ("*", "*/*", "*/*/*"):
        for path in look.place.root.glob(f"{depth}/{_GONE}*"):
            yield Rubbish("deleted", path, "an earlier clean-up was killed")


def _checkpoints(look: _Look) -> Generator[Rubbish]:
    """Of jobs that ended long ago; the result of a job stays."""
    limit = look.before(look.settings.clean_checkpoints_days)
    if limit is None:
        return
    ended = look.session.scalars(
        select(Job.id).where(Job.status.in_(FINAL), Job.finished_at < limit)
    )
    needed = needed_checkpoints(look.session)
    for job_id in ended:
        for step in _steps(look.place.run(job_id) / "checkpoints"):
            if (job_id, step) not in needed:
                yield Rubbish(
                    "checkpoints",
                    look.place.checkpoint(job_id, step),
                    f"its job ended more than {look.settings.clean_checkpoints_days} days ago",
                    change=update(Checkpoint)
                    .where(Checkpoint.job_id == job_id, Checkpoint.step == step)
                    .values(deleted_at=look.now),
                )


def _steps(folder: Path) -> list[int]:
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [int(name[5:]) for name in names if name.startswith("step-") and name[5:].isdecimal()]


def _deleted(look: _Look) -> Generator[Rubbish]:
    """Bytes of what users deleted, once the time is over in which an administrator can help."""
    limit = look.before(look.settings.clean_deleted_days)
    if limit is None:
        return
    why = f"deleted more than {look.settings.clean_deleted_days} days ago"
    for path in (
        *_deleted_files(look, limit),
        *_deleted_versions(look, limit),
        *_deleted_models(look, limit),
        *_deleted_runs(look, limit),
    ):
        yield Rubbish("deleted", path, why)


def _deleted_files(look: _Look, limit: datetime) -> Iterable[Path]:
    in_use = texts_of_living_work(look.session)
    ids = look.session.scalars(select(File.id).where(File.deleted_at < limit))
    return [look.place.file(name) for name in ids if name not in in_use]


def _deleted_versions(look: _Look, limit: datetime) -> Iterable[Path]:
    needed = needed_versions(look.session)
    rows = look.session.execute(
        select(DatasetVersion.id, Dataset.folder, DatasetVersion.number)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .where(or_(DatasetVersion.deleted_at < limit, Dataset.deleted_at < limit))
    )
    return [
        look.place.dataset_version(folder, number)
        for version, folder, number in rows
        if version not in needed
    ]


def _deleted_models(look: _Look, limit: datetime) -> Generator[Path]:
    """Imports have a folder of their own; the result of a job lies in its run."""
    needed = needed_models(look.session)
    deleted = look.session.scalars(select(Model).where(Model.deleted_at < limit)).all()
    for model in deleted:
        if model.id in needed:
            continue
        yield look.place.model(model.id)
        if model.job_id and model.checkpoint_id is None:
            yield look.place.run(model.job_id) / "artifacts"


def _deleted_runs(look: _Look, limit: datetime) -> Iterable[Path]:
    """A run stays whole while a model, or one made from it, or a checkpoint of it is needed."""
    models = needed_models(look.session)
    kept = {job for job, _ in needed_checkpoints(look.session)}
    kept |= {
        job
        for model, job in look.session.execute(select(Model.id, Model.job_id))
        if model in models and job
    }
    ids = look.session.scalars(select(Job.id).where(Job.deleted_at < limit, Job.status.in_(FINAL)))
    return [look.place.run(name) for name in ids if name not in kept]


def _uploads(look: _Look) -> Generator[Rubbish]:
    """Uploads whose time is over, and bytes that a crash left behind."""
    states = {upload.id: upload for upload in look.session.scalars(select(Upload))}
    for path in _children(look.place.uploads):
        upload = states.get(path.name)
        if upload is not None and upload.state == "pending":
            if upload.expires_at < look.now:
                yield Rubbish(
                    "uploads",
                    path,
                    "its time is over",
                    change=update(Upload)
                    .where(Upload.id == upload.id, Upload.state == "pending")
                    .values(state="expired", received_bytes=0),
                )
        elif _last_use(path) < (look.now - _ORPHAN).timestamp():
            why = "no upload has it" if upload is None else f"its upload is {upload.state}"
            yield Rubbish("uploads", path, why)


def _caches(look: _Look) -> Generator[Rubbish]:
    """Tokens and such: they are made again when they are needed."""
    limit = look.before(look.settings.clean_cache_days)
    if limit is None:
        return
    cache = look.place.cache
    entries = [path for name in _CACHES for path in _children(cache / name)]
    notes = [path for folder in (cache, *_children(cache)) for path in _children(folder / "hashes")]
    why = f"not used for {look.settings.clean_cache_days} days"
    for path in (*entries, *notes):
        if path.name != "hashes" and _last_use(path) < limit.timestamp():
            yield Rubbish("cache", path, why)


def _logs(look: _Look) -> Generator[Rubbish]:
    limit = look.before(look.settings.clean_logs_days)
    if limit is None:
        return
    for path in _children(look.place.logs):
        if path.is_file() and path.stat().st_mtime < limit.timestamp():
            yield Rubbish("logs", path, f"older than {look.settings.clean_logs_days} days")


def _backups(look: _Look) -> Generator[Rubbish]:
    """Copies that an upgrade made; backups that people put there stay."""
    limit = look.before(look.settings.clean_backups_days)
    if limit is None:
        return
    made = [path for path in _children(look.place.backups) if path.name.startswith("before-")]
    made.sort(key=lambda path: path.stat().st_mtime)
    for path in made[:-_NEWEST_BACKUPS]:
        if path.stat().st_mtime < limit.timestamp():
            yield Rubbish("backups", path, f"older than {look.settings.clean_backups_days} days")


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(_GONE))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _last_use(path: Path) -> float:
    """The newest time of a file or folder and what lies in it."""
    times = [path.lstat().st_mtime]
    for folder, _, files in os.walk(path):
        for name in files:
            with suppress(FileNotFoundError):
                times.append((Path(folder) / name).lstat().st_mtime)
    return max(times)


def _measured(item: Rubbish) -> Rubbish:
    return Rubbish(item.rule, item.path, item.why, bytes_of(item.path), item.change)


def bytes_of(path: Path) -> int:
    """The size of a file or of all files in a folder; links count for themselves."""
    sizes: list[int] = []
    for folder, _, files in os.walk(path):
        for name in files:
            with suppress(FileNotFoundError):
                sizes.append((Path(folder) / name).lstat().st_size)
    if not sizes and path.is_file():
        sizes.append(path.lstat().st_size)
    return sum(sizes)


def _removed(item: Rubbish) -> Rubbish:
    """Gone in one step, so that nobody meets half of it."""
    hidden = item.path.with_name(_GONE + item.path.name.removeprefix(_GONE))
    with suppress(FileNotFoundError):  # somebody else was first
        item.path.rename(hidden)
    if hidden.is_dir() and not hidden.is_symlink():
        shutil.rmtree(hidden)
    else:
        hidden.unlink(missing_ok=True)
    return item
