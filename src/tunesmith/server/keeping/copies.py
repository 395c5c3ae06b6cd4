"""One consistent copy of a database in a folder, made while others write, and the way back.

    database/
      tunesmith.db, tunesmith-metrics.db    SQLite, by its backup API: both as of one commit
      tables.json, tables/NAME.copy         PostgreSQL, by COPY in one snapshot, in an order in
                                            which rows can come back: named rows before their users

PostgreSQL's own programs are not needed. While SQLite is copied in its rollback journal mode,
commits wait; in WAL mode they go on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
from sqlalchemy import Connection, MetaData, Table, exc, func, insert, make_url, select, text

from tunesmith.runs.files import fsync_file, storage_errors
from tunesmith.server.database import METRICS, Database, explained, metrics_file, sqlite_path
from tunesmith.server.errors import BackupFailed, BackupRefused, DatabaseUnavailable
from tunesmith.server.reaching import reaching
from tunesmith.server.tables import Base, Job, User

if TYPE_CHECKING:
    from psycopg import sql

MAIN_NAME: Final = "tunesmith.db"
METRICS_NAME: Final = "tunesmith-metrics.db"
TABLES_NAME: Final = "tables.json"
LOCK_SECONDS = 30.0
_BATCH_ROWS: Final = 1000
_REVISIONS: Final = "alembic_version"


@dataclass(frozen=True)
class CopiedTable:
    """A table of PostgreSQL in a file of COPY's text format."""

    schema: str | None
    name: str
    columns: list[str]
    rows: int

    @property
    def file(self) -> str:
        return f"tables/{self.schema or 'public'}.{self.name}.copy"

    @property
    def identifier(self) -> sql.Identifier:
        from psycopg import sql  # not where the database is SQLite

        return sql.Identifier(self.schema or "public", self.name)


def database_kind(database: Database) -> str:
    return "sqlite" if database.is_sqlite else "postgresql"


def copy_database(database: Database, folder: Path) -> None:
    """Copy a database into an empty folder, as of one moment."""
    folder.mkdir(parents=True, exist_ok=True)
    with explained(), storage_errors(folder):
        if database.is_sqlite:
            with told():
                _copy_sqlite(sqlite_file(database), folder)
        else:
            _copy_postgres(database, folder)


def sqlite_file(database: Database) -> Path:
    return sqlite_path(database.url)


def file_to_be(url: str) -> Path | None:
    """The file of a SQLite database, which opening would make; None for any other."""
    with suppress(exc.ArgumentError):  # told by whoever opens it
        parsed = make_url(url)
        is_file = parsed.get_backend_name() == "sqlite" and parsed.database
        return sqlite_path(parsed) if is_file else None
    return None


def has_no_tables(database: Database) -> bool:
    """Whether nobody has made anything in a database."""
    with reaching(database), database.engine.connect() as connection:
        return not set(connection.dialect.get_table_names(connection)) - {_REVISIONS}


def is_empty(database: Database) -> bool:
    """Whether a database holds nothing that a restore could destroy."""
    with database.engine.connect() as connection:
        names = connection.dialect.get_table_names(connection)
        if User.__tablename__ not in names or Job.__tablename__ not in names:
            return not set(names) - {_REVISIONS}
        tables = (User.__table__, Job.__table__)
        return not any(connection.scalar(select(func.count()).select_from(t)) for t in tables)


def _copy_sqlite(file: Path, folder: Path) -> None:
    with closing(_open(file)) as gate, closing(_open(file)) as source:
        gate.execute("BEGIN IMMEDIATE")  # no writer is at work when the look at both files begins
        source.execute("BEGIN")
        for schema in ("main", METRICS):
            source.execute(f"SELECT count(*) FROM {schema}.sqlite_master").fetchone()
        gate.execute("ROLLBACK")
        for schema, name in (("main", MAIN_NAME), (METRICS, METRICS_NAME)):
            with closing(sqlite3.connect(folder / name, isolation_level=None)) as copy:
                copy.execute("PRAGMA synchronous = OFF")
                source.backup(copy, name=schema)
        source.execute("ROLLBACK")  # commits go on from here
    for name in (MAIN_NAME, METRICS_NAME):
        _check_copy(folder / name)


@contextmanager
def told() -> Generator[None]:
    """Errors of SQLite in words, whichever way they come."""
    try:
        yield
    except (sqlite3.OperationalError, exc.OperationalError) as error:
        raise DatabaseUnavailable(
            f"The database could not be copied ({error}); nothing was changed.",
            hint="Try again: another program holds it, or its disk is full.",
        ) from error
    except (sqlite3.DatabaseError, exc.DatabaseError) as error:
        raise _damaged(str(error)) from error


