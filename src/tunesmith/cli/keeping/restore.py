"""`tunesmith restore`: an installation from a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.keeping.options import SETTINGS, DatabaseUrl, DataDir, Json, become_keeper

app = typer.Typer(add_completion=False, context_settings=SETTINGS)

_EXAMPLES = """Examples:

tunesmith restore /backups/2026-11-21.tar.zst --data-dir /data/tunesmith

tunesmith restore b.tar.zst --data-dir /data/new --database postgresql://tunesmith@db/new
"""


@app.command(epilog=_EXAMPLES)
def restore(
    source: Annotated[Path, typer.Argument(help="What `tunesmith backup` wrote.")],
    data_dir: DataDir = None,
    database: DatabaseUrl = None,
    database_only: Annotated[
        bool,
        typer.Option("--database-only", help="The rows alone, beside an existing data directory."),
    ] = False,
    json: Json = False,
) -> None:
    """Bring a backup back, into an empty data directory and an empty database.

    Every hash is compared before anything is put in its place, and the database is brought to the
    tables of this version. A backup of SQLite may go into PostgreSQL.
    """
    flags = ["--database-only"] * database_only
    become_keeper("restore", source, data_dir, database, [*flags, *["--json"] * json])
