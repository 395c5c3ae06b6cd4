"""Models that come in: downloaded or copied, checked, registered. A cut download goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.errors import InputError, ModelError
from tunesmith.models.facts import Facts
from tunesmith.models.hubs import (
    SMALL_FILES,
    WEIGHTS,
    ask_hub,
    download_from_modelscope,
    fetch_hub_files,
    is_wanted,
)
from tunesmith.runs.manifest import MANIFEST, verify_manifest
from tunesmith.server import clock
from tunesmith.server.datadir import DataDir, held
from tunesmith.server.errors import Conflict
from tunesmith.server.github import Github
from tunesmith.server.incoming import refuse_full_disk, storing
from tunesmith.server.model_folders import (
    copy_folder,
    examine,
    find_folder,
    is_kept,
    publish,
)
from tunesmith.server.quotas import Limits, refuse_beyond_storage
from tunesmith.server.services.models.finding import Base, folder_of
from tunesmith.server.services.models.imports import (
    ImportOrder,
    find_adapter_base,
    refuse_taken_name,
    register,
)
from tunesmith.server.tables import Model
from tunesmith.server.task_context import TaskContext

Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Incoming:
    """Where a model lies while it comes in, and what its source says of it."""

    draft: Path
    commit: str = ""
    trust_remote_code: bool = False


def import_model(context: TaskContext) -> dict[str, Any]:
    """Bring in one model. Registered once, however often this is run."""
    order = ImportOrder(**context.params["order"])
    model_id, owner = context.params["model_id"], context.params["owner"]
    place = DataDir(context.platform.settings.data_dir)
    with context.platform.database.read() as session:
        known = session.get(Model, model_id)
        if known is not None:
            return _told(known)
        refuse_taken_name(session, order.model_name, owner)
    downloads = place.cache / "downloads"
    with storing(place.cache):
        downloads.mkdir(exist_ok=True)
    draft = downloads / _key(order)
    with _alone(draft, order):
        target = place.model(model_id)
        if not (target / MANIFEST).is_file():
            _bring(context, order, draft, owner, target)
        return _register(context, order, model_id, owner, target)


def _bring(
    context: TaskContext, order: ImportOrder, draft: Path, owner: str | None, target: Path
) -> None:
    """Files of a model, checked, under their name. What is refused is removed."""
    incoming = _fetch(context, order, draft)
    context.progress(0, None, "", "check")
    try:
        _drop_rest(draft)
        facts = examine(draft, trust_remote_code=incoming.trust_remote_code)
        base = _adapter_base(context, order, draft, facts, owner)
    except ModelError:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    is_of_hub = order.source != "folder"
    origin: dict[str, Any] = {
        "revision": order.revision if is_of_hub else "",
        "commit": incoming.commit,
    }
    if incoming.trust_remote_code:
        origin["trust_remote_code"] = True
    publish(
        draft,
        target,
        facts=facts.document(),
        origin={key: value for key, value in origin.items() if value},
        base=base.name if base else None,
        base_id=base.model.id if base and base.model else None,
    )


def _fetch(context: TaskContext, order: ImportOrder, draft: Path) -> Incoming:
    def report(done: int, total: int, unit: str) -> None:
        context.progress(done, total or None, unit, "download")

    settings = context.platform.settings
    if order.source == "folder":
        roots = [DataDir(settings.data_dir).imports, *map(Path, settings.import_roots)]
        copy_folder(
            find_folder(order.name, roots),
            draft,
            lambda done, total: context.progress(done, total, "bytes", "copy"),
        )
        return Incoming(draft)
    if order.source == "modelscope":
        wanted = (*WEIGHTS, *SMALL_FILES)
        with storing(draft.parent):
            download_from_modelscope(
                order.name, wanted, revision=order.revision, report=report, target=draft
            )
        return Incoming(draft)
    if order.source == "github":
        return _from_github(context, order, draft)
    return _from_hub(context, order, draft, report)


def _from_github(context: TaskContext, order: ImportOrder, draft: Path) -> Incoming:
    github = Github(context.platform.settings)
    told = github.ask(order.name, order.revision)
    _drop_other_commit(draft, told.mark)
    _refuse_no_room(context, told.bytes, draft)

    def on_bytes(done: int, total: int) -> None:
        context.check_cancelled()
        context.progress(done, total, "bytes", "download")

    with storing(draft.parent):
        github.fetch(told, draft, on_bytes)
    return Incoming(draft, told.commit)


def _from_hub(context: TaskContext, order: ImportOrder, draft: Path, report: Report) -> Incoming:
    """By its commit, so that a download that goes on brings files of one version."""
    told = ask_hub(order.name, order.revision)
    allowed = context.platform.settings.remote_code_repositories
    trusted = f"{order.name}@{told.commit}" in allowed
    more = ("*.py",) if trusted else ()
    files = tuple(file for file in told.files if is_wanted(file.name, more))
    told = replace(told, files=files)
    _drop_other_commit(draft, told.commit)
    _refuse_no_room(context, told.bytes, draft)
    with storing(draft.parent):
        fetch_hub_files(told, draft, report)
    return Incoming(draft, told.commit, trusted)


def _drop_other_commit(draft: Path, commit: str) -> None:
    """A branch that moved since the download was cut: nothing of the old version is mixed in."""
    mark = draft.with_suffix(".commit")
    with storing(draft.parent):
        if not mark.is_file() or mark.read_text(encoding="utf-8") != commit:
            shutil.rmtree(draft, ignore_errors=True)
            mark.write_text(commit, encoding="utf-8")


def _refuse_no_room(context: TaskContext, num_bytes: int, draft: Path) -> None:
    there = sum(file.stat().st_size for file in draft.rglob("*") if file.is_file())
    refuse_full_disk(draft.parent, max(0, num_bytes - there))
    limits = Limits.of(context.platform.settings)
    with context.platform.database.read() as session:
        moment = clock.read(session)
        refuse_beyond_storage(session, context.caller.user_id, limits, moment, num_bytes)


def _drop_rest(draft: Path) -> None:
    """What the clients of the hubs leave beside the files, and what nothing reads."""
    with storing(draft.parent):
        for path in draft.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif not is_kept(path.name) and path.suffix != ".py":
                path.unlink()


def _adapter_base(
    context: TaskContext, order: ImportOrder, draft: Path, facts: Facts, owner: str | None
) -> Base | None:
    """The base of an adapter, which from here on names the model that was checked here.

    An adapter's settings may name any folder of this machine or any model of a hub.
    """
    if facts.kind != "adapter":
        return None
    place = DataDir(context.platform.settings.data_dir)
    with context.platform.database.read() as session:
        base = find_adapter_base(session, context.caller, order, facts, owner)
        folder = folder_of(session, place, base.model) if base.model else None
    file = draft / "adapter_config.json"
    content = json.loads(file.read_bytes())
    content["base_model_name_or_path"] = str(folder) if folder else base.name
    for name in ("revision", "auto_mapping"):  # the latter names a module to import
        content.pop(name, None)
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
    return base


def _register(
    context: TaskContext, order: ImportOrder, model_id: str, owner: str | None, target: Path
) -> dict[str, Any]:
    """The row, in one transaction; where it cannot be, the files go away again."""
    manifest = verify_manifest(target)
    digest = hashlib.sha256((target / MANIFEST).read_bytes()).hexdigest()
    limits = Limits.of(context.platform.settings)
    user = context.caller.user_id
    try:
        with context.platform.database.write() as session:
            moment = clock.read(session)
            refuse_beyond_storage(session, user, limits, moment, manifest.total_bytes, lock=True)
            model = register(
                session,
                context.caller,
                order,
                moment,
                model_id=model_id,
                project_id=owner,
                manifest=manifest,
                manifest_sha256=digest,
            )
            return _told(model)
    except InputError:
        shutil.rmtree(target, ignore_errors=True)
        raise


@contextmanager
def _alone(draft: Path, order: ImportOrder) -> Generator[None]:
    """One import of the same thing at a time: the second would write into the first one's files."""
    with held(draft.with_suffix(".lock")) as other:
        if other is not None:
            raise Conflict(
                f"{order.name} is being imported already.",
                hint="Wait for that import; the list of tasks shows it.",
                code="import_running",
                name=order.name,
            )
        yield


def _key(order: ImportOrder) -> str:
    """The same for the same thing, so that a cut download is found again."""
    named = "\0".join((order.source, order.name, order.revision))
    return hashlib.sha256(named.encode()).hexdigest()[:24]


def _told(model: Model) -> dict[str, Any]:
    return {"model_id": model.id, "name": model.name, "bytes": model.bytes}
