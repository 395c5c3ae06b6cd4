"""`tunesmith evaluate --lm-eval`: public tasks through the served model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli import asking
from tunesmith.cli.terminal import say, say_json, short_path, table
from tunesmith.cli.work import progress
from tunesmith.errors import InputError

if TYPE_CHECKING:
    from tunesmith.evaluation.served import Place


@dataclass(frozen=True, kw_only=True)
class Harness:
    """Options for lm-eval."""

    lm_eval: Annotated[
        str | None,
        typer.Option(metavar="TASKS", help="Tasks of lm-eval, a,b, in place of --data."),
    ] = None
    lm_eval_path: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder with tasks of your own.")
    ] = None
    few_shot: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Examples before each question of a task."),
    ] = None


def refuse_beside(
    rows: asking.Rows, scoring: asking.Scoring, scores: str | None, keep: str | None
) -> None:
    """InputError for options that tasks of lm-eval have no use for."""
    given = ["--data"] * (rows.data is not None) + ["--scores"] * (scores is not None)
    given += ["--keep"] * (keep is not None)
    given += [
        f"--{field.name.replace('_', '-')}"
        for field in fields(scoring)
        if getattr(scoring, field.name) != field.default
    ]
    if given:
        raise InputError(
            f"{', '.join(given)} cannot be had with --lm-eval: a task brings its own rows and "
            "scores.",
            hint="Leave it out, or evaluate twice.",
        )


def run_harness(
    place: Place, harness: Harness, rows: asking.Rows, parallel: int, shown: asking.Shown
) -> None:
    """Run the tasks, and say what was found."""
    from tunesmith.evaluation.harness import FOUND, Tasks, run_tasks, scores_of

    tasks = Tasks(
        names=tuple(asking.names(harness.lm_eval)),
        include_path=harness.lm_eval_path,
        limit=rows.max_rows,
        few_shot=harness.few_shot,
        parallel=parallel,
    )
    with progress(quiet=shown.quiet, stopped=asking.STOPPED) as on_progress, place:
        found = run_tasks(place, tasks, rows.out, on_progress)
    if shown.json:
        return say_json(found)
    lines = [
        (f"{task}, {measure}", ("no value" if value is None else f"{value:.4f}") + _spread(error))
        for task, measure, value, error in scores_of(found)
    ]
    say(f"\n{place.model} in the tasks of lm-eval:\n{table(lines)}")
    return say("\n" + table([("report", str(short_path(rows.out / FOUND)))]))


def _spread(error: float | None) -> str:
    return "" if error is None else f" ± {error:.4f}"
