"""Options of all commands that keep an installation, and how the server's program is started."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.serve import become

SETTINGS = {"help_option_names": ["-h", "--help"]}

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="The data directory.  [~/.tunesmith]")
]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="PostgreSQL in place of SQLite.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def become_keeper(
    command: str, place: Path | None, data_dir: Path | None, database: str | None, flags: list[str]
) -> None:
    named = {"--data-dir": data_dir, "--database": database}
    # As `--data-dir=VALUE`: a value that begins with a dash is no option.
    words = [f"{name}={value}" for name, value in named.items() if value is not None]
    places = ["--", str(place)] if place is not None else []
    become("tunesmith.server", command, *words, *flags, *places)
