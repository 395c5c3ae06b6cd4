"""`tunesmith models ...`: presets, imports, results, downloads."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

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
from tunesmith.cli.remote.tables import (
    LISTED,
    ago,
    is_looked_at,
    local,
    say_more,
    say_table,
    short_ids,
    width,
)
from tunesmith.cli.remote.waiting import shown
from tunesmith.cli.terminal import command_line, fold, printable, say, say_json, short_text, table
from tunesmith.cli.work import size
from tunesmith.errors import InputError
from tunesmith.schemas.models import LineageRead, ModelDetails

app = group("Models on the server: presets, imports, results of jobs.")
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Id, its beginning, or name.")]


@app.command("list", epilog="Example: tunesmith models list --kind adapter")
def list_(
    kind: Annotated[str | None, typer.Option("--kind", help="base, adapter or full.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="In name or description.")] = None,
    project: ProjectOption = None,
    all: AllOption = False,
    json: JsonOption = False,
) -> None:
    """Results of jobs and imports, newest first."""
    with connect() as client:
        project_id = names.project_id(client, project)
        found = client.models.list(kind=kind, text=text, project_id=project_id)
        models = list(islice(found, None if all else LISTED + 1))
    shown_ones = models if all else models[:LISTED]
    if json:
        return say_all(shown_ones)
    if not shown_ones:
        return say("No models yet. What there is to start from:\n  tunesmith models presets")
    rows = [
        (short, one.name, one.kind, one.base or "-", size(one.bytes), ago(one.created_at))
        for short, one in zip(short_ids([one.id for one in shown_ones]), shown_ones, strict=True)
    ]
    if is_looked_at():
        rows = [(*row[:3], short_text(row[3], 18), *row[4:]) for row in rows]
    say_table(("id", "name", "kind", "base", ">size", "made"), rows, wide=1)
    say_more(len(shown_ones), more=len(models) > len(shown_ones))
    return None


@app.command(epilog="Example: tunesmith models presets")
def presets(json: JsonOption = False) -> None:
    """Well-known models to start from, and how to choose."""
    with connect() as client:
        found = client.models.presets()
    if json:
        return say_json(document(found))
    rows = [
        (one.name, one.size, one.context_label, size(one.memory_bytes.get("lora", 0)), one.licence,
         "imported" if one.model_id else "")
        for one in found.data
    ]  # fmt: skip
    say_table(("name", ">size", ">context", ">for lora", "licence", ""), rows, wide=4)
    for line in found.guide:
        say()
        for part in fold(line, width() - 2, 5):
            say(part)
    return None


@app.command(epilog="Example: tunesmith models show ft:starter:shop")
def show(model: ModelArgument, json: JsonOption = False) -> None:
    """All that is known of one model."""
    with connect() as client:
        found = client.models.get(names.model_id(client, model))
    if json:
        return say_json(document(found))
    say(table(_facts(found)))
    methods: dict[str, list[str]] = {}
    for row in found.capabilities:
        if row.available:
            methods.setdefault(row.stage, []).append(row.method)
    if methods:
        say("\nCan be trained by:")
        say(table([(stage, ", ".join(names)) for stage, names in methods.items()]))
    for row in found.capabilities:
        if not row.available:
            say(f"  {row.stage} {row.method}: no: {short_text(row.reason, width() - 20)}")
    return None


@app.command(
    "import",
    epilog="Examples:\n\ntunesmith models import Qwen/Qwen3-0.6B\n\n"
    "tunesmith models import someone/tiny-model --github --revision v1.0\n\n"
    "tunesmith models import my-model --folder",
)
def import_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Id on a hub, or name of a folder.")],
    folder: Annotated[
        bool, typer.Option("--folder", help="A folder below `import` on the server.")
    ] = False,
    modelscope: Annotated[bool, typer.Option("--modelscope", help="From modelscope.cn.")] = False,
    github: Annotated[
        bool, typer.Option("--github", help="OWNER/REPOSITORY[/FOLDER] of GitHub.")
    ] = False,
    revision: Annotated[str, typer.Option("--revision", help="Branch, tag or commit.")] = "main",
    shown_name: Annotated[str | None, typer.Option("--name", help="What to call it here.")] = None,
    base: Annotated[str | None, typer.Option("--base", help="Of an adapter.")] = None,
    description: Annotated[str, typer.Option("--description", help="For people.")] = "",
    project: ProjectOption = None,
    shared: Annotated[bool, typer.Option("--shared", help="For every project.")] = False,
    json: JsonOption = False,
) -> None:
    """Bring a model to the server, from a hub or a folder there; checked before it can be used."""
    places = {"folder": folder, "modelscope": modelscope, "github": github}
    named = [place for place, is_named in places.items() if is_named]
    if len(named) > 1:
        raise InputError(f"--{named[0]} and --{named[1]} are two places: name one.")
    source = named[0] if named else None
    order = {"name": name, "source": source, "revision": revision, "description": description}
    order |= {"shown_name": shown_name, "base": base, "shared": shared}
    with connect() as client:
        order["project_id"] = names.project_id(client, project)
        goes_on = "The server goes on with the import; see `tunesmith models list`."
        with shown(stopped=goes_on) as on:
            made = client.models.bring(on.task, **order)
    if json:
        return say_json(document(made))
    say(f"Model {printable(made.name)} ({made.id}), {size(made.bytes)}.")
    say(
        f"\nTrain it:\n  {command_line('train', 'recipe.yaml', f'model.base={made.name}')} --remote"
    )
    return None


@app.command(
    epilog="Examples:\n\ntunesmith models describe my-model --task 'text QA'\n\n"
    "tunesmith models describe my-model --default training.learning_rate=5e-5 "
    "--default training.epochs=2"
)
def describe(
    model: ModelArgument,
    description: Annotated[str | None, typer.Option("--description", help="For people.")] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="text QA, text generation or custom.")
    ] = None,
    default: Annotated[
        list[str] | None,
        typer.Option(
            "--default",
            metavar="FIELD=VALUE",
            help="What forms are filled with for it, in place of what was named before; "
            "repeatable.",
        ),
    ] = None,
    no_defaults: Annotated[
        bool, typer.Option("--no-defaults", help="The model recommends nothing of its own.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Change what is said about a model, and the values that it recommends for trainings."""
    if no_defaults and default:
        raise InputError("--default and --no-defaults do not go together.")
    named = dict(_default(word) for word in default or ())
    wanted = {"description": description, "task": task}
    wanted |= {"defaults": named if default or no_defaults else None}
    changes = {key: value for key, value in wanted.items() if value is not None}
    if not changes:
        raise InputError("Nothing is named that shall change.", hint="Such as: --task custom")
    with connect() as client:
        told = client.models.update(names.model_id(client, model), **changes)
    return say_json(document(told)) if json else say(f"{printable(told.name)} described.")


