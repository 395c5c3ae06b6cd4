"""A recipe with files of this machine becomes a job of the server. Read `submit` first.

Files go up as versions of datasets that are called after them (`support.jsonl`). A version notes
the hash of what it was made of, so what is there already is not sent again.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from tunesmith.cli.remote.connecting import connect, document
from tunesmith.cli.remote.following import follow_and_report
from tunesmith.cli.remote.waiting import shown
from tunesmith.cli.submit import refuse_all
from tunesmith.cli.terminal import command_line, say, say_json, warn
from tunesmith.data.names import is_builtin
from tunesmith.data.readers import READERS
from tunesmith.data.readers.sources import file_type
from tunesmith.data.store.catalog import is_name
from tunesmith.errors import DataError, ModelError, TunesmithError
from tunesmith.recipe import Notice
from tunesmith.recipe.load import examine
from tunesmith.schemas.datasets import Mapping
from tunesmith.schemas.jobs import JobSubmitted
from tunesmith.schemas.recipes import NoticeRead
from tunesmith.sdk import ApiError, Client
from tunesmith.sdk.files import sha256

_COLUMNS: Final = frozenset(Mapping.model_fields)
_NOTE: Final = "Sent with a recipe, sha256 "


@dataclass
class Sent:
    """What becomes a job: a recipe in which datasets of the server stand for files.

    `found`: each place of the recipe that names a dataset, with the file here that it means.
    """

    recipe: dict[str, Any]
    notices: tuple[Notice, ...]
    found: list[tuple[dict[str, Any], Path | None]] = field(
        default_factory=list[tuple[dict[str, Any], "Path | None"]]
    )
    files: dict[str, str] = field(default_factory=dict[str, str])  # path -> name@version


def submit(
    client: Client,
    path: Path,
    overrides: Sequence[str],
    *,
    project_id: str | None = None,
    quiet: bool = False,
    **about: Any,
) -> JobSubmitted:
    """Check the recipe here, send what it needs, queue the job."""
    sent = read(path, overrides)
    _refuse_model_folder(client, sent.recipe, path.absolute().parent)
    _upload_all(client, sent, project_id, quiet=quiet)
    body = {name: value for name, value in about.items() if value is not None}
    made = client.jobs.create(recipe=sent.recipe, project_id=project_id, **body)
    return made.model_copy(update={"notices": [*_said_here(sent, made), *made.notices]})


def _said_here(sent: Sent, made: JobSubmitted) -> list[NoticeRead]:
    """What only the file said, such as another system's output_dir: the server never saw it."""
    known = {(each.code, each.field) for each in made.notices}
    return [
        NoticeRead(code=each.code, message=each.message, hint=_hint(each), field=each.path)
        for each in sent.notices
        if (each.code, each.path) not in known
    ]


def _hint(notice: Notice) -> str:
    """A folder for the run can be named for a training on this machine only."""
    if notice.code != "output_place":
        return notice.hint
    return f"Get the result when the job is done: {command_line('models', 'download', 'MODEL')}"


def train_remotely(path: Path, overrides: Sequence[str], *, quiet: bool, json: bool) -> int:
    """`tunesmith train --remote`: submit, watch, say how to get the result; the exit code."""
    with connect() as client:
        job = submit(client, path, overrides, quiet=quiet or json)
        for notice in job.notices:
            warn(notice.message, notice.hint)
        if not quiet and not json:
            say(f"Job {job.id} on {client.base_url}")
        told = {notice.message for notice in job.notices}
        code = follow_and_report(client, job.id, quiet=quiet, json=json, told=told)
        if json:
            say_json(document(client.jobs.get(job.id)))
    return code


def read(path: Path, overrides: Sequence[str]) -> Sent:
    """A recipe as it was asked for, checked but for what only the server knows."""
    loaded = examine(path, list(overrides))
    asked = loaded.recipe.model_dump(mode="json", exclude_unset=True)
    sent, missing = Sent(asked, loaded.notices), dict[str, TunesmithError]()
    for section, source in sources(asked):
        place = f"{section}.dataset"
        try:
            found = _local(source["dataset"], place, path.absolute().parent)
        except DataError as error:
            missing[place] = error
        else:
            sent.found.append((source, found))
    refuse_all(str(path), loaded, missing)
    return sent


