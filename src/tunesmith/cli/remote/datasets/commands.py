"""`tunesmith datasets ...`: files become rows on the server, which are looked at and mended."""

from __future__ import annotations

import json as json_library
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from tunesmith.cli.remote import names
from tunesmith.cli.remote.connecting import (
    AllOption,
    JsonOption,
    ProjectOption,
    YesOption,
    confirm,
    connect,
    document,
    group,
    say_all,
)
from tunesmith.cli.remote.rows import say_preview, say_report, say_rows, say_statistics
from tunesmith.cli.remote.tables import LISTED, ago, say_more, say_table, short_ids, width
from tunesmith.cli.remote.waiting import shown
from tunesmith.cli.terminal import command_line, printable, say, say_json, short_text, table
from tunesmith.cli.work import size
from tunesmith.errors import InputError
from tunesmith.schemas.datasets import ExportFormat
from tunesmith.sdk import Client

app = group("Datasets on the server: upload, look, check, edit, export.")
DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="Name or id.")]
VersionArgument = Annotated[
    str, typer.Argument(metavar="DATASET[@VERSION]", help="Name or id; the newest version.")
]
ModelOption = Annotated[str, typer.Option("--model", help="Whose tokens.")]
_FORMATS = ", ".join(get_args(ExportFormat))
GOES_ON = "The server goes on with it."


@app.command("list", epilog="Example: tunesmith datasets list")
def list_(
    text: Annotated[str | None, typer.Option("--text", help="In name or description.")] = None,
    project: ProjectOption = None,
    all: AllOption = False,
    json: JsonOption = False,
) -> None:
    """Datasets, newest first."""
    with connect() as client:
        found = client.datasets.list(text=text, project_id=names.project_id(client, project))
        datasets = list(islice(found, None if all else LISTED + 1))
    some = datasets if all else datasets[:LISTED]
    if json:
        return say_all(some)
    if not some:
        return say("No datasets yet. Send one:\n  tunesmith datasets upload rows.jsonl")
    rows = [
        (short, one.name, str(one.newest.number) if one.newest else "-",
         f"{one.newest.rows:,}" if one.newest else "-",
         size(one.newest.bytes) if one.newest else "-", one.role, ago(one.created_at))
        for short, one in zip(short_ids([one.id for one in some]), some, strict=True)
    ]  # fmt: skip
    say_table(("id", "name", ">version", ">rows", ">size", "role", "made"), rows, wide=1)
    say_more(len(some), more=len(datasets) > len(some))
    return None


