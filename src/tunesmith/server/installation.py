"""A data directory and a database belong together: a worker with the wrong pair would ruin jobs.

The directory remembers, in the file `installation`, whose it is: the first user of the database,
who stays the same through upgrades, backups and moves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import select

from tunesmith.errors import InputError
from tunesmith.runs.files import write_atomically
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.tables import User

FILE: Final = "installation"


class OtherInstallation(InputError):
    """The data directory is that of another database; nothing was started and nothing changed."""

    code = "other_installation"


def refuse_strangers(database: Database, place: DataDir) -> None:
    """Whoever meets a directory without an owner makes it the database's; a wrong pair is refused.

    Nothing can be told of a database without a user: `tunesmith serve` makes the first.
    """
    with database.read() as session:
        first = select(User.id).order_by(User.created_at, User.id).limit(1)
        owner = session.scalar(first)
    if owner is None:
        return
    file = place.root / FILE
    known = _read(file)
    if not known:
        write_atomically(file, owner + "\n")
    elif known != owner:
        shown = database.url.render_as_string(hide_password=True)
        raise OtherInstallation(
            f"The data directory {place.root} belongs to another installation than the database "
            f"{shown}. Nothing was started, and nothing was changed.",
            hint="Name the two that belong together: --data-dir and --database, or "
            "TUNESMITH_DATA_DIR and TUNESMITH_DATABASE_URL. Where this database has taken the "
            f"place of the other one for good, remove {file}.",
            path=str(place.root),
        )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
