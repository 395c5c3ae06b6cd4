"""What `serve` does with its database at every start: nothing, or a copy and an upgrade."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from tunesmith.server.database import Database
from tunesmith.server.keeping.backup import back_up_database
from tunesmith.server.migrations.revisions import (
    SCRIPTS,
    newest_revision,
    refuse_unknown,
    revision_of,
)


def migrate_with_backup(
    database: Database, backups: Path, *, backup: bool = True, scripts: Path = SCRIPTS
) -> Path | None:
    """Upgrade a database, after a copy of what it holds.

    Gives the copy, None where there was nothing to do or to keep, or `backup` is off. When no copy
    can be made, nothing is changed. `tunesmith restore --database-only` brings it back.
    """
    found, newest = revision_of(database), newest_revision(scripts)
    refuse_unknown(found, scripts)
    if found == newest:
        return None
    # Alembic, which most starts do not need.
    from tunesmith.server.migrations.upgrade import upgrade

    made = None
    if backup and found is not None:
        now = datetime.now(UTC)
        made = backups / f"before-{newest}-from-{found}-{now:%Y%m%d-%H%M%S}-{token_hex(2)}"
        back_up_database(database, made)
    upgrade(database, scripts=scripts)
    return made
