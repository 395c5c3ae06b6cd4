"""`tunesmith worker`: run the jobs of a platform on this machine's devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.serve import become

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_HELP = (
    "Run the jobs of a platform on the GPUs of this machine, or on its CPU.\n\n"
    "The data directory and the database are those of `tunesmith serve`. Ctrl-C ends it: "
    "trainings save a checkpoint and go on with the next start; a second Ctrl-C leaves them "
    "running, and the next start takes them over.\n"
)

_EXAMPLES = """Examples:

tunesmith worker

tunesmith worker --data-dir /shared/tunesmith --database postgresql://tunesmith@db/tunesmith

TUNESMITH_DEVICES=0,1 tunesmith worker --name gpu-1
"""


@app.command(help=_HELP, epilog=_EXAMPLES)
def worker(
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Where everything lies.  [~/.tunesmith]")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", metavar="URL", help="PostgreSQL in place of SQLite.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of this worker.  [the name of the machine]")
    ] = None,
) -> None:
    given = {"--data-dir": data_dir, "--database": database, "--name": name}
    words = [word for option, value in given.items() if value for word in (option, str(value))]
    become("tunesmith.server", "worker", *words)
