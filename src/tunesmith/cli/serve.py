"""`tunesmith serve`: the platform with its API on this machine."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.errors import InputError
from tunesmith.runs.launch import engine_environment

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_HELP = (
    "Start the platform: API, queue and one worker, with SQLite in the data directory.\n\n"
    "The first start prints the administrator's token. The server listens on this machine only "
    "until somebody has a password. Ctrl-C ends it; trainings save a checkpoint and go on with "
    "the next start.\n"
)

_EXAMPLES = """Examples:

tunesmith serve

tunesmith serve --host 0.0.0.0 --port 8400 --database postgresql://tunesmith@db/tunesmith
"""


@app.command(help=_HELP, epilog=_EXAMPLES)
def serve(
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on.  [127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one. [8400]"),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Where everything lies.  [~/.tunesmith]")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", metavar="URL", help="PostgreSQL in place of SQLite.")
    ] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Only the API; workers run elsewhere.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log each request.")] = False,
) -> None:
    named = {"--host": host, "--port": port, "--data-dir": data_dir, "--database": database}
    words = [word for name, value in named.items() if value is not None for word in (name, value)]
    flags = ["--no-worker"] * no_worker + ["--verbose"] * verbose
    become("tunesmith.api", *map(str, words), *flags)


def become(module: str, *arguments: str) -> None:
    """Turn this process into a server program, terminal and all; it never returns."""
    if not has_server():
        raise InputError(
            "The platform needs libraries that this Python has not installed.",
            hint="pip install 'tunesmith[server,engine]'",
            code="server_not_installed",
        )
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-m", module, *arguments]
    os.execve(command[0], command, engine_environment())


def has_server() -> bool:
    """Whether the libraries of the platform are installed."""
    return all(find_spec(name) is not None for name in ("sqlalchemy", "alembic", "fastapi"))
