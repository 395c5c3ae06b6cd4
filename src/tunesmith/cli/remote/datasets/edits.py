"""Commands of `tunesmith datasets` that change a dataset, named as those of `tunesmith data`."""

from __future__ import annotations

import json as json_library
from typing import Annotated, Any

import typer

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
from tunesmith.cli.remote.waiting import shown
from tunesmith.cli.terminal import command_line, printable, say, say_json
from tunesmith.errors import InputError
from tunesmith.schemas.datasets import Edited

PreviewOption = Annotated[
    bool, typer.Option("--preview", help="Only show what would change; nothing is published.")
]
WhereOption = Annotated[
    str | None, typer.Option("--where", metavar="CONDITION", help="Rows; see docs/data.md.")
]


@app.command(epilog='Example: tunesmith datasets keep support --where "answer_length >= 10"')
def keep(
    dataset: DatasetArgument,
    where: Annotated[str, typer.Option("--where", help="The condition; see docs/data.md.")],
    preview: PreviewOption = False,
    json: JsonOption = False,
) -> None:
    """A new version with only the rows that meet a condition."""
    change_dataset(dataset, {"operation": "keep", "where": where}, preview=preview, json=json)


@app.command(
    epilog="Examples:\n\ntunesmith datasets remove support 17 23\n\n"
    "tunesmith datasets remove support --where 'answer_length < 10' --preview"
)
def remove(
    dataset: DatasetArgument,
    rows: Annotated[list[int] | None, typer.Argument(metavar="ROW...", help="Ids of rows.")] = None,
    where: WhereOption = None,
    preview: PreviewOption = False,
    json: JsonOption = False,
) -> None:
    """A new version without some rows."""
    if bool(rows) == (where is not None):
        raise InputError("Name rows by their ids, or by a condition: --where.")
    operation = {"rows": rows} if rows else {"where": where}
    change_dataset(dataset, {"operation": "remove", **operation}, preview=preview, json=json)


@app.command(
    epilog='Examples:\n\ntunesmith datasets change support 17 "answer=We answer within a day."\n\n'
    "tunesmith datasets change support --where 'contains(question, \"refund\")' topic=refund"
)
def change(
    dataset: DatasetArgument,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[ROW] FIELD=TEXT...",
            help="question, answer, system, text, record, a column.",
        ),
    ],
    where: WhereOption = None,
    new_columns: Annotated[
        bool, typer.Option("--new-columns", help="With ROW: columns that no row has yet.")
    ] = False,
    preview: PreviewOption = False,
    json: JsonOption = False,
) -> None:
    """A new version in which one row, or all that meet a condition, say something else."""
    first, *rest = words
    row = int(first) if first.isdecimal() else None
    fields = dict(_field(word) for word in (words if row is None else rest))
    if (row is None) == (where is None) or not fields:
        raise InputError(
            "Name one row by its id, or rows by a condition (--where), and what they shall say.",
            hint='Such as: 17 "answer=We answer within a day."',
        )
    operation: dict[str, Any] = {"operation": "change", "where": where, "fields": fields}
    if row is not None:
        changes = [{"row": row, "fields": fields}]
        operation = {"operation": "change", "changes": changes, "new_columns": new_columns}
    change_dataset(dataset, operation, preview=preview, json=json)


@app.command(epilog='Example: tunesmith datasets replace support "Acme" "Globex" --in answer')
def replace(
    dataset: DatasetArgument,
    find: Annotated[str, typer.Argument(help="The text to find.")],
    new: Annotated[str, typer.Argument(help="The text in its place.")],
    place: Annotated[
        str, typer.Option("--in", help="question, answer, system, text or all.")
    ] = "all",
    regex: Annotated[bool, typer.Option(help="FIND is a regular expression.")] = False,
    where: WhereOption = None,
    preview: PreviewOption = False,
    json: JsonOption = False,
) -> None:
    """Find and replace in all rows, or in those that meet a condition."""
    operation = {"operation": "replace", "find": find, "new": new, "where": place}
    wanted = {**operation, "regex": regex, "only": where}
    change_dataset(dataset, wanted, preview=preview, json=json)


@app.command(epilog="Example: tunesmith datasets fix support --only duplicate --preview")
def fix(
    dataset: DatasetArgument,
    only: Annotated[
        list[str] | None, typer.Option(help="One of the safe mends; repeatable.")
    ] = None,
    preview: PreviewOption = False,
    json: JsonOption = False,
) -> None:
    """Apply the mends that cannot do harm."""
    operation = {"operation": "fix", "only": only or []}
    change_dataset(dataset, operation, preview=preview, json=json)


