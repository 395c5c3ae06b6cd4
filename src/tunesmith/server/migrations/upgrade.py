"""Bring a database to the tables of this version, all of the way or not at all.

`keeping/upgrading.py` is what `serve` calls: it copies the database first, and comes here only
where there is something to do (revisions.py tells).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from tunesmith.server.database import Database, explained
from tunesmith.server.migrations.revisions import SCRIPTS, read_revision, refuse_unknown

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


def upgrade(database: Database, revision: str = "head", *, scripts: Path = SCRIPTS) -> None:
    """All of the way or not at all, without a copy first."""
    with explained(), database.engine.execution_options(write=True).begin() as connection:
        _one_at_a_time(connection)
        refuse_unknown(read_revision(connection), scripts)
        command.upgrade(_config(connection, scripts), revision)


def downgrade(database: Database, revision: str) -> None:
    """Back to an older revision; data of newer tables is lost."""
    with explained(), database.engine.execution_options(write=True).begin() as connection:
        _one_at_a_time(connection)
        refuse_unknown(read_revision(connection), SCRIPTS)
        command.downgrade(_config(connection, SCRIPTS), revision)


def _config(connection: Connection, scripts: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _one_at_a_time(connection: Connection) -> None:
    """Two servers that start together: the second waits, then finds nothing to do."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
