"""The commands of `tunesmith data`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.data.reading import (
    EncodingOption,
    FormatOption,
    HistoryOption,
    JsonOption,
    ModelOption,
    NameArgument,
    PromptOption,
    ResponseOption,
    SubjectArgument,
    SystemOption,
    cache_folder,
    open_catalog,
    open_files,
    open_subject,
    open_version,
    wanted_rows,
)
from tunesmith.cli.language import chinese, language
from tunesmith.cli.terminal import command_line, say, say_json, warn
from tunesmith.cli.work import progress
from tunesmith.errors import InputError

if TYPE_CHECKING:
    from tunesmith.data.check.check import Report
    from tunesmith.data.expression import Condition
    from tunesmith.data.store import Version

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Bring data in, see what the model will see, mend it, take it out.",
)


# ---------------------------------------------------------------- in


@app.command("import", epilog="Example: tunesmith data import support.xlsx --name support")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files or folders.")],
    name: Annotated[str, typer.Option("--name", help="Name of the dataset.")],
    description: Annotated[str | None, typer.Option(help="What it is, for people.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A word to find it by; repeatable.")] = None,
    licence: Annotated[str | None, typer.Option(help="Under which terms it may be used.")] = None,
    language: Annotated[str | None, typer.Option(help="Such as zh, en.")] = None,
    role: Annotated[
        str | None, typer.Option(help="general for a corpus that is mixed with others.")
    ] = None,
    note: Annotated[str, typer.Option(help="What is new in this version.")] = "",
    format: FormatOption = None,
    prompt_field: PromptOption = None,
    response_field: ResponseOption = None,
    history_field: HistoryOption = None,
    system_field: SystemOption = None,
    encoding: EncodingOption = None,
    near: Annotated[
        bool, typer.Option("--near/--no-near", help="Search nearly equal rows too.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Publish files as the next version of a dataset, checked on the way.

    Rows that cannot be used are kept beside the version, each with its line and the reason.
    """
    from tunesmith.data.check.inspect import Wanted
    from tunesmith.data.importing import import_files
    from tunesmith.data.pool import num_processes

    if role not in (None, "user", "general"):
        raise InputError("--role is user or general.")
    fields = (format, prompt_field, response_field, history_field, system_field)
    subject = open_files(files, wanted_rows(str(files[0]), *fields), encoding)
    catalog = open_catalog()
    with progress() as on_progress:
        done = import_files(
            catalog,
            name,
            subject,
            wanted=Wanted(near=near),
            processes=num_processes(),
            on_progress=on_progress,
            note=note,
        )
    catalog.describe(
        name, description=description, tags=tag, licence=licence, language=language, role=role
    )
    if json:
        say_json({"version": asdict(done.version.manifest), "report": done.report.to_json()})
        return
    _say_report(done.report, places=3)
    say_published(done.version)
    say(f"  look at it   {command_line('data', 'preview', done.version.label)}")
    say(f"  train on it  data.train: [{{dataset: {done.version.label}}}]")


@app.command("import-info", epilog="Example: tunesmith data import-info data/dataset_info.json")
def import_info(
    file: Annotated[Path, typer.Argument(metavar="dataset_info.json", help="Of LLaMA-Factory.")],
    only: Annotated[list[str] | None, typer.Option(help="One of its datasets; repeatable.")] = None,
    json: JsonOption = False,
) -> None:
    """Import the datasets of a LLaMA-Factory dataset_info.json, with a verdict on every key.

    Loading scripts are never run and nothing is downloaded; such entries are named and left out.
    """
    from tunesmith.data.check.inspect import Wanted
    from tunesmith.data.dataset_info import read_datasets
    from tunesmith.data.importing import import_files
    from tunesmith.data.pool import num_processes

    listed = read_datasets(file)
    unknown = sorted(set(only or ()) - {dataset.name for dataset in listed})
    if unknown:
        known = ", ".join(dataset.name for dataset in listed)
        raise InputError(f"{file} lists no dataset '{unknown[0]}'.", hint=f"It lists: {known}.")
    told: list[dict[str, Any]] = []
    for dataset in listed:
        if only and dataset.name not in only:
            continue
        entry: dict[str, Any] = {"name": dataset.name, "problem": dataset.problem}
        entry["verdicts"] = [asdict(verdict) for verdict in dataset.verdicts]
        if dataset.wanted is not None:
            try:
                subject = open_files([Path(dataset.wanted.dataset)], dataset.wanted, None)
                with progress() as on_progress:
                    done = import_files(
                        open_catalog(),
                        dataset.name,
                        subject,
                        wanted=Wanted(near=False),
                        processes=num_processes(),
                        on_progress=on_progress,
                    )
                entry |= {"version": done.version.label, "rows": done.version.manifest.rows}
            except InputError as error:
                entry["problem"] = error.message
        told.append(entry)
    if json:
        say_json(told)
    else:
        _say_listed(told)
    raise typer.Exit(1 if any(entry["problem"] for entry in told) else 0)


