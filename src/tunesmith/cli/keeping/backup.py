"""`tunesmith backup`: copy an installation while it works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.keeping.options import SETTINGS, DatabaseUrl, DataDir, Json, become_keeper

app = typer.Typer(add_completion=False, context_settings=SETTINGS)

_EXAMPLES = """Examples:

tunesmith backup /backups/2026-11-21.tar.zst

tunesmith backup /backups/2026-11-21 --without-checkpoints
"""


@app.command(epilog=_EXAMPLES)
def backup(
    target: Annotated[
        Path, typer.Argument(help="FILE.tar, .tar.gz, .tar.zst, or a folder; must be new.")
    ],
    without_checkpoints: Annotated[
        bool,
        typer.Option("--without-checkpoints", help="Leave out checkpoints of finished jobs."),
    ] = False,
    without_secret: Annotated[
        bool,
        typer.Option(
            "--without-secret", help="Leave out the key and the settings file; keep them elsewhere."
        ),
    ] = False,
    data_dir: DataDir = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Copy database and data directory, consistent while everything runs.

    Datasets, files, models, runs with their checkpoints, the secret and the settings file; not the
    cache, and no unfinished uploads. What was written is read again before it counts. Keep it as
    safe as the installation itself: it holds the same secrets. With --without-secret, addresses of
    notices in it can only be read with the key, which you keep elsewhere: the file `secret`.
    """
    flags = ["--without-checkpoints"] * without_checkpoints
    flags += ["--without-secret"] * without_secret
    become_keeper("backup", target, data_dir, database, [*flags, *["--json"] * json])
