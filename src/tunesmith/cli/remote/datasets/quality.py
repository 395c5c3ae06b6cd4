"""`tunesmith datasets score | diversity | augment | near | splits`, as a server finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli.language import chinese
from tunesmith.cli.remote import names
from tunesmith.cli.remote.connecting import JsonOption, connect, document
from tunesmith.cli.remote.datasets.commands import (
    GOES_ON,
    DatasetArgument,
    VersionArgument,
    app,
    version_of,
)
from tunesmith.cli.remote.datasets.fitting import say_fitting
from tunesmith.cli.remote.tables import say_table
from tunesmith.cli.remote.waiting import shown
from tunesmith.cli.terminal import printable, say, say_json, short_text
from tunesmith.errors import InputError
from tunesmith.schemas.datasets import Edited, SplitPart, SplitsRead

_SHOWN = 20  # pairs


@app.command(epilog="Example: tunesmith datasets score support --by perplexity --model starter")
def score(
    dataset: DatasetArgument,
    by: Annotated[
        str, typer.Option(help="heuristics, classifier or perplexity; see docs/data-quality.md.")
    ] = "heuristics",
    model: Annotated[
        str | None, typer.Option(help="For perplexity: a model of the server.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="For classifier: train it on this column, true for good rows."
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=2, help="For perplexity: tokens after which a row is cut.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """A new version in which every row has its quality or its perplexity, and what they show.

    Nothing is removed. Look at the worst rows first: every filter errs.
    """
    operation = {"operation": "score", "by": by, "model": model, "labels": labels}
    done = _changed(dataset, {**operation, "max_length": max_length})
    if json:
        return say_json(document(done))
    from tunesmith.cli.data.told_quality import score_lines

    facts = dict(done.details or {})
    number, where = done.version.number if done.version else None, facts["conditions"]
    facts |= {"new_version": number, "version": facts["version"] or facts["subject"]}
    facts["commands"] = where and {
        "review": ["datasets", "rows", dataset, "--where", where["review"], "--limit", "50"],
        "remove": ["datasets", "keep", dataset, "--where", where["keep"]],
        "undo": ["datasets", "rollback", facts["subject"]],
    }
    return say_fitting(score_lines(facts, chinese=chinese()))


@app.command(epilog="Example: tunesmith datasets diversity support")
def diversity(
    dataset: DatasetArgument,
    clusters: Annotated[
        int | None, typer.Option(min=1, max=1000, help="How many groups; found by itself if empty.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed finds the same groups.")] = 0,
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="A new version with columns: cluster, near_same_as (a row's id or null).",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """How different the instructions are: groups, near repetitions, languages, and advice."""
    operation = {"operation": "diversity", "clusters": clusters, "seed": seed}
    done = _changed(dataset, operation, preview=not write)
    if json:
        return say_json(document(done))
    from tunesmith.cli.data.told_quality import diversity_lines

    say_fitting(diversity_lines(done.details or {}))
    if not write:
        return None
    if done.version is None:
        return say("\nEvery row has these columns already; there is no new version.")
    return say(f"\nVersion {done.version.number} has the columns cluster and near_same_as.")


@app.command(epilog="Example: tunesmith datasets augment support --templates wordings.yaml")
def augment(
    dataset: DatasetArgument,
    templates: Annotated[
        Path | None,
        typer.Option(help="YAML of wordings with the same meaning; a small one ships if empty."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed chooses the same wordings.")] = 0,
    rate: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="Further rows for each row that matches.")
    ] = 1.0,
    json: JsonOption = False,
) -> None:
    """A new version with further rows that ask the same in other words; the others stay."""
    operation: dict[str, Any] = {"operation": "augment", "seed": seed, "rate": rate}
    if templates is not None:
        operation["templates"] = _text_of(templates)
    done = _changed(dataset, operation)
    if json:
        return say_json(document(done))
    from tunesmith.cli.data.told_quality import augment_lines

    facts = dict(done.details or {})
    facts["commands"] = {
        "review": ["datasets", "rows", dataset, "--where", f"id >= {facts['first_id']}"],
        "undo": ["datasets", "rollback", facts["subject"]],
    }
    return say_fitting(augment_lines(facts))


@app.command(epilog="Example: tunesmith datasets near support")
def near(dataset: VersionArgument, json: JsonOption = False) -> None:
    """Pairs of rows that say nearly the same."""
    with connect() as client, shown(stopped=GOES_ON) as on:
        found, number = version_of(client, dataset)
        told = client.datasets.near(found, number, on.task)
    if json:
        return say_json(document(told))
    say(
        f"{printable(told.subject)}: {told.near:,} of {told.rows:,} rows nearly repeat an earlier "
        f"one, {told.exact:,} repeat one word for word."
    )
    for pair in told.pairs[:_SHOWN]:
        say(f"\n{pair.similarity:.0%}")
        for row, text in ((pair.same_as, pair.same_text), (pair.row, pair.text)):
            say(f"{row:>8}  {short_text(text, 70)}")
    if len(told.pairs) > _SHOWN:
        say(f"\nThe first {_SHOWN} pairs; --json has {len(told.pairs):,}.")
    return None


@app.command(epilog="Example: tunesmith datasets splits support --validation 0.1 --stratify topic")
def splits(
    dataset: VersionArgument,
    validation: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share held out for validation; 0: none.")
    ] = 0.1,
    test: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share held out for the test; 0: none.")
    ] = 0.0,
    max_rows: Annotated[int, typer.Option(min=1, help="At most, for validation.")] = 100,
    test_max_rows: Annotated[int, typer.Option(min=1, help="At most, for the test.")] = 1000,
    stratify: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Its values are held out in proportion.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Rows of one value stay together.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="That of the training.")] = 42,
    json: JsonOption = False,
) -> None:
    """What a training would hold out for validation and test."""

    def part(fraction: float, most: int) -> dict[str, Any] | None:
        wish = {"fraction": fraction, "max_rows": most, "stratify_by": stratify}
        return {**wish, "group_by": group} if fraction else None

    with connect() as client, shown(stopped=GOES_ON) as on:
        found, number = version_of(client, dataset)
        told = client.datasets.splits(
            found,
            number,
            on.task,
            validation=part(validation, max_rows),
            test=part(test, test_max_rows),
            seed=seed,
        )
    return say_json(document(told)) if json else _say_splits(told)


def _say_splits(told: SplitsRead) -> None:
    say_table(
        ("part", ">rows", ">back", ">aside", ">repeated", "first rows"),
        [
            ("training", f"{told.training.rows:,}", "", "", "", ""),
            ("validation", *_part_cells(told.validation)),
            ("test", *_part_cells(told.test)),
        ],
        wide=5,
    )
    for column, values in told.values.items():
        say()
        say_table(
            (column, ">training", ">validation", ">test"),
            [
                (str(each["value"] or "(none)"), *(f"{each[name]:,}" for name in _PARTS))
                for each in values
            ],
            wide=0,
        )
    say(f"\n{told.rows:,} rows, seed {told.seed}. back: to training, as there is a limit of rows;")
    say("aside: in no part, to keep groups whole; repeated: equal to rows that train.")


_PARTS = ("training", "validation", "test")


def _part_cells(part: SplitPart) -> tuple[str, ...]:
    numbers = (part.rows, part.returned_to_training, part.set_aside, part.duplicates_removed)
    return (*(f"{number:,}" for number in numbers), ", ".join(map(str, part.ids)))


def _changed(dataset: str, operation: dict[str, Any], *, preview: bool = False) -> Edited:
    with connect() as client, shown(stopped=GOES_ON) as on:
        found = names.dataset_id(client, dataset)
        base = client.datasets.newest(found)
        return client.datasets.edit(found, operation, base, on.task, preview=preview)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"{path} cannot be read: {reason}.", code="file_not_found") from error
