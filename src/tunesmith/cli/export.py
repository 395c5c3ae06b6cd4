"""`tunesmith export`: a run or a model as files for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.engine import become_engine
from tunesmith.cli.spread import spread, words_of
from tunesmith.errors import InputError

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_EXAMPLES = """Examples:

tunesmith export runs/first --format merged --out exports/first

tunesmith export runs/first --format gguf --gguf-type q8_0 --out exports/first-gguf

tunesmith export runs/first --format adapter --out exports/adapter --push your-name/support-bot
"""


class Format(StrEnum):
    """What other programs can read."""

    adapter = "adapter"
    merged = "merged"
    gguf = "gguf"
    ollama = "ollama"
    int8 = "int8"
    int4 = "int4"


class GgufType(StrEnum):
    """How a GGUF file stores its weights."""

    f16 = "f16"
    q8_0 = "q8_0"


@dataclass(frozen=True, kw_only=True)
class Export:
    """What the engine is told."""

    format: Annotated[Format, typer.Option(help="What other programs can read.")]
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="A folder that is empty or not there yet.")
    ]
    gguf_type: Annotated[
        GgufType | None, typer.Option(help="Weights in GGUF: f16 (default), or q8_0, half of it.")
    ] = None
    base: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Put the adapter on this base, in full precision."),
    ] = None
    push: Annotated[
        str | None,
        typer.Option(metavar="HUB_ID", help="Upload it to the hub as well, as a private model."),
    ] = None
    no_parity: Annotated[
        bool, typer.Option("--no-parity", help="Do not compare it with the trained model.")
    ] = False
    allow_drift: Annotated[
        bool,
        typer.Option("--allow-drift", help="Keep it where it answers otherwise, marked as such."),
    ] = False
    json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = (
        False
    )
    device: Annotated[
        str | None, typer.Option(metavar="auto|cpu|cuda|mps", help="Where models are compared.")
    ] = None


@app.command(epilog=_EXAMPLES)
@spread
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN|MODEL", help="A run, a checkpoint of one, a model folder or a hub id."
        ),
    ],
    wanted: Export,
) -> None:
    """Write a trained model for other programs, and prove that it still answers the same.

    The same prompts go through the engine of the training and through the export, loaded as other
    programs load it; PARITY.md and parity.json beside it hold the figures. An export beyond the
    limits is refused. Nothing appears in the folder before everything is complete.
    """
    if wanted.gguf_type is not None and wanted.format not in (Format.gguf, Format.ollama):
        raise InputError(
            f"--gguf-type belongs to --format gguf and ollama, not to {wanted.format}.",
            hint="Leave it out, or choose --format gguf.",
        )
    become_engine("export", *words_of(wanted), "--", model)