def sources(recipe: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dataset that a recipe names, with its place."""
    data: dict[str, Any] = recipe.get("data") or {}
    for number, source in enumerate(data.get("train") or []):
        yield f"data.train.{number}", source
    for part in ("validation", "test"):
        section = data.get(part)
        if isinstance(section, dict) and "dataset" in section:
            yield f"data.{part}", section


def _upload_all(client: Client, sent: Sent, project_id: str | None, *, quiet: bool) -> None:
    """All files were looked for before the first one is sent."""
    for source, path in sent.found:
        if path is None:
            continue
        mapping = {key: source.pop(key) for key in list(source) if key in _COLUMNS}
        source["dataset"] = _as_version(client, path, mapping, project_id, quiet=quiet)
        sent.files[str(path)] = source["dataset"]


def dataset_on_server(
    client: Client, name: str, project_id: str | None = None, *, quiet: bool = False
) -> str:
    """What the server calls a dataset of its own, or a file of this machine, which is sent."""
    path = _local(name, "--data", Path.cwd())
    return name if path is None else _as_version(client, path, {}, project_id, quiet=quiet)


def _local(name: str, place: str, base: Path) -> Path | None:
    """The file or folder that a dataset is here; None for what the server knows by name."""
    if is_builtin(name):
        return None
    path = Path(name).expanduser()
    for candidate in (base / path, Path.cwd() / path):
        if candidate.exists():
            return candidate
    if _looks_like_path(name):
        raise DataError(
            f"{place}: there is no file {base / path}.",
            hint="A relative path starts at the recipe's folder, or at the current one.",
            code="dataset_not_found",
        )
    return None


def _looks_like_path(name: str) -> bool:
    return "/" in name or "\\" in name or name.startswith("~") or file_type(Path(name)) in READERS


def _as_version(
    client: Client, path: Path, mapping: dict[str, Any], project_id: str | None, *, quiet: bool
) -> str:
    """NAME@VERSION on the server with what the file has, sent if it is not there yet."""
    files, name = _files(path), dataset_name(path)
    note = _NOTE + fingerprint(files, mapping)
    there = client.datasets.find(name, project_id)
    if there is not None:
        versions = client.datasets.versions(there.id)
        known = next((each.number for each in versions if each.note == note), None)
        if known is not None:
            _tell(f"{path.name} is there already: {name}@{known}", quiet=quiet)
            return f"{name}@{known}"
    with shown(stopped="Stopped; no job was made.") as on:
        options: dict[str, Any] = {"mapping": mapping, "note": note}
        options |= {"on_bytes": on.sent, "on_progress": on.task}
        if there is None:
            client.datasets.upload(name, *files, project_id=project_id, **options)
            number = 1
        else:
            number = client.datasets.add(there.id, *files, append=False, **options)
            number = number or client.datasets.newest(there.id)
    _tell(f"{path.name} was sent: {name}@{number}", quiet=quiet)
    return f"{name}@{number}"


def fingerprint(files: Sequence[Path], mapping: dict[str, Any]) -> str:
    """A hash of bytes, and of how they are read."""
    told = [[sha256(file) for file in files], sorted(mapping.items())]
    return hashlib.sha256(orjson.dumps(told)).hexdigest()[:24]


def dataset_name(path: Path) -> str:
    """The name of a file as the name of a dataset."""
    name = re.sub(r"[^\w.-]+", "-", path.name).strip("-._")[:100]
    return name if is_name(name) else f"data-{name}"[:100].rstrip("-._")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(each for each in path.iterdir() if file_type(each) in READERS)
    if not files:
        raise DataError(
            f"{path} has no file of rows.",
            hint=f"Known types: {', '.join(sorted(READERS))}.",
            code="no_files",
        )
    return files


def _refuse_model_folder(client: Client, recipe: dict[str, Any], base: Path) -> None:
    """A folder here is no model there, unless the server has one of that very name."""
    model: dict[str, Any] = recipe.get("model") or {}
    name = str(model.get("base") or "")
    path = Path(name).expanduser()
    is_path = name.startswith(("/", "./", "../", "~"))
    is_here = any((place / path).is_dir() for place in (base, Path.cwd())) and name != "starter"
    if is_path or (is_here and not _is_known(client, name)):
        raise ModelError(
            f"model.base is a folder of this machine, {name}, which the server does not have.",
            hint="Put it into the folder `import` of the server's data directory, then\n"
            f"  {command_line('models', 'import', path.name, '--folder')}\n"
            "and write its name as model.base. A model of a hub needs no folder.",
            code="local_model",
        )


def _is_known(client: Client, model: str) -> bool:
    try:
        client.models.get(model)
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True


def _tell(text: str, *, quiet: bool) -> None:
    if not quiet:
        say(text, to=sys.stderr)