@app.command(epilog="Example: tunesmith data add support more.jsonl")
def add(
    name: NameArgument,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files or folders.")],
    format: FormatOption = None,
    prompt_field: PromptOption = None,
    response_field: ResponseOption = None,
    encoding: EncodingOption = None,
    json: JsonOption = False,
) -> None:
    """A new version with the rows of more files behind those there are."""
    from tunesmith.data.editing import add_files
    from tunesmith.data.pool import num_processes

    wanted = wanted_rows(str(files[0]), format, prompt_field, response_field)
    subject = open_files(files, wanted, encoding)
    with progress() as on_progress:
        version, report = add_files(
            open_catalog(),
            open_version(name),
            subject,
            processes=num_processes(),
            on_progress=on_progress,
        )
    if json:
        say_json({"version": asdict(version.manifest), "report": report.to_json()})
        return
    _say_report(report, places=3)
    say_published(version)


# ---------------------------------------------------------------- look


@app.command(epilog="Example: tunesmith data check support.jsonl --model Qwen/Qwen3-0.6B")
def check(
    subject: SubjectArgument,
    model: Annotated[
        str | None, typer.Option(help="Check tokens too, with this model's tokenizer.")
    ] = None,
    max_length: Annotated[int, typer.Option(help="For --model: the longest row in tokens.")] = 1024,
    against: Annotated[
        str | None, typer.Option(help="Another file or dataset: find rows that both hold.")
    ] = None,
    profile: Annotated[str, typer.Option(help="openai adds the rules of OpenAI's API.")] = "",
    near: Annotated[
        bool, typer.Option("--near/--no-near", help="Search nearly equal rows too.")
    ] = True,
    places: Annotated[int, typer.Option(help="Lines shown for each finding.")] = 3,
    format: FormatOption = None,
    prompt_field: PromptOption = None,
    response_field: ResponseOption = None,
    history_field: HistoryOption = None,
    system_field: SystemOption = None,
    encoding: EncodingOption = None,
    json: JsonOption = False,
) -> None:
    """Report what is wrong, by line and field. The exit code is 1 when errors are found."""
    from tunesmith.data.check.check import check as run_check
    from tunesmith.data.check.inspect import Wanted
    from tunesmith.data.check.tokens import check_tokens
    from tunesmith.data.pool import num_processes

    if profile not in ("", "openai"):
        raise InputError(f"There is no profile '{profile}'.", hint="Known: openai.")
    fields = (format, prompt_field, response_field, history_field, system_field)
    found = open_subject(subject, wanted_rows(subject, *fields), encoding)
    other = open_subject(against, wanted_rows(against), encoding) if against else None
    renderer = _renderer(model) if model else None
    with progress() as on_progress:
        report = run_check(
            found,
            Wanted(near=near, openai="any" if profile == "openai" else None),
            processes=num_processes(),
            on_progress=on_progress,
            against=other,
        )
        if renderer is not None:
            check_tokens(
                found,
                renderer,
                max_length,
                report,
                cache_dir=cache_folder(),
                on_progress=on_progress,
            )
    if json:
        say_json(report.to_json(language()))
    else:
        _say_report(report, places=places)
    raise typer.Exit(1 if report.errors else 0)


