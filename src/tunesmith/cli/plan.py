"""`tunesmith plan`: what a recipe will need, before anything runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.engine import run_engine
from tunesmith.cli.terminal import warn

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_EXAMPLES = """Examples:

tunesmith plan recipe.yaml

tunesmith plan recipe.yaml training.batch_size=32 --json
"""


@app.command(epilog=_EXAMPLES)
def plan(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="The recipe.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Values that win over the recipe."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Say memory, time, steps, tokens and rows of a recipe before anything runs.

    When it does not fit, it says what to lower. Nothing is trained and nothing is kept.
    """
    from tunesmith.cli.submit import read_submission

    submission = read_submission(recipe, overrides or [])
    for notice in submission.notices:
        warn(notice.message, notice.hint)
    with tempfile.TemporaryDirectory(prefix="tunesmith-plan-") as folder:
        submitted = Path(folder) / "recipe.yaml"
        submitted.write_text(submission.text, encoding="utf-8")
        done = run_engine("plan", str(submitted), *(["--json"] if json else []))
    raise typer.Exit(done.returncode)
