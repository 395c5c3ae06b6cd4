"""The data directory of an installation: where everything lies, who serves it, whether it writes.

    DATA_DIR/
      settings.yaml            optional (settings.py)
      secret                   random, made once, mode 0600: signs what this installation hands out
      tunesmith.db ...         SQLite, where no other database is named
      datasets/NAME/0001/      published versions (tunesmith.data.store)
      files/ID                 files as they were sent
      uploads/ID               files on their way
      runs/JOB_ID/             run directories
      models/ID/               models that were imported
      import/                  folders to import, put here by an administrator
      cache/                   can be made again
      backups/                 copies made before an upgrade
      logs/                    crash reports, and what each worker says
      evaluations/ID/          answers, scores and reports of models
      servings/ID/             processes that answer for models, found again by their folders
      installation             whose directory it is (installation.py)
      serve.lock, keeping.lock who works on the directory now

Names below it are our ids, never texts of users. The database indexes what lies here.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tunesmith.runs.files import StorageFull, StorageRefused, storage_errors
from tunesmith.server.errors import DataDirectoryInUse

FOLDERS: Final = (
    "datasets", "files", "uploads", "runs", "models", "import", "cache", "backups", "logs",
)  # fmt: skip
_SECRET_BYTES: Final = 32
_LOOKS: Final = 20


@dataclass(frozen=True)
class DataDir:
    """The places in a data directory."""

    root: Path

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def imports(self) -> Path:
        return self.root / "import"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def evaluations(self) -> Path:
        return self.root / "evaluations"

    @property
    def servings(self) -> Path:
        return self.root / "servings"

    @property
    def secret_path(self) -> Path:
        return self.root / "secret"

    @property
    def serve_lock(self) -> Path:
        return self.root / "serve.lock"

    @property
    def keeping_lock(self) -> Path:
        """Held by a backup, a restore or a clean-up: one of them at a time."""
        return self.root / "keeping.lock"

    def worker_lock(self, name: str) -> Path:
        """One worker a name: two would ship the same events and start the same engines."""
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
        return self.root / f"worker-{plain}.lock"

    def file(self, file_id: str) -> Path:
        return self.files / file_id

    def upload(self, upload_id: str) -> Path:
        """A file for an upload by offset, a folder for one in parts."""
        return self.uploads / upload_id

    def run(self, job_id: str) -> Path:
        return self.runs / job_id

    def model(self, model_id: str) -> Path:
        return self.models / model_id

    def dataset_version(self, folder: str, number: int) -> Path:
        return self.datasets / folder / f"{number:04d}"

    def checkpoint(self, job_id: str, step: int) -> Path:
        return self.run(job_id) / "checkpoints" / f"step-{step:06d}"

    def secret(self) -> bytes:
        """The random bytes of this installation."""
        return bytes.fromhex(self.secret_path.read_text(encoding="ascii"))


@dataclass(frozen=True)
class Holder:
    """Who has a lock; `since` is for people."""

    pid: int
    host: str
    since: str


class StorageWatch:
    """Whether the data directory can be written, and since when not. One a process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._since: datetime | None = None

    @property
    def since(self) -> datetime | None:
        """What the last look found."""
        return self._since

    def read_only_since(self) -> datetime | None:
        """Try to write; the time of the first try that failed, None when writing works."""
        try:
            _probe(self._root)
        except StorageRefused:
            self._since = self._since or datetime.now(UTC)
        except StorageFull:
            self._since = None  # another fault, with its own message where something is written
        else:
            self._since = None
        return self._since

    def refuse(self) -> None:
        """StorageRefused while the data directory is read-only."""
        since = self.read_only_since()
        if since is not None:
            raise read_only(self._root, since)


class DirectoryRefused(StorageRefused):
    """The data directory cannot be used as it is; to start again would not help."""

    exit_code = 2


def read_only(root: Path, since: datetime) -> StorageRefused:
    """The error of a data directory that cannot be written."""
    return DirectoryRefused(
        f"Data directory is read-only since {since:%Y-%m-%d %H:%M:%S} UTC: {root}. "
        "What was saved is intact; reading works, jobs wait.",
        hint="Make it writable for this user (remount the file system, or change its owner); "
        "work goes on by itself.",
        code="data_directory_read_only",
        since=since.isoformat(timespec="seconds"),
    )