@app.command(epilog="Example: tunesmith datasets rollback support@1")
def rollback(
    dataset: VersionArgument, preview: PreviewOption = False, json: JsonOption = False
) -> None:
    """An older version once more, as the newest."""
    name, at, number = dataset.rpartition("@")
    if not at or not number.isdecimal():
        raise InputError("Name the version to go back to.", hint=f"Such as: {dataset}@1")
    operation = {"operation": "roll_back", "version": int(number)}
    change_dataset(name, operation, preview=preview, json=json)


@app.command(epilog="Example: tunesmith datasets diff support@1 support@2")
def diff(
    before: VersionArgument,
    after: Annotated[
        str, typer.Argument(metavar="DATASET[@VERSION]", help="Of the same dataset; the newest.")
    ],
    json: JsonOption = False,
) -> None:
    """Rows added, removed and changed between two versions."""
    with connect() as client:
        (found, old), (other, new) = version_of(client, before), version_of(client, after)
        if found != other:
            raise InputError("Two versions of one dataset can be compared, not two datasets.")
        told = client.datasets.diff(found, old, new)
    say_json(told) if json else _say_diff(told)


@app.command(epilog="Example: tunesmith datasets describe support --tag shop --role general")
def describe(
    dataset: DatasetArgument,
    name: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="For people.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Repeatable.")] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Terms of use.")] = None,
    language: Annotated[str | None, typer.Option("--language", help="Such as zh, en.")] = None,
    role: Annotated[str | None, typer.Option("--role", help="user or general.")] = None,
    json: JsonOption = False,
) -> None:
    """Change what is said about a dataset; its versions stay as they are."""
    wanted = {"name": name, "description": description, "tags": tag, "licence": licence}
    wanted |= {"language": language, "role": role}
    changes = {key: value for key, value in wanted.items() if value is not None}
    if not changes:
        raise InputError("Nothing is named that shall change.", hint="Such as: --tag shop")
    with connect() as client:
        told = client.datasets.describe(names.dataset_id(client, dataset), **changes)
    say_json(document(told)) if json else say(f"{printable(told.name)} described.")


@app.command(epilog="Example: tunesmith datasets verify support@2")
def verify(dataset: VersionArgument, json: JsonOption = False) -> None:
    """Compare the files of a version with their checksums."""
    with connect() as client, shown(stopped=GOES_ON) as on:
        found, number = version_of(client, dataset)
        files = client.datasets.verify(found, number, on.task)
    if json:
        return say_json({"version": number, "files": files})
    return say(f"Version {number}: {files} files are as they were published.")


def change_dataset(dataset: str, operation: dict[str, Any], *, preview: bool, json: bool) -> Edited:
    """Make or preview one change of the newest version, and say what came of it."""
    with connect() as client:
        found = names.dataset_id(client, dataset)
        base = None if operation["operation"] == "roll_back" else client.datasets.newest(found)
        with shown(stopped="Stopped." if preview else GOES_ON) as on:
            done = client.datasets.edit(found, operation, base, on.task, preview=preview)
    if json:
        say_json(document(done))
    elif preview:
        _say_diff(done.diff) if done.diff else say("Nothing would change.")
    else:
        _say_change(dataset, done)
    return done


def _say_change(dataset: str, done: Edited) -> None:
    if done.version is None:
        return say("No row was changed; there is no new version.")
    label = f"{dataset}@{done.version.number}"
    counts = done.counts.items()
    told = ", ".join(f"{what} {count:,}" for what, count in counts if isinstance(count, int))
    say(f"{printable(label)}: {done.version.rows:,} rows{f' ({told})' if told else ''}.")
    before = f"{dataset}@{done.version.number - 1}"
    return say(f"  what changed  {command_line('datasets', 'diff', before, label)}")


def _say_diff(facts: dict[str, Any]) -> None:
    from tunesmith.cli.data.told import diff_lines

    say_fitting(diff_lines({**facts, "after": facts["after"] or "what it would be"}))


def _field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"'{text}' is no FIELD=TEXT.", hint='Such as: "answer=Yes."')
    if name != "record":
        return name, value
    try:
        return name, json_library.loads(value)
    except json_library.JSONDecodeError as error:
        raise InputError(f"record is no valid JSON: {error}.") from error
