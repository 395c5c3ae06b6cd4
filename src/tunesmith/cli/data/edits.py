"""Commands of `tunesmith data` that change a dataset: each change is a new version."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.data.commands import app, say_published, warn_of_shadowed
from tunesmith.cli.data.reading import (
    JsonOption,
    NameArgument,
    SubjectArgument,
    open_catalog,
    open_subject,
    open_version,
    wanted_rows,
)
from tunesmith.cli.terminal import command_line, say, say_json
from tunesmith.cli.work import progress
from tunesmith.errors import InputError

if TYPE_CHECKING:
    from tunesmith.data.store import Version


@app.command(epilog="Example: tunesmith data fix support --only duplicate --only surrounding_space")
def fix(
    subject: SubjectArgument,
    name: Annotated[
        str | None, typer.Option("--name", help="For a file: import it under this name first.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="One of the safe mends; repeatable.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Apply the mends that cannot do harm, as a new version, and show what changed."""
    from tunesmith.cli.data.told import diff_lines
    from tunesmith.data.check.inspect import Wanted
    from tunesmith.data.diff import diff as compare
    from tunesmith.data.fixing import FIXES
    from tunesmith.data.fixing import fix as mend
    from tunesmith.data.importing import import_files
    from tunesmith.data.pool import num_processes
    from tunesmith.data.store import Version

    catalog = open_catalog()
    found = open_subject(subject, wanted_rows(subject), None)
    with progress() as on_progress:
        if not isinstance(found, Version):
            if name is None:
                raise InputError(
                    f"{subject} is a file; a mended copy becomes a dataset.",
                    hint="Name it: --name NAME. The file stays as it is.",
                )
            found = import_files(
                catalog,
                name,
                found,
                wanted=Wanted(near=False),
                processes=num_processes(),
                on_progress=on_progress,
            ).version
        done = mend(catalog, found, only or FIXES, on_progress=on_progress)
    if done.version is None:
        say_json({"version": None, "counts": {}}) if json else say("There was nothing to mend.")
        return
    facts = compare(found, done.version).to_json()
    if json:
        say_json({"version": asdict(done.version.manifest), "counts": done.counts, "diff": facts})
        return
    say(", ".join(f"{code} {count:,}" for code, count in done.counts.items()))
    say("\n".join(diff_lines(facts)))
    say_published(done.version)


@app.command(epilog="Example: tunesmith data remove support 17 23")
def remove(
    name: NameArgument,
    rows: Annotated[list[int], typer.Argument(metavar="ROW...", help="Ids of rows.")],
    json: JsonOption = False,
) -> None:
    """A new version without some rows."""
    from tunesmith.data import editing

    with progress() as on_progress:
        new = editing.remove(open_catalog(), open_version(name), rows, on_progress=on_progress)
    _say_new(new, json=json)


@app.command(epilog='Example: tunesmith data keep support --where "answer_length >= 10"')
def keep(
    name: NameArgument,
    where: Annotated[str, typer.Option(help="The condition; see docs/data.md.")],
    json: JsonOption = False,
) -> None:
    """A new version with only the rows that meet a condition."""
    from tunesmith.data import editing
    from tunesmith.data.expression import Condition

    condition, version = Condition(where), open_version(name)
    warn_of_shadowed(condition, version)
    with progress() as on_progress:
        new = editing.keep(open_catalog(), version, condition, on_progress=on_progress)
    _say_new(new, json=json)


@app.command(epilog='Example: tunesmith data change support 17 "answer=We answer within a day."')
def change(
    name: NameArgument,
    row: Annotated[int, typer.Argument(metavar="ROW", help="The id of the row.")],
    fields: Annotated[
        list[str],
        typer.Argument(
            metavar="FIELD=TEXT...", help="question, answer, system, text, record, a column."
        ),
    ],
    json: JsonOption = False,
) -> None:
    """A new version in which one row says something else."""
    from tunesmith.data import editing

    told = dict(_field(field) for field in fields)
    with progress() as on_progress:
        new = editing.change_row(
            open_catalog(), open_version(name), row, told, on_progress=on_progress
        )
    _say_new(new, json=json)


@app.command(epilog='Example: tunesmith data replace support "Acme" "Globex" --in answer')
def replace(
    name: NameArgument,
    find: Annotated[str, typer.Argument(help="The text to find.")],
    new: Annotated[str, typer.Argument(help="The text in its place.")],
    where: Annotated[
        str, typer.Option("--in", help="question, answer, system, text or all.")
    ] = "all",
    regex: Annotated[bool, typer.Option(help="FIND is a regular expression.")] = False,
    json: JsonOption = False,
) -> None:
    """Find and replace in all rows, as a new version."""
    from tunesmith.data import editing

    places = ("question", "answer", "system", "text", "all")
    if where not in places:
        raise InputError(f"--in is one of {', '.join(places)}.")
    with progress() as on_progress:
        version = editing.replace_text(
            open_catalog(),
            open_version(name),
            find,
            new,
            where=where,  # type: ignore[arg-type]
            regex=regex,
            on_progress=on_progress,
        )
    _say_new(version, json=json)


@app.command(epilog="Example: tunesmith data rollback support@1")
def rollback(name: NameArgument, json: JsonOption = False) -> None:
    """Publish an older version once more, as the newest."""
    from tunesmith.data.editing import roll_back

    _say_new(roll_back(open_catalog(), open_version(name)), json=json)


@app.command(epilog='Example: tunesmith data describe support --description "Shop questions"')
def describe(
    name: NameArgument,
    description: Annotated[str | None, typer.Option(help="What it is, for people.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A word to find it by; repeatable.")] = None,
    licence: Annotated[str | None, typer.Option(help="Under which terms it may be used.")] = None,
    language: Annotated[str | None, typer.Option(help="Such as zh, en.")] = None,
    role: Annotated[str | None, typer.Option(help="user or general.")] = None,
    json: JsonOption = False,
) -> None:
    """Change what is said about a dataset; its versions stay as they are."""
    if role not in (None, "user", "general"):
        raise InputError("--role is user or general.")
    catalog = open_catalog()
    catalog.open(name)
    about = catalog.describe(
        name, description=description, tags=tag, licence=licence, language=language, role=role
    )
    say_json(asdict(about)) if json else say(f"{name} described.")


@app.command(epilog="Example: tunesmith data delete support@2 --yes")
def delete(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a version, or a dataset with all its versions. This cannot be undone."""
    from tunesmith.data.store import parse_reference

    version = open_version(name)
    reference = parse_reference(name)
    assert reference is not None
    what = version.label if reference.version else f"{name} with all its versions"
    if not yes and not typer.confirm(f"Delete {what}?", err=True):
        raise typer.Exit(1)
    open_catalog().delete(reference)
    say(f"{what} deleted.")


@app.command(epilog="Example: tunesmith data verify support@2")
def verify(name: NameArgument) -> None:
    """Compare the files of a version with their checksums."""
    version = open_version(name)
    version.verify()
    say(f"{version.label}: {len(version.manifest.files)} files are as they were published.")


def _field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"'{text}' is no FIELD=TEXT.", hint='Such as: "answer=Yes."')
    if name != "record":
        return name, value
    import orjson

    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise InputError(f"record is no valid JSON: {error}.") from error


def _say_new(version: Version | None, *, json: bool) -> None:
    if json:
        say_json({"version": asdict(version.manifest) if version else None})
    elif version is None:
        say("No row changed; there is no new version.")
    else:
        say_published(version)
        before = f"{version.manifest.name}@{version.manifest.parent}"
        say(f"  what changed  {command_line('data', 'diff', before, version.label)}")