@app.command(epilog="Example: tunesmith datasets upload support.jsonl --name support")
def upload(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files with rows.")],
    name: Annotated[str | None, typer.Option("--name", help="Otherwise: the first file's.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="DATASET", help="Add to this one instead.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="With --to: in the place of its rows.")
    ] = False,
    description: Annotated[str | None, typer.Option("--description", help="For people.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Repeatable.")] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Terms of use.")] = None,
    language: Annotated[str | None, typer.Option("--language", help="Such as zh, en.")] = None,
    role: Annotated[str | None, typer.Option("--role", help="user or general.")] = None,
    note: Annotated[str, typer.Option("--note", help="What is new in this version.")] = "",
    format: Annotated[
        str | None, typer.Option("--format", help="Where it is not recognised.")
    ] = None,
    prompt_field: Annotated[
        str | None, typer.Option("--prompt-field", help="Column of the question.")
    ] = None,
    response_field: Annotated[
        str | None, typer.Option("--response-field", help="Column of the answer.")
    ] = None,
    history_field: Annotated[
        str | None, typer.Option("--history-field", help="Column of earlier turns.")
    ] = None,
    system_field: Annotated[
        str | None, typer.Option("--system-field", help="Column of the system message.")
    ] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Such as gb18030.")] = None,
    near: Annotated[
        bool, typer.Option("--near/--no-near", help="Search nearly equal rows too.")
    ] = True,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Send files and make a dataset of them, or its next version; checked on the way.

    A broken connection is gone on with where it broke.
    """
    about = _given(description=description, tags=tag, licence=licence, language=language, role=role)
    mapping = _given(
        format=format,
        prompt_field=prompt_field,
        response_field=response_field,
        history_field=history_field,
        system_field=system_field,
    )
    if to is not None and (name is not None or about):
        raise InputError("--to adds to a dataset that has a name and all that is said about it.")
    missing = next((path for path in files if not path.is_file()), None)
    if missing is not None:
        raise InputError(f"There is no file {missing}; nothing was sent.", code="file_not_found")
    stopped = "Stopped. Nothing was made, unless the import had begun: that goes on."
    with connect() as client, shown(stopped=stopped) as on:
        options: dict[str, Any] = {"mapping": mapping, "note": note, "encoding": encoding}
        options |= {"near": near, "on_bytes": on.sent, "on_progress": on.task}
        if to is not None:
            number = client.datasets.add(
                names.dataset_id(client, to), *files, append=not replace, **options
            )
            made = client.datasets.get(names.dataset_id(client, to))
            if number is None and not json:
                say("No row is new; there is no new version.")
        else:
            project_id = names.project_id(client, project)
            called = name or files[0].name.partition(".")[0]
            made = client.datasets.upload(called, *files, project_id=project_id, **options, **about)
    if json:
        return say_json(document(made))
    assert made.newest is not None, "its import is through"
    label = f"{made.name}@{made.newest.number}"
    say(f"{printable(label)}: {made.newest.rows:,} rows, {size(made.newest.bytes)}.")
    say(f"  look at it   {command_line('datasets', 'rows', label)}")
    say(f"  what is odd  {command_line('datasets', 'check', label)}")
    say(f"  train on it  data.train: [{{dataset: {label}}}]")
    return None


@app.command(epilog="Example: tunesmith datasets fetch someone/questions --split train")
def fetch(
    hub_id: Annotated[str, typer.Argument(metavar="ID", help="Of a dataset on Hugging Face.")],
    name: Annotated[str | None, typer.Option("--name", help="Otherwise: end of the id.")] = None,
    revision: Annotated[str, typer.Option("--revision", help="Branch, tag or commit.")] = "main",
    split: Annotated[str, typer.Option("--split", help="Files with this word.")] = "train",
    files: Annotated[
        list[str] | None, typer.Option("--files", metavar="PATTERN", help="Repeatable.")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="Where it is not recognised.")
    ] = None,
    prompt_field: Annotated[
        str | None, typer.Option("--prompt-field", help="Column of the question.")
    ] = None,
    response_field: Annotated[
        str | None, typer.Option("--response-field", help="Column of the answer.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Terms of use.")] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Let the server fetch a dataset of a hub: its files, never its loading scripts."""
    mapping = _given(format=format, prompt_field=prompt_field, response_field=response_field)
    about = _given(name=name, licence=licence, files=files)
    with connect() as client, shown(stopped=GOES_ON) as on:
        about |= {"mapping": mapping, "project_id": names.project_id(client, project)}
        made = client.datasets.fetch(hub_id, on.task, revision=revision, split=split, **about)
    if json:
        return say_json(document(made))
    assert made.newest is not None, "its import is through"
    return say(f"{printable(made.name)}@{made.newest.number}: {made.newest.rows:,} rows.")


@app.command("import-info", epilog="Example: tunesmith datasets import-info data/dataset_info.json")
def import_info(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="dataset_info.json of LLaMA-Factory, or a zip.")
    ],
    only: Annotated[list[str] | None, typer.Option(help="One of its datasets; repeatable.")] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Send the datasets of a dataset_info.json, with a verdict on every key."""
    paths = [file] if file.suffix.lower() == ".zip" else _listed_files(file, only or [])
    with connect() as client, shown(stopped=GOES_ON) as on:
        project_id = names.project_id(client, project)
        options: dict[str, Any] = {"on_bytes": on.sent, "on_progress": on.task}
        found = client.datasets.import_listed(
            *paths, only=only or [], project_id=project_id, **options
        )
    if json:
        say_all(found)
    else:
        for each in found:
            rows_made = (each.task.result or {}).get("rows", 0) if each.task else 0
            told = f"not imported: {each.problem}" if each.problem else f"{rows_made:,} rows"
            say(f"{printable(each.name)}: {printable(told)}")
            for verdict in each.verdicts:
                words = verdict.model_dump().values()
                say("  " + printable("  ".join(str(word) for word in words if word)))
    raise typer.Exit(1 if any(each.problem for each in found) else 0)


@app.command(epilog="Example: tunesmith datasets show support")
def show(dataset: DatasetArgument, json: JsonOption = False) -> None:
    """A dataset and its versions."""
    with connect() as client:
        found = client.datasets.get(names.dataset_id(client, dataset))
        versions = list(client.datasets.versions(found.id))
    if json:
        told = [document(version) for version in versions]
        return say_json({**document(found), "versions": told})
    facts = [
        ("id", found.id),
        ("name", found.name),
        ("about", found.description),
        ("tags", ", ".join(found.tags)),
        ("licence", found.licence),
        ("language", found.language),
        ("role", found.role),
        ("project", found.project_id),
    ]
    say(table([(key, short_text(value, width() - 16)) for key, value in facts if value]))
    rows = [
        (str(one.number), f"{one.rows:,}", size(one.bytes), one.note or "-", ago(one.created_at))
        for one in versions
    ]
    say()
    return say_table((">version", ">rows", ">size", "note", "made"), rows, wide=3)


@app.command(epilog='Example: tunesmith datasets rows support --where "answer_length < 10"')
def rows(
    dataset: VersionArgument,
    where: Annotated[str, typer.Option("--where", help="A condition; see docs/data.md.")] = "",
    search: Annotated[str, typer.Option("--search", help="Text in a row.")] = "",
    sort: Annotated[str, typer.Option("--sort", help="A column.")] = "",
    descending: Annotated[bool, typer.Option("--descending", help="Largest first.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="Most rows.")] = LISTED,
    after: Annotated[int, typer.Option("--after", min=0, help="Go on behind this row.")] = 0,
    json: JsonOption = False,
) -> None:
    """Rows of a version."""
    with connect() as client:
        found, number = version_of(client, dataset)
        query: dict[str, Any] = {"where": where, "search": search, "sort": sort}
        query |= {"descending": descending, "limit": limit, "after": after}
        page = client.datasets.rows(found, number, **query)
    return say_json(document(page)) if json else say_rows(page)


@app.command(epilog="Example: tunesmith datasets preview support 17 --model starter")
def preview(
    dataset: VersionArgument,
    row: Annotated[int, typer.Argument(metavar="ROW", min=1, help="Id of a row.")] = 1,
    model: ModelOption = "starter",
    json: JsonOption = False,
) -> None:
    """One row as the model will see it: messages, tokens, what is learned."""
    with connect() as client:
        found, number = version_of(client, dataset)
        told = client.datasets.preview(found, number, row, model=model)
    return say_json(document(told)) if json else say_preview(told)


@app.command(epilog="Example: tunesmith datasets check support@2 --against holdout")
def check(
    dataset: VersionArgument,
    against: Annotated[
        str, typer.Option("--against", help="Also find rows that this one holds, too.")
    ] = "",
    model: Annotated[
        str | None, typer.Option("--model", help="Also look at rows as its tokens.")
    ] = None,
    openai: Annotated[bool, typer.Option("--openai", help="By the rules of OpenAI.")] = False,
    near: Annotated[bool, typer.Option("--near/--no-near", help="Nearly equal rows.")] = True,
    json: JsonOption = False,
) -> None:
    """Look for what is wrong in a version."""
    wanted = {"against": against, "model": model, "near": near}
    wanted["profile"] = "openai" if openai else ""
    with connect() as client:
        found, number = version_of(client, dataset)
        with shown(stopped=GOES_ON) as on:
            report = client.datasets.check(found, number, on.task, **wanted)
    return say_json(report) if json else say_report(report)


@app.command(epilog="Example: tunesmith datasets stats support --model starter")
def stats(
    dataset: VersionArgument,
    model: ModelOption = "starter",
    max_length: Annotated[
        int | None, typer.Option("--max-length", min=1, help="Longest row of a training.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Lengths in tokens, and what they mean for max_length."""
    wanted: dict[str, Any] = {"model": model}
    if max_length is not None:
        wanted["max_length"] = max_length
    with connect() as client:
        found, number = version_of(client, dataset)
        with shown(stopped=GOES_ON) as on:
            facts = client.datasets.statistics(found, number, on.task, **wanted)
    return say_json(facts) if json else say_statistics(facts)