def _damaged(reason: str) -> BackupFailed:
    return BackupFailed(
        f"The database is damaged: {reason}. No backup was made.",
        hint="Keep the last good backup: `tunesmith restore` brings it back into a new directory.",
        code="database_damaged",
    )


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=LOCK_SECONDS, isolation_level=None)
    connection.execute("ATTACH DATABASE ? AS metrics", (metrics_file(str(file)),))
    return connection


def _check_copy(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode = DELETE")
        problems = [row[0] for row in copy.execute("PRAGMA integrity_check")]
        broken = copy.execute("PRAGMA foreign_key_check").fetchall()
    if problems != ["ok"] or broken:
        raise _damaged(str((problems + broken)[0]))
    fsync_file(file)


def _copy_postgres(database: Database, folder: Path) -> None:
    (folder / "tables").mkdir()
    engine = database.engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        copied = [_copy_out(connection, table, folder) for table in _reflected(connection)]
    lines = [asdict(table) for table in copied]
    (folder / TABLES_NAME).write_bytes(orjson.dumps(lines, option=orjson.OPT_INDENT_2))


def _reflected(connection: Connection) -> list[Table]:
    """What is really there, in the order of foreign keys, whichever revision it is of."""
    found = MetaData()
    for schema in (None, METRICS):
        found.reflect(connection, schema=schema)
    return [table for table in found.sorted_tables if table.name != _REVISIONS]


def _copy_out(connection: Connection, table: Table, folder: Path) -> CopiedTable:
    copied = CopiedTable(table.schema, table.name, [column.name for column in table.columns], 0)
    cursor = _cursor(connection)
    with (folder / copied.file).open("wb") as file, cursor.copy(_statement(copied, "TO")) as rows:
        for block in rows:
            file.write(block)
    return CopiedTable(copied.schema, copied.name, copied.columns, cursor.rowcount)


def _statement(table: CopiedTable, direction: str) -> sql.Composed:
    from psycopg import sql

    return sql.SQL("COPY {} ({}) {} {}").format(
        table.identifier,
        sql.SQL(", ").join(map(sql.Identifier, table.columns)),
        sql.SQL("TO" if direction == "TO" else "FROM"),
        sql.SQL("STDOUT" if direction == "TO" else "STDIN"),
    )


def _cursor(connection: Connection) -> Any:
    """The driver's own cursor, in the transaction of the connection."""
    return cast("Any", connection.connection.driver_connection).cursor()


def fill_postgres(database: Database, folder: Path) -> None:
    """Bring the rows of a PostgreSQL copy into tables of the same revision, all or none."""
    from psycopg import sql

    lines = cast("list[dict[str, Any]]", orjson.loads((folder / TABLES_NAME).read_bytes()))
    tables = [CopiedTable(**line) for line in lines]
    with explained(), database.engine.begin() as connection:
        cursor = _cursor(connection)
        for table in reversed(tables):  # rows that the migration itself made
            cursor.execute(sql.SQL("DELETE FROM {}").format(table.identifier))
        for table in tables:
            _copy_in(cursor, table, folder)


def _copy_in(cursor: Any, table: CopiedTable, folder: Path) -> None:
    with (folder / table.file).open("rb") as file, cursor.copy(_statement(table, "FROM")) as rows:
        while block := file.read(1 << 20):
            rows.write(block)
    if cursor.rowcount != table.rows:
        raise BackupFailed(
            f"Table {table.name} came back with {cursor.rowcount} rows instead of {table.rows}; "
            "nothing was kept.",
            code="backup_damaged",
        )


def move_rows(source: Database, target: Database) -> None:
    """All rows of one database into another of the same, newest revision: SQLite to PostgreSQL."""
    if not source.is_sqlite or target.is_sqlite:
        raise BackupRefused(
            "Rows can be moved from SQLite to PostgreSQL, not back.",
            hint="Restore a backup of PostgreSQL into PostgreSQL.",
            code="wrong_database",
        )
    tables = Base.metadata.sorted_tables
    with source.read() as reader, target.write() as writer:
        for table in reversed(tables):
            writer.execute(table.delete())
        for table in tables:
            # A row comes after the one that made it: ids sort by time.
            rows = reader.execute(select(table).order_by(*table.primary_key)).mappings()
            for batch in rows.partitions(_BATCH_ROWS):
                writer.execute(insert(table), [dict(row) for row in batch])
