"""One database, SQLite or PostgreSQL: connections, and transactions that are short.

    database = Database("sqlite:////data/tunesmith.db")
    with database.write() as session:    # commits at the end of the block, or nothing happened
        ...

SQLite takes the write lock at the start of a write (BEGIN IMMEDIATE), so what a transaction read
is still true when it writes. Metric points lie in a second file beside the first, attached under
the name `metrics`; PostgreSQL has a schema of that name.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import orjson
from sqlalchemy import URL, Engine, create_engine, event, exc, make_url
from sqlalchemy.orm import Session, sessionmaker

from tunesmith.errors import TunesmithError
from tunesmith.runs.files import StorageFull, StorageRefused
from tunesmith.server.errors import DatabaseRefused, DatabaseUnavailable

METRICS = "metrics"
_URI = "file:"
_CONNECTIONS = 10
# NaN and infinity become null: neither database may hold them.
_JSON: dict[str, Any] = {
    "json_serializer": lambda value: orjson.dumps(value).decode("utf-8"),
    "json_deserializer": orjson.loads,
}


class Database:
    """The connections of one process; close it at the end."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 10.0,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """`timeout`: seconds to wait for a lock; `clock` replaces the database's own in tests."""
        self.url = _normal(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite(self.url, timeout) if self.is_sqlite else _postgres(self.url, timeout)
        self._folder = sqlite_path(self.url).parent if self.is_sqlite else None
        self._writing = threading.Lock() if self.is_sqlite else None
        self._timeout = timeout
        info = {"clock": clock}
        self._reader = sessionmaker(self.engine, expire_on_commit=False, info=info)
        self._writer = sessionmaker(
            self.engine.execution_options(write=True), expire_on_commit=False, info=info
        )

    @contextmanager
    def read(self) -> Generator[Session]:
        """One consistent look at the data."""
        with explained(self._folder), self._reader() as session:
            yield session

    @contextmanager
    def write(self) -> Generator[Session]:
        """One transaction: all of the block, or nothing of it."""
        with explained(self._folder), self._turn(), self._writer.begin() as session:
            yield session

    @contextmanager
    def _turn(self) -> Generator[None]:
        """Threads queue for SQLite's one writer, which polls when left to itself: some starve."""
        if self._writing is None:
            yield
        elif not self._writing.acquire(timeout=self._timeout):
            raise _unavailable("Turn")
        else:
            try:
                yield
            finally:
                self._writing.release()

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def explained(folder: Path | None = None) -> Generator[None]:
    """A database that is locked, away, full or read-only, in words and with a code.

    `folder`: where a SQLite file lies, whose journal cannot be opened once the folder is read-only.
    """
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError) as error:
        plain = explain(error)
        cannot_open = "unable to open" in str(error) or "disk I/O error" in str(error)
        if cannot_open and folder is not None and not os.access(folder, os.W_OK):
            plain = _read_only(f"{folder} takes no writes")
        if plain is None:
            raise
        raise plain from error


def safe_journal(version: tuple[int, int, int]) -> str:
    """The journal mode for a version of SQLite: 3.7.0 to 3.51.2 can corrupt a WAL, some excepted.

    Fixed in 3.51.3, and in the older lines from 3.50.7 and from 3.44.6 on.
    """
    fixed = (
        version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    )
    return "wal" if fixed or version < (3, 7, 0) else "delete"


def metrics_file(path: str) -> str:
    """Where the metric points of a SQLite database lie: tunesmith.db -> tunesmith-metrics.db."""
    file = Path(path)
    return str(file.with_name(f"{file.stem}-metrics{file.suffix}"))


def sqlite_path(url: URL) -> Path:
    """Where the file of a SQLite database lies: file:/data/x.db is a name that SQLite reads."""
    name = cast("str", url.database)
    return Path(unquote(urlsplit(name).path) if name.startswith(_URI) else name)


def _normal(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):  # the latter of a port that is no number
        raise _bad_url("it is not a URL") from None
    backend = parsed.drivername.partition("+")[0]
    if backend in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise _bad_url(f"{backend} is not supported")
    name = parsed.database or ":memory:"
    if ":memory:" in name or parsed.query.get("mode") == "memory":
        raise _bad_url("SQLite needs a file, since several processes use it")
    if name.startswith(_URI) and parsed.query.get("uri") not in ("true", "1"):
        # SQLite would make a folder of the name `file:` where the program was started.
        raise _bad_url("file: addresses are read only where ?uri=true stands behind them")
    return parsed


def _bad_url(reason: str) -> DatabaseRefused:
    return DatabaseRefused(  # the URL itself may hold a password
        f"The address of the database cannot be used: {reason}.",
        hint="Write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
        code="bad_database_url",
    )


def _sqlite(url: URL, timeout: float) -> Engine:
    path, file = cast("str", url.database), sqlite_path(url)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseRefused(
            f"The database {file} cannot be made: {error.strerror}.",
            hint="Name a file in a folder that this user may write into.",
            code="database_missing",
        ) from error
    engine = create_engine(
        url,
        connect_args={"timeout": timeout},
        **_JSON,
        pool_size=_CONNECTIONS,
        pool_timeout=timeout,
    )
    journal = safe_journal(sqlite3.sqlite_version_info)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # no BEGIN of the driver's own
        connection.execute("ATTACH DATABASE ? AS metrics", (metrics_file(path),))
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA main.synchronous = FULL")
        connection.execute("PRAGMA metrics.synchronous = NORMAL")
        for file in ("main", METRICS):  # no work, and no lock, where the mode is right already
            if connection.execute(f"PRAGMA {file}.journal_mode").fetchone()[0] != journal:
                connection.execute(f"PRAGMA {file}.journal_mode = {journal}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        writes = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres(url: URL, timeout: float) -> Engine:
    return create_engine(
        url,
        connect_args={
            "connect_timeout": max(2, round(timeout)),
            "options": f"-c timezone=UTC -c lock_timeout={round(timeout * 1000)}"
            " -c idle_in_transaction_session_timeout=60000",
        },
        pool_size=_CONNECTIONS,
        pool_timeout=timeout,
        pool_pre_ping=True,
        **_JSON,
    )


def _read_only(told: str) -> StorageRefused:
    return StorageRefused(
        f"The database is read-only; the change was not saved ({told}).",
        hint="Make the data directory writable; reading works.",
    )


def explain(error: Exception) -> TunesmithError | None:
    """An error of the driver in words; None for what is a mistake of ours."""
    told = str(getattr(error, "orig", None) or error)
    is_operational = isinstance(error, exc.OperationalError | exc.InterfaceError)
    if re.search(r"disk is full|No space left", told):
        return StorageFull(
            f"The disk of the database is full; the last change was not saved ({told.strip()}).",
            hint="Free space, then try again; running jobs go on.",
        )
    if re.search(r"readonly database|read-only", told):
        return _read_only(told.strip())
    is_sqlite_mistake = isinstance(getattr(error, "orig", None), sqlite3.Error) and not re.search(
        r"locked|busy|unable to open", told
    )
    is_away = isinstance(error, exc.DBAPIError) and error.connection_invalidated
    if isinstance(error, exc.TimeoutError) or is_away or (is_operational and not is_sqlite_mistake):
        return _unavailable(type(getattr(error, "orig", None) or error).__name__)
    return None


def _unavailable(cause: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        "The database is locked or not reachable; nothing was changed, and running jobs go on.",
        hint="Try again in some seconds.",
        retry_after=5,
        cause=cause,
    )
