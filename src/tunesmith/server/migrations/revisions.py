"""Which revision a database has, and which ones this version knows; without loading Alembic.

A database that is at the newest revision, as at every start but the first after an upgrade, needs
no more than this. The file of a revision is `versions/REVISION_what.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from tunesmith.server.database import Database
from tunesmith.server.errors import DatabaseRefused
from tunesmith.server.reaching import reaching

SCRIPTS: Final = Path(__file__).parent
_TABLE: Final = "alembic_version"


def known_revisions(scripts: Path = SCRIPTS) -> list[str]:
    """All revisions of this version of the program, oldest first."""
    files = (scripts / "versions").glob("[0-9]*_*.py")
    return sorted(file.name.partition("_")[0] for file in files)


def newest_revision(scripts: Path = SCRIPTS) -> str:
    """The revision of this version of the program."""
    return known_revisions(scripts)[-1]


def revision_of(database: Database) -> str | None:
    """The revision of a database; None for an empty one."""
    with reaching(database), database.engine.connect() as connection:
        return read_revision(connection)


def read_revision(connection: Connection) -> str | None:
    """The same, in a transaction."""
    if not inspect(connection).has_table(_TABLE):
        return None
    return connection.scalar(text(f"SELECT version_num FROM {_TABLE}"))


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


def refuse_unknown(revision: str | None, scripts: Path = SCRIPTS) -> None:
    """DatabaseRefused for a revision of a newer version, whose tables this one does not know."""
    if revision is not None and revision not in known_revisions(scripts):
        raise DatabaseRefused(
            f"The database is at revision {revision}, which this version of tunesmith does not "
            "know; nothing was changed.",
            hint="It was used by a newer version: start that one, or restore a backup.",
            code="unknown_revision",
            revision=revision,
        )