@app.command(
    epilog="Examples:\n\ntunesmith datasets edit support --remove 17 --remove 23\n\n"
    "tunesmith datasets edit support --replace Acme Globex\n\n"
    "tunesmith datasets edit support --change 17 answer 'We answer within a day.'"
)
def edit(
    dataset: DatasetArgument,
    remove: Annotated[list[int] | None, typer.Option("--remove", help="A row; repeatable.")] = None,
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="CONDITION", help="Only such rows stay.")
    ] = None,
    replace: Annotated[
        tuple[str, str] | None, typer.Option("--replace", metavar="OLD NEW", help="In all texts.")
    ] = None,
    change: Annotated[
        tuple[int, str, str] | None,
        typer.Option("--change", metavar="ROW FIELD TEXT", help="question, answer, system, text."),
    ] = None,
    add: Annotated[
        Path | None, typer.Option("--add", metavar="FILE.jsonl", help="Up to 1,000 rows.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="The mends that can do no harm.")] = False,
    roll_back: Annotated[
        int | None, typer.Option("--roll-back", metavar="VERSION", help="An older one again.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Change a dataset: the result is its next version, the old ones stay."""
    wanted = {
        "remove": {"rows": remove} if remove else None,
        "keep": {"where": keep} if keep is not None else None,
        "replace": {"find": replace[0], "new": replace[1]} if replace else None,
        "change": _changes(change) if change else None,
        "add": {"rows": _rows_of(add)} if add is not None else None,
        "fix": {} if fix else None,
        "roll_back": {"version": roll_back} if roll_back is not None else None,
    }
    chosen = [(name, body) for name, body in wanted.items() if body is not None]
    if len(chosen) != 1:
        raise InputError(
            "Name one change." if not chosen else "One change at a time: each is a version.",
            hint="--remove, --keep, --replace, --change, --add, --fix or --roll-back.",
        )
    [(name, body)] = chosen
    with connect() as client:
        found = names.dataset_id(client, dataset)
        base = None if name == "roll_back" else client.datasets.newest(found)
        with shown(stopped=GOES_ON) as on:
            done = client.datasets.edit(found, {"operation": name, **body}, base, on.task)
    if json:
        return say_json(document(done))
    if done.version is None:
        return say("No row was changed; there is no new version.")
    label = f"{dataset.partition('@')[0]}@{done.version.number}"
    told = ", ".join(f"{what} {count:,}" for what, count in done.counts.items()
                     if isinstance(count, int))  # fmt: skip
    return say(f"{printable(label)}: {done.version.rows:,} rows{f' ({told})' if told else ''}.")


@app.command(epilog="Example: tunesmith datasets export support@2 --to support.csv --format csv")
def export(
    dataset: VersionArgument,
    to: Annotated[Path, typer.Option("--to", help="The file to write.")],
    format: Annotated[str | None, typer.Option("--format", help=f"{_FORMATS}.")] = None,
    lossy: Annotated[
        bool, typer.Option("--lossy", help="Go on where the format cannot hold everything.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a version to a file here."""
    endings = {".csv": "csv", ".xlsx": "xlsx", ".parquet": "parquet", ".json": "alpaca"}
    chosen = format or endings.get(to.suffix, "jsonl")
    if to.is_dir() or (to.exists() and not force):
        raise InputError(f"{to} is there already.", hint="Name another file, or add --force.")
    with connect() as client:
        found, number = version_of(client, dataset)
        with shown() as on:
            options: dict[str, Any] = {"format": chosen, "lossy": lossy}
            options |= {"on_progress": on.task, "on_bytes": on.got}
            written = client.datasets.export(found, number, to, **options)
    told = {"path": str(to), "format": chosen, "bytes": written}
    return say_json(told) if json else say(f"{to}: {size(written)} as {chosen}")


@app.command(epilog="Example: tunesmith datasets delete support@1 --yes")
def delete(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET[@VERSION]", help="With all versions, or one of them.")
    ],
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Remove a dataset or one version; refused while a job or a model needs it."""
    with connect() as client:
        if "@" in dataset:
            found_id, number = version_of(client, dataset)
            confirm(f"Delete version {number} of {dataset.rpartition('@')[0]}?", yes=yes)
            client.datasets.delete_version(found_id, number)
            told = f"{found_id}@{number}"
            return say_json({"deleted": [told]}) if json else say(f"Deleted {printable(dataset)}.")
        found = client.datasets.get(names.dataset_id(client, dataset))
        confirm(f"Delete dataset {found.name} with {found.num_versions} versions?", yes=yes)
        client.datasets.delete(found.id)
    return say_json({"deleted": [found.id]}) if json else say(f"Deleted {printable(found.name)}.")


@app.command(epilog="Example: tunesmith datasets mixing support:2 builtin:general --general 0.2")
def mixing(
    datasets: Annotated[
        list[str], typer.Argument(metavar="DATASET[:RATE]...", help="Rate: 1 is each row once.")
    ],
    general: Annotated[
        float, typer.Option("--general", min=0, help="Rows of general corpora for each other row.")
    ] = 0.2,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """How many rows of each dataset one epoch draws."""
    parts = [_part(word) for word in datasets]
    with connect() as client:
        project_id = names.project_id(client, project)
        told = client.datasets.mixing_plan(parts, general_ratio=general, project_id=project_id)
    if json:
        return say_json(told)
    table_rows = [
        (one["name"], one["role"], f"{one['rows_available']:,}", f"{one['rows_drawn']:,}",
         f"{one['rate']:.2f}", f"{one['share']:.1f}%")
        for one in told["datasets"]
    ]  # fmt: skip
    say_table(("dataset", "role", ">has", ">drawn", ">rate", ">share"), table_rows, wide=0)
    say(f"\n{told['rows']:,} rows an epoch.")
    if told["general_missing"]:
        say(f"The general corpora have {told['general_missing']:,} rows too few for {general:g}.")
    return None


def version_of(client: Client, word: str) -> tuple[str, int]:
    """The id of a dataset and the number of a version: NAME is the newest, NAME@2 the second."""
    name, at, number = word.rpartition("@")
    if at and number.isdecimal() and int(number) > 0:
        return names.dataset_id(client, name), int(number)
    if at:
        raise InputError(
            f"{printable(word)} names no version.", hint=f"It looks like {printable(name)}@2."
        )
    found = names.dataset_id(client, word)
    return found, client.datasets.newest(found)


def _listed_files(file: Path, only: list[str]) -> list[Path]:
    """The list and the files beside it that it names; what is not there is told by the server."""
    try:
        entries: Any = json_library.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"{file} is no JSON: {error}.") from error
    found = [file]
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        told = entry.get("file_name") if isinstance(entry, dict) else None
        if isinstance(told, str) and (not only or name in only):
            path = file.parent / told
            is_inside = path.resolve().is_relative_to(file.parent.resolve())
            found += [path] if is_inside and path.is_file() and path not in found else []
    return found


def _given(**named: Any) -> dict[str, Any]:
    return {name: value for name, value in named.items() if value is not None}


def _changes(change: tuple[int, str, str]) -> dict[str, Any]:
    row, field, text = change
    return {"changes": [{"row": row, "fields": {field: text}}]}


def _rows_of(path: Path) -> list[Any]:
    """The rows of a file of lines; what is no JSON is told with its line."""
    found: list[Any] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", code="file_not_found") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                found.append(json_library.loads(line))
            except json_library.JSONDecodeError as error:
                raise InputError(f"{path} line {number} is no JSON: {error}.") from error
    return found


def _part(word: str) -> dict[str, Any]:
    """support:2 -> support at rate 2; the colon of builtin:shop is none of ours."""
    name, colon, rate = word.rpartition(":")
    try:
        return {"dataset": name, "sampling_rate": float(rate)} if colon else {"dataset": word}
    except ValueError:
        return {"dataset": word}