@app.command(epilog="Example: tunesmith models files ft:starter:shop")
def files(model: ModelArgument, json: JsonOption = False) -> None:
    """The files of a model."""
    with connect() as client:
        found = client.models.files(names.model_id(client, model))
    if json:
        return say_all(found)
    rows = [(one.path, size(one.bytes), one.sha256[:12]) for one in found]
    say_table(("path", ">size", "sha256"), rows, wide=0)
    say(f"\n{len(found)} files, {size(sum(one.bytes for one in found))}.")
    return None


@app.command(epilog="Example: tunesmith models lineage ft:starter:shop")
def lineage(model: ModelArgument, json: JsonOption = False) -> None:
    """What a model was made of, and what was made of it."""
    with connect() as client:
        found = client.models.lineage(names.model_id(client, model))
    if json:
        return say_json(document(found))
    for line in _edges(found):
        say(short_text(line, width()))
    return None


@app.command(epilog="Example: tunesmith models download ft:starter:shop --to shop-model")
def download(
    model: ModelArgument,
    to: Annotated[
        Path | None, typer.Option("--to", help="A folder. Otherwise: the model's name.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """All files of a model into a folder; what is there already is not fetched again."""
    with connect() as client:
        found = client.models.get(names.model_id(client, model))
        folder = to or Path(_folder_name(found.name))
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file.", hint="Name a folder with --to.")
        with shown(stopped="Stopped; run it again to go on.") as on:
            client.models.download(found.id, folder, on_bytes=on.got)
    total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if json:
        return say_json({"model_id": found.id, "path": str(folder), "bytes": total})
    say(f"{printable(found.name)} is in {folder} ({size(total)}).")
    say(f"\nTalk to it:\n  {command_line('chat', _weights(folder))}")
    return None


@app.command(epilog="Example: tunesmith models delete ft:starter:shop --yes")
def delete(model: ModelArgument, yes: YesOption = False, json: JsonOption = False) -> None:
    """Remove a model with its files; refused while a job or a model needs it."""
    with connect() as client:
        found = client.models.get(names.model_id(client, model))
        confirm(f"Delete model {found.name} with its {size(found.bytes)}?", yes=yes)
        client.models.delete(found.id)
    return say_json({"deleted": [found.id]}) if json else say(f"Deleted {printable(found.name)}.")


def _weights(folder: Path) -> Path:
    """The folder of the adapter or of the model in what was downloaded."""
    found = (
        file.parent
        for name in ("adapter_config.json", "config.json")
        for file in sorted(folder.rglob(name))
    )
    return next(found, folder)


def _facts(model: ModelDetails) -> list[tuple[str, str]]:
    facts = [
        ("id", model.id),
        ("name", model.name),
        ("kind", model.kind),
        ("from", model.source),
        ("base", model.base),
        ("job", model.job_id or ""),
        ("parameters", model.size or ""),
        ("context", f"{model.context:,} tokens" if model.context else ""),
        ("size", size(model.bytes)),
        ("task", model.task),
        ("about", model.description),
        ("made", local(model.created_at)),
        ("project", model.project_id or "everybody's"),
    ]
    return [(name, short_text(value, width() - 16)) for name, value in facts if value]


def _edges(found: LineageRead) -> list[str]:
    """One line an edge: what led to what, and how."""
    called = {node.id: f"{node.kind.replace('_', ' ')} {node.name or node.id}" for node in
              found.nodes}  # fmt: skip
    if not found.edges:
        return [*called.values(), "", "Nothing is known of where it comes from."]
    return [
        f"{called.get(edge.source, edge.source)} --{edge.relation}--> "
        f"{called.get(edge.target, edge.target)}"
        for edge in found.edges
    ]


def _folder_name(name: str) -> str:
    """ft:starter:shop -> ft-starter-shop"""
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".-")
    return plain or "model"


def _default(word: str) -> tuple[str, Any]:
    path, equals, text = word.partition("=")
    if not equals:
        raise InputError(f"'{word}' is no FIELD=VALUE.", hint="Such as: training.epochs=2")
    return path, _value(text)


def _value(text: str) -> Any:
    """A number or a truth where the text is one; 5e-5 is a number, as in recipes."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)
