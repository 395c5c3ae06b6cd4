"""`tunesmith trace`: from wrong answers to the training rows behind them, and on from there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.spread import spread
from tunesmith.cli.terminal import command_line, fold, say, say_json, short_text
from tunesmith.cli.work import progress
from tunesmith.errors import InputError
from tunesmith.runs import RunDir

if TYPE_CHECKING:
    from tunesmith.evaluation.tracing.trace import Neighbour, Place, Trace

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    help="Find the training rows behind wrong answers, edit them, and train on from the result.",
)

WIDTH = 88
_ROWS_EXAMPLES = """Examples:

tunesmith trace rows scores/first --run runs/first

tunesmith trace rows scores/first --run runs/first --edits edits.jsonl
"""
_RETRAIN_EXAMPLES = """Examples:

tunesmith trace retrain edits.jsonl --run runs/first --name shop --out next.yaml

tunesmith train next.yaml --run runs/second
"""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The run behind it, and what the user sees."""

    run: Annotated[
        Path, typer.Option(metavar="DIR", help="The run whose training rows are looked at.")
    ]
    json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = (
        False
    )
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which rows have failed, and what is like them."""

    score: Annotated[
        str | None, typer.Option(metavar="NAME", help="The score that decides.  [the primary one]")
    ] = None
    below: Annotated[
        float | None,
        typer.Option(metavar="VALUE", help="Rows with a lower score have failed.  [not right]"),
    ] = None
    failures: Annotated[
        int, typer.Option(metavar="N", min=1, help="Failed rows to look at, the worst first.")
    ] = 20
    neighbours: Annotated[
        int, typer.Option(metavar="N", min=1, max=50, help="Training rows for each of them.")
    ] = 5
    embedder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            envvar="TUNESMITH_EMBEDDER",
            help="A sentence-embedding model on this machine: rows are compared by meaning too.",
        ),
    ] = None
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Measure the losses of the found rows, by the base and by the result.",
        ),
    ] = False


@app.command(epilog=_ROWS_EXAMPLES)
@spread
def rows(
    evaluation: Annotated[
        Path, typer.Argument(metavar="EVALUATION", help="A folder of `tunesmith evaluate`.")
    ],
    learned: Learned,
    search: Search,
    edits: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the training rows there, to be edited."),
    ] = None,
) -> None:
    """For each wrong answer the training rows that are most like it, with their losses.

    Rows are alike when they share runs of characters, in any language, or mean the same to the
    model of --embedder: the question counts fully, the wrong answer half.
    """
    if edits is not None and edits.exists():
        raise InputError(f"{edits} exists.", hint="Choose another --edits.", code="file_exists")
    from tunesmith.evaluation.tracing.trace import trace

    with progress(quiet=learned.quiet, stopped="Stopped; nothing was written.") as on_progress:
        found = trace(
            evaluation,
            RunDir.open(learned.run),
            score=search.score,
            below=search.below,
            most_failures=search.failures,
            neighbours=search.neighbours,
            measure=search.measure,
            embedder=search.embedder,
            on_progress=on_progress,
        )
    if edits is not None:
        _write_edits(found, edits)
    if learned.json:
        return say_json(found.to_json())
    _tell(found)
    if edits is not None:
        _tell_edits(edits, learned.run)
    return None


@app.command(epilog=_RETRAIN_EXAMPLES)
@spread
def retrain(
    edits: Annotated[
        Path, typer.Argument(metavar="EDITS", help="The file of `tunesmith trace rows --edits`.")
    ],
    learned: Learned,
    name: Annotated[
        str,
        typer.Option(metavar="NAME", help="What a file becomes; datasets keep their own names."),
    ],
    out: Annotated[Path, typer.Option(metavar="RECIPE.yaml", help="The next recipe.")],
    only_changed: Annotated[
        bool, typer.Option("--only-changed", help="Learn from the changed rows alone.")
    ] = False,
) -> None:
    """Publish the data with the edited rows, and write a recipe that goes on from the result."""
    from tunesmith.data.pool import num_processes
    from tunesmith.data.store import Catalog
    from tunesmith.evaluation.tracing.retrain import retrain as make

    with progress(quiet=learned.quiet) as on_progress:
        made = make(
            edits,
            RunDir.open(learned.run),
            out,
            name=name,
            only_changed=only_changed,
            catalog=Catalog(),
            processes=num_processes(),
            on_progress=on_progress,
        )
    if learned.json:
        return say_json(made.to_json())
    say(f"{made.changed} rows changed, {made.removed} removed: {', '.join(made.versions)}")
    for note in made.notes:
        say(f"Note: {note}")
    say(f"The next training starts from the result of {learned.run}:")
    return say(f"  {command_line('train', made.recipe, '--run', 'NEW_RUN')}")


def _tell_edits(edits: Path, run: Path) -> None:
    say(f"\nThe training rows are in {edits}: change a record, or write null to remove it. Then")
    words = ("trace", "retrain", edits, "--run", run, "--name", "NAME", "--out", "next.yaml")
    say(f"  {command_line(*words)}")


def _write_edits(found: Trace, file: Path) -> None:
    import orjson

    from tunesmith.runs import write_atomically

    write_atomically(file, b"".join(orjson.dumps(line) + b"\n" for line in found.edits()))


# ---------------------------------------------------------------- text


def _tell(found: Trace) -> None:
    say(
        f"{found.failed} of {found.rows} rows failed ({found.rule}); "
        f"{len(found.traced)} of them beside {found.training_rows:,} training rows of {found.run}"
    )
    for each in found.traced:
        failure = each.failure
        score = "" if failure.score is None else f"  {found.score} {failure.score:.3g}"
        say(f"\n{failure.id}{score}")
        _text("asked", failure.question)
        _text("wanted", failure.reference)
        _text("answered", failure.prediction)
        if not each.neighbours:
            say("  no training row is like it")
        for neighbour in each.neighbours:
            _tell_neighbour(neighbour)
    if found.suspects:
        say("\nNear several failures:")
        for suspect in found.suspects[:10]:
            shown = short_text(suspect.question, WIDTH - 40)
            say(f"  {suspect.failures}x {_place(suspect.place)}  {shown}")
    say()
    for note in found.notes:
        say(f"Note: {note}")


def _tell_neighbour(neighbour: Neighbour) -> None:
    losses = f"loss {neighbour.loss_before:.2f} -> {neighbour.loss_after:.2f}"
    alike = (
        f"question {neighbour.question_similarity:.0%}, answer {neighbour.answer_similarity:.0%}"
    )
    say(f"  {_place(neighbour.place)}  alike: {alike}  {losses}")
    _text("", neighbour.question, 4)
    _text("", f"-> {neighbour.answer}", 4)


def _text(name: str, text: str, indent: int = 2) -> None:
    label = f"{name:<9} " if name else ""
    for number, line in enumerate(fold(text, WIDTH - indent - len(label), 2)):
        say(f"{'':{indent}}{label if number == 0 else ' ' * len(label)}{line}")


def _place(place: Place) -> str:
    if place.file and ":" in place.file:  # of a published version: where the row came from
        return f"{place.dataset} #{place.line} ({place.file})"
    return f"{place.file}, line {place.line}"
