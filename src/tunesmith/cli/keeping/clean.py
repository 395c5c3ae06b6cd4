"""`tunesmith clean`: what nobody needs any more."""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.cli.keeping.options import SETTINGS, DatabaseUrl, DataDir, Json, become_keeper

app = typer.Typer(add_completion=False, context_settings=SETTINGS)

_EXAMPLES = """Examples:

tunesmith clean

tunesmith clean --yes
"""


@app.command(epilog=_EXAMPLES)
def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go; this is the default.")
    ] = False,
    data_dir: DataDir = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Say what nobody needs any more, and with --yes remove it.

    Old checkpoints of finished jobs, what users deleted some time ago, expired uploads, unused
    cache, old logs. Nothing goes that an unfinished job, a model or a dataset needs. The rules are
    settings; the server does the same once a day.
    """
    flags = ["--yes"] * yes + ["--dry-run"] * dry_run + ["--json"] * json
    become_keeper("clean", None, data_dir, database, flags)