def prepare(root: Path) -> DataDir:
    """Make what is missing of the layout, the secret included; safe beside other processes."""
    place = DataDir(root.expanduser().absolute())
    try:
        with storage_errors(place.root):
            # Rows of users and hashes of tokens are for nobody else on this machine.
            place.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in FOLDERS:
                (place.root / name).mkdir(exist_ok=True)
            _make_secret(place.secret_path)
        _probe(place.root)
    except StorageRefused as error:
        raise read_only(place.root, datetime.now(UTC)) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise DirectoryRefused(
            f"{error.filename or place.root} is a file; the data directory needs a folder there.",
            hint="Choose another directory with --data-dir or TUNESMITH_DATA_DIR.",
        ) from error
    return place


@contextmanager
def serving(place: DataDir) -> Generator[None]:
    """Hold the directory for the one server on it; DataDirectoryInUse names the other.

    For SQLite only: on PostgreSQL several servers may share a directory. Workers do not take it.
    """
    with held(place.serve_lock) as other:
        if other is not None:
            raise _in_use(place, other)
        yield


@contextmanager
def held(path: Path) -> Generator[Holder | None]:
    """Take a lock; gives None when we have it, else who does.

    The lock is the kernel's and ends with its process, however that ends; the content of the file
    is for people. A forked child does not keep its parent's lock.
    """
    lock = _opened(path)
    try:
        while (is_ours := _take(lock.file, path)) and not _is_there(lock.file, path):
            lock.close()  # somebody removed the file before we had it
            lock = _opened(path)
        if not is_ours:
            yield _read_holder(lock.file) or Holder(0, "", "")
            return
        _write_holder(lock.file)
        try:
            yield None
        finally:
            with suppress(OSError):  # read-only by now: the lock itself is the kernel's
                os.ftruncate(lock.file, 0)
    finally:
        lock.close()


def _opened(path: Path) -> _Lock:
    with storage_errors(path):
        return _Lock(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))


def _is_there(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def holder_of(path: Path) -> Holder | None:
    """Who has a lock now; None when nobody does."""
    try:
        file = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        # Shared, so that two that look do not see each other.
        return None if _flock(file, path, fcntl.LOCK_SH) else _read_holder(file)
    finally:
        os.close(file)


def left_by(path: Path) -> Holder | None:
    """Who had a lock and ended without giving it back, as by kill -9; None where somebody has it,
    or where nobody had. Who ends in peace leaves no name.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        return _read_holder(file) if _flock(file, path, fcntl.LOCK_SH) else None
    finally:
        os.close(file)


class _Lock:
    """An open lock file, which a forked child gives up."""

    def __init__(self, file: int) -> None:
        self.file = file
        os.register_at_fork(after_in_child=self.close)

    def close(self) -> None:
        if self.file >= 0:
            os.close(self.file)
        self.file = -1


def _take(file: int, path: Path) -> bool:
    """A lock without a holder's name is held for a moment only: by a look, or at its start."""
    for _ in range(_LOOKS):
        if _flock(file, path, fcntl.LOCK_EX):
            return True
        if _read_holder(file) is not None:
            return False
        time.sleep(0.05)
    return False


def _flock(file: int, path: Path, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageRefused(
            f"Files cannot be locked in {path.parent} ({error.strerror}).",
            hint="Mount that file system with locks, or choose a local disk as data directory.",
        ) from error
    return True


def _write_holder(file: int) -> None:
    me = Holder(os.getpid(), os.uname().nodename, _now())
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(asdict(me)).encode(), 0)


def _read_holder(file: int) -> Holder | None:
    """None where nothing, or half of it, is written yet."""
    try:
        return Holder(**json.loads(os.pread(file, 65536, 0)))
    except (ValueError, TypeError):
        return None


def _in_use(place: DataDir, other: Holder) -> DataDirectoryInUse:
    who = f"process {other.pid} on {other.host} since {other.since}" if other.pid else "a process"
    return DataDirectoryInUse(
        f"Another server works on {place.root}: {who}. It was not disturbed; "
        "this one did not start.",
        hint="Use that one, end it first, or choose another directory with --data-dir. "
        "Several servers on one directory need PostgreSQL.",
        path=str(place.root),
        **asdict(other),
    )


def _make_secret(path: Path) -> None:
    """Complete from its first moment on, whoever else makes it at the same time."""
    if path.exists():
        return
    draft = path.with_name(f".secret-{secrets.token_hex(8)}.tmp")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, secrets.token_hex(_SECRET_BYTES).encode("ascii"))
        os.fsync(file)
        with suppress(FileExistsError):  # another process was first: its secret counts
            os.link(draft, path)
    finally:
        os.close(file)
        draft.unlink()


def _probe(root: Path) -> None:
    """Write a file and remove it: permissions alone do not tell of a read-only mount."""
    path = root / f".probe-{secrets.token_hex(8)}"
    with storage_errors(root):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        path.unlink()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