@app.command(
    epilog="Example: tunesmith data stats support --model Qwen/Qwen3-0.6B --png lengths.png"
)
def stats(
    subject: SubjectArgument,
    model: ModelOption = "starter",
    max_length: Annotated[
        int | None,
        typer.Option(help="Count an epoch at this length; the recommended one if empty."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="For token_num.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="For token_num.")] = 8,
    png: Annotated[Path | None, typer.Option(help="Write the histograms to this picture.")] = None,
    format: FormatOption = None,
    prompt_field: PromptOption = None,
    response_field: ResponseOption = None,
    history_field: HistoryOption = None,
    system_field: SystemOption = None,
    encoding: EncodingOption = None,
    json: JsonOption = False,
) -> None:
    """Lengths in tokens, which max_length to take, and what an epoch will cost."""
    from tunesmith.data.lengths import measure
    from tunesmith.data.stats import Plan, statistics

    fields = (format, prompt_field, response_field, history_field, system_field)
    wanted = wanted_rows(subject, *fields)
    found = open_subject(subject, wanted, encoding)
    with progress() as on_progress:
        lengths = measure(
            found,
            _renderer(model),
            cache_dir=cache_folder(),
            on_progress=on_progress,
            max_length=max_length,
        )
    facts = {"subject": found.name, "model": model}
    facts |= statistics(lengths, Plan(epochs, batch_size), max_length)
    if png is not None:
        from tunesmith.data.pictures import length_picture

        length_picture(facts, png)
    if json:
        say_json(facts)
        return
    from tunesmith.cli.data.told import statistics_lines

    say("\n".join(statistics_lines(f"{found.name}, tokens of {model}", facts)))
    if png is not None:
        say(f"\n{png} written.")


@app.command(epilog="Example: tunesmith data preview support.jsonl --row 7 --model Qwen/Qwen3-0.6B")
def preview(
    subject: SubjectArgument,
    row: Annotated[
        int, typer.Option(min=1, help="Which row: counted from 1 in a file, its id in a dataset.")
    ] = 1,
    line: Annotated[
        int | None, typer.Option(min=1, help="Instead of --row: the line that `check` names.")
    ] = None,
    model: ModelOption = "starter",
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Mark where a row of this many tokens is cut.")
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens/--no-tokens", help="Show tokens.")] = True,
    format: FormatOption = None,
    prompt_field: PromptOption = None,
    response_field: ResponseOption = None,
    history_field: HistoryOption = None,
    system_field: SystemOption = None,
    encoding: EncodingOption = None,
    json: JsonOption = False,
) -> None:
    """One row as messages and as the tokens that the model gets; learned ones are coloured."""
    from tunesmith.data.preview import preview_row

    fields = (format, prompt_field, response_field, history_field, system_field)
    wanted = wanted_rows(subject, *fields)
    found = open_subject(subject, wanted, encoding)
    shown = preview_row(
        found, line or row, _renderer(model), max_length=max_length, by_line=line is not None
    )
    if json:
        say_json(shown.to_json())
        return
    from tunesmith.cli.data.told import preview_lines

    say("\n".join(preview_lines(shown, tokens=tokens)))


@app.command("list", epilog="Example: tunesmith data list")
def list_(json: JsonOption = False) -> None:
    """All datasets with their newest versions."""
    from tunesmith.cli.data.told import dataset_table

    catalog = open_catalog()
    entries = [(catalog.about(name), catalog.open(name)) for name in catalog.names()]
    if json:
        say_json([{**asdict(about), "newest": asdict(v.manifest)} for about, v in entries])
    elif entries:
        say("\n".join(dataset_table(entries)))
    else:
        say("No datasets yet. Import one: tunesmith data import FILE --name NAME")


@app.command(epilog='Example: tunesmith data show support --where "answer_length < 10" --limit 5')
def show(
    name: NameArgument,
    where: Annotated[str | None, typer.Option(help="Only rows that meet this condition.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows to show.")] = 0,
    json: JsonOption = False,
) -> None:
    """A dataset with its versions; with --where or --limit, rows of it with their ids."""
    from tunesmith.cli.data.told import version_lines
    from tunesmith.data.store import parse_reference

    version = open_version(name)
    if where is not None or limit:
        _say_rows(version, where, limit or 20, json=json)
        return
    catalog = open_catalog()
    reference = parse_reference(name)
    assert reference is not None
    numbers = catalog.versions(reference.name)
    wanted = [reference.version] if reference.version else numbers
    versions = [catalog.open(f"{reference.name}@{number}") for number in wanted]
    about = catalog.about(reference.name)
    if json:
        say_json({**asdict(about), "versions": [asdict(v.manifest) for v in versions]})
    else:
        say("\n".join(version_lines(about, versions)))


@app.command(epilog="Example: tunesmith data diff support@1 support@2")
def diff(before: NameArgument, after: NameArgument, json: JsonOption = False) -> None:
    """Rows added, removed and changed between two versions."""
    from tunesmith.cli.data.told import diff_lines
    from tunesmith.data.diff import diff as compare

    facts = compare(open_version(before), open_version(after)).to_json()
    if json:
        say_json(facts)
    else:
        say("\n".join(diff_lines(facts)))


# ---------------------------------------------------------------- out


@app.command(epilog="Example: tunesmith data export support --format openai --out support.jsonl")
def export(
    subject: SubjectArgument,
    format: Annotated[
        str, typer.Option(help="jsonl, csv, xlsx, parquet, alpaca, sharegpt or openai.")
    ] = "jsonl",
    out: Annotated[
        Path | None, typer.Option(help="The file; NAME-VERSION.SUFFIX if empty.")
    ] = None,
    lossy: Annotated[
        bool, typer.Option("--lossy", help="Write what the format holds; count what it does not.")
    ] = False,
    prompt_field: PromptOption = None,
    response_field: ResponseOption = None,
    history_field: HistoryOption = None,
    system_field: SystemOption = None,
    encoding: EncodingOption = None,
    json: JsonOption = False,
) -> None:
    """Write a version, or a file in another format, to a file that other programs read.

    An import of it gives the same rows; what the format cannot hold is refused, by kind.
    """
    from tunesmith.cli.data.told_export import export_lines
    from tunesmith.data.exporting import FORMATS, SUFFIXES, export_subject

    if format not in FORMATS:
        raise InputError(f"There is no format '{format}'.", hint=f"Known: {', '.join(FORMATS)}.")
    fields = (prompt_field, response_field, history_field, system_field)
    found = open_subject(subject, wanted_rows(subject, None, *fields), encoding)
    stem = Path(found.name.replace("@", "-")).stem if out is None else ""
    path = out or Path(f"{stem}-{format}{SUFFIXES.get(format, f'.{format}')}")
    with progress() as on_progress:
        done = export_subject(found, format, path, lossy=lossy, on_progress=on_progress)
    if json:
        say_json({"file": str(path), **asdict(done)})
        return
    say("\n".join(export_lines(path, done)))


# ---------------------------------------------------------------- helpers


def _renderer(model: str) -> Any:
    from tunesmith.cli.tokenizers import renderer_of

    return renderer_of(model)


def _say_listed(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        published = f"{entry['version']}, {entry['rows']:,} rows" if "version" in entry else ""
        say(f"{entry['name']}: {published or 'not imported: ' + entry['problem']}")
        for verdict in entry["verdicts"]:
            say("  " + "  ".join(str(value) for value in verdict.values() if value))


def _say_report(report: Report, *, places: int) -> None:
    from tunesmith.cli.data.told import report_lines

    say("\n".join(report_lines(report, chinese=chinese(), places=places)))


def say_published(version: Version) -> None:
    rejected = version.manifest.rejected
    beside = f"; {rejected:,} rejected rows lie in {version.rejected}" if rejected else ""
    say(f"\n{version.label} published: {version.manifest.rows:,} rows{beside}")


def warn_of_shadowed(condition: Condition, version: Version) -> None:
    """Say which columns of the data a condition does not mean though it names them."""
    from tunesmith.data.editing import columns_beside, shadowed

    for name in shadowed(condition, columns_beside(version)):
        warn(
            f"'{name}' in the condition is the row's own {name}, not the column of that name.",
            f'The column is col("{name}").',
        )


def _say_rows(version: Version, where: str | None, limit: int, *, json: bool) -> None:
    from tunesmith.cli.terminal import columns, short_text
    from tunesmith.data.editing import columns_beside, values_of
    from tunesmith.data.expression import Condition
    from tunesmith.data.store.rows import stored_rows

    condition = Condition(where) if where else None
    beside = columns_beside(version) if where else []
    if condition is not None:
        warn_of_shadowed(condition, version)
    shown: list[Any] = []
    for row in stored_rows(version.batches()):
        if len(shown) == limit:
            break
        if condition is None or condition(values_of(row, beside)):
            shown.append(row)
    if json:
        say_json([row.to_json() for row in shown])
        return
    for row in shown:
        values = values_of(row)
        question = short_text(values["question"] or values["text"], 45)
        room = " " * (45 - columns(question))
        say(f"{row.id:>8}  {question}{room}  {short_text(values['answer'], 60)}")
    say(f"{len(shown)} rows" + (" (more may follow: --limit)" if len(shown) == limit else ""))
