"""`tunesmith serve-model`: one model with its adapters behind an OpenAI-compatible address."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.engine import require_torch
from tunesmith.cli.spread import spread, words_of
from tunesmith.errors import InputError
from tunesmith.runs.launch import engine_environment

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_HELP = (
    "Serve a model and its adapters to any OpenAI client, requests batched token by token.\n\n"
    "Adapters share the base's memory and may be loaded and unloaded while it runs. Ctrl-C ends "
    "it; answers on their way are finished first.\n"
)

_EXAMPLES = """Examples:

tunesmith serve-model runs/first

tunesmith serve-model Qwen/Qwen3-0.6B --adapter support=runs/first --adapter sales=runs/second

tunesmith serve-model starter --port 8600 --max-concurrent 8
"""


@dataclass(frozen=True, kw_only=True)
class Served:
    """What the process that serves is told; its own parser decides what is not given."""

    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="An adapter beside the base; may be repeated."),
    ] = None
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [127.0.0.1]")] = None
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.  [8500]")
    ] = None
    name: Annotated[
        str | None, typer.Option(metavar="N", help="Name of the model in requests.")
    ] = None
    device: Annotated[
        str | None, typer.Option(metavar="auto|cpu|cuda|mps", help="Where the model runs.")
    ] = None
    dtype: Annotated[
        str | None, typer.Option(metavar="auto|float32|bfloat16", help="Number format.")
    ] = None
    max_concurrent: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Answers in one batch.  [32]")
    ] = None
    queue: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Answers that may wait.  [256]")
    ] = None
    engine: Annotated[
        str | None, typer.Option(metavar="tunesmith|vllm", help="What computes the answers.")
    ] = None
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the key that clients send.")
    ] = None
    ready_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Written when it is ready, or has failed.")
    ] = None
    context: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Most tokens of a conversation.")
    ] = None
    cache_gb: Annotated[
        float | None, typer.Option(metavar="N", help="Memory for the tokens of conversations.")
    ] = None
    grace: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For answers to end in.  [30]")
    ] = None
    verbose: Annotated[bool, typer.Option("--verbose", help="Say more in the log.")] = False


@app.command(help=_HELP, epilog=_EXAMPLES)
@spread
def serve_model(
    base: Annotated[
        str, typer.Argument(metavar="BASE", help="A run, a model folder, `starter` or a hub id.")
    ],
    served: Served,
) -> None:
    require_torch()
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise InputError(
            "Serving needs fastapi and uvicorn, which this Python has not installed.",
            hint="pip install 'tunesmith[server,engine]'",
            code="server_not_installed",
        )
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-m", "tunesmith.serving", *words_of(served), "--", base]
    os.execve(command[0], command, engine_environment())
