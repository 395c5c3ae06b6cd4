"""Bring a database to the tables of this version, all of the way or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from tunesmith.server.database import Database, explained
from tunesmith.server.errors import DatabaseRefused

_FOLDER: Final = Path(__file__).parent
_LOCK: Final = 7_305_021_114  # any number, the same in every process


def migrate(database_url: str) -> None:
    """Upgrade to the newest revision; DatabaseRefused for one that this version does not know.

    One transaction on both databases: a process killed in the middle leaves the old tables.
    """
    database = Database(database_url)
    try:
        upgrade(database)
    finally:
        database.close()


def upgrade(database: Database, revision: str = "head") -> None:
    """The same on a database that is open."""
    with explained(), database.engine.execution_options(write=True).begin() as connection:
        _one_at_a_time(connection)
        _refuse_unknown(connection)
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Back to an older revision; data of newer tables is lost."""
    with explained(), database.engine.execution_options(write=True).begin() as connection:
        _one_at_a_time(connection)
        _refuse_unknown(connection)
        command.downgrade(_config(connection), revision)


def revision_of(database: Database) -> str | None:
    """The revision of a database; None for an empty one."""
    with explained(), database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest_revision() -> str:
    """The revision of this version of the program."""
    revision = ScriptDirectory(str(_FOLDER)).get_current_head()
    assert revision is not None
    return revision


def refuse_other_revision(database: Database) -> None:
    """For programs that use the tables and do not migrate, such as a worker."""
    found, needed = revision_of(database), newest_revision()
    if found != needed:
        raise DatabaseRefused(
            f"The database is at revision {found or 'none'}; this version needs {needed}.",
            hint="Start `tunesmith serve` of this version once: it migrates.",
            code="wrong_revision",
            revision=found,
        )


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _one_at_a_time(connection: Connection) -> None:
    """Two servers that start together: the second waits, then finds nothing to do."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _refuse_unknown(connection: Connection) -> None:
    found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory(str(_FOLDER)).walk_revisions()}
    if found is not None and found not in known:
        raise DatabaseRefused(
            f"The database is at revision {found}, which this version of tunesmith does not know; "
            "nothing was changed.",
            hint="It was used by a newer version: start that one, or restore a backup.",
            code="unknown_revision",
            revision=found,
        )
