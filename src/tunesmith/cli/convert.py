"""`tunesmith convert`: recipes from the job files of other systems."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.terminal import command_line, say, say_json, short_path, warn
from tunesmith.errors import RecipeError

if TYPE_CHECKING:
    from tunesmith.recipe.convert import Conversion

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make a recipe from the job file of another system.",
)

_EXAMPLES = """Examples:

tunesmith convert llamafactory train.yaml --out recipe.yaml

tunesmith convert llamafactory train.yaml --dataset-info data/dataset_info.json --json
"""


@app.callback()
def convert() -> None:
    """Make a recipe from the job file of another system."""


@app.command(epilog=_EXAMPLES)
def llamafactory(
    file: Annotated[Path, typer.Argument(help="Its YAML or JSON job file.", metavar="FILE")],
    dataset_info: Annotated[
        Path | None,
        typer.Option("--dataset-info", help="Its dataset_info.json, if not in dataset_dir."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the recipe here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Make a recipe from a LLaMA-Factory job: each key is taken, renamed or not supported.

    Without --out the recipe goes to standard output, with the report in its first lines.
    """
    from tunesmith.recipe.convert import convert_llamafactory

    if out is not None and out.exists():
        raise RecipeError(
            f"{out} exists already; nothing was written.", hint="Choose another name with --out."
        )
    conversion = convert_llamafactory(file, dataset_info)
    if out is not None:
        _write(out, conversion.yaml)
    if json:
        say_json(_document(conversion, out))
    else:
        say(conversion.yaml.rstrip() if out is None else _report(conversion))
    for notice in conversion.notices:
        warn(notice.message, notice.hint)
    if out is not None:
        say(f"Wrote {out}. Next: {command_line('plan', short_path(out))}", to=sys.stderr)


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{out} cannot be written: {error.strerror}.") from None


def _report(conversion: Conversion) -> str:
    return "\n".join(line[2:] for line in conversion.yaml.splitlines() if line.startswith("#"))


def _document(conversion: Conversion, out: Path | None) -> dict[str, object]:
    return {
        "recipe": conversion.recipe.model_dump(mode="json"),
        "keys": [asdict(entry) for entry in conversion.entries],
        "notices": [asdict(notice) for notice in conversion.notices],
        "written": None if out is None else str(out),
    }
