"""Models as users see them: list, look, import, change, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Select, String, cast, select
from sqlalchemy.orm import Session

from tunesmith.models.presets import Preset, find_preset, presets
from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.deployments.states import refuse_deployed
from tunesmith.server.errors import Conflict
from tunesmith.server.model_folders import find_folder, list_folders
from tunesmith.server.paging import Page, page
from tunesmith.server.services.models.content import (
    ModelFile,
    Preview,
    find_file,
    list_files,
    preview,
)
from tunesmith.server.services.models.finding import find, folder_of, model_of, visible
from tunesmith.server.services.models.grounds import (
    DEFAULTS,
    Ground,
    ground,
    refuse_odd_defaults,
)
from tunesmith.server.services.models.imports import (
    ImportOrder,
    refuse_odd_order,
    refuse_taken_name,
)
from tunesmith.server.services.models.lineage import Lineage, lineage
from tunesmith.server.services.tasks import Tasks
from tunesmith.server.settings import Settings
from tunesmith.server.states import FINAL
from tunesmith.server.tables import Job, Model, Task

IMPORT = "model.import"


@dataclass(frozen=True)
class ModelFilter:
    """Which models a list shows."""

    project_id: str | None = None
    kind: str | None = None
    source: str | None = None
    text: str = ""  # in name or description, or the beginning of the id


class Models:
    """What may be trained on or used: presets, imports, results of jobs."""

    def __init__(self, database: Database, tasks: Tasks, settings: Settings) -> None:
        self._database, self._tasks = database, tasks
        self._place = DataDir(settings.data_dir)
        self._roots = [self._place.imports, *(Path(root) for root in settings.import_roots)]

    def presets(self, caller: Caller) -> Sequence[tuple[Preset, str | None]]:
        """Every preset, and the id of its import where the caller may use one."""
        caller.require_scope("read")
        with self._database.read() as session:
            rows = {name: find(session, caller, name) for name in presets()}
        return [
            (preset, row.id if (row := rows[name]) else None) for name, preset in presets().items()
        ]

    def list(
        self, caller: Caller, wanted: ModelFilter, *, after: str | None, limit: int
    ) -> Page[Model]:
        """Newest first: the caller's, and those that everybody may use."""
        query = _filtered(caller, wanted)
        with self._database.read() as session:
            return page(session, query, Model.id, after=after, limit=limit)

    def get(self, caller: Caller, model_id: str) -> Model:
        """By id or by name."""
        with self._database.read() as session:
            return model_of(session, caller, model_id)

    def described(self, caller: Caller, model_id: str) -> tuple[Model, Ground]:
        """A model, and what is known of the weights that it rests on."""
        with self._database.read() as session:
            model = model_of(session, caller, model_id)
            return model, ground(session, model)

    def files(self, caller: Caller, model_id: str) -> Sequence[ModelFile]:
        with self._database.read() as session:
            model = model_of(session, caller, model_id)
            return list_files(folder_of(session, self._place, model), model)

    def file(self, caller: Caller, model_id: str, path: str) -> tuple[ModelFile, Path]:
        """A file of a model and where it lies, to be sent."""
        with self._database.read() as session:
            model = model_of(session, caller, model_id)
            return find_file(folder_of(session, self._place, model), model, path)

    def preview(self, caller: Caller, model_id: str, path: str, most: int) -> Preview:
        with self._database.read() as session:
            model = model_of(session, caller, model_id)
            return preview(folder_of(session, self._place, model), model, path, most)

    def lineage(self, caller: Caller, model_id: str) -> Lineage:
        with self._database.read() as session:
            return lineage(session, caller, model_of(session, caller, model_id))

    def folders(self, caller: Caller) -> Sequence[str]:
        """Folders that an administrator has put where models may be imported from."""
        caller.chosen(None, Role.MEMBER)
        found = [name for root in self._roots if root.is_dir() for name in list_folders(root)]
        return sorted(set(found))

    def start_import(self, caller: Caller, order: ImportOrder, project_id: str | None) -> Task:
        """Begin to download or copy, check and register a model, in the background."""
        project_id = caller.chosen(project_id, Role.MEMBER)
        owner = None if order.shared else project_id
        if order.shared:
            caller.require_admin()
        refuse_odd_order(order)
        if order.source == "folder":
            find_folder(order.name, self._roots)
        with self._database.write() as session:
            moment = clock.read(session)
            refuse_taken_name(session, order.model_name, owner)
            model_id = ids.new(ids.MODEL, moment.wall)
            params: dict[str, Any] = {
                "order": order.document(),
                "model_id": model_id,
                "owner": owner,
            }
            task = self._tasks.add(
                session, moment, caller, IMPORT, params, project_id=project_id, target=model_id
            )
        self._tasks.on_submit()
        return task

    def update(self, caller: Caller, model_id: str, **changes: Any) -> Model:
        """Description, task type, and the values that it recommends for its trainings."""
        if changes.get(DEFAULTS):
            refuse_odd_defaults(changes[DEFAULTS])
        with self._database.write() as session:
            moment = clock.read(session)
            model = model_of(session, caller, model_id, Role.MEMBER, lock=True)
            for column, value in changes.items():
                if column == DEFAULTS:
                    model.details = {**model.details, DEFAULTS: value}
                else:
                    setattr(model, column, value)
            audit(
                session, moment, caller, "model.update", model.id, project_id=model.project_id,
                **changes,
            )  # fmt: skip
            return model

    def delete(self, caller: Caller, model_id: str) -> Model:
        """No longer listed or used; its row stays for lineage, a clean-up removes its files."""
        with self._database.write() as session:
            moment = clock.read(session)
            _refuse_preset(session, caller, model_id)
            model = model_of(session, caller, model_id, Role.MEMBER, lock=True)
            _refuse_used(session, caller, model)
            refuse_deployed(session, model)
            model.deleted_at = moment.wall
            audit(session, moment, caller, "model.delete", model.id, project_id=model.project_id)
            return model


def _filtered(caller: Caller, wanted: ModelFilter) -> Select[Model]:
    projects = caller.viewed(wanted.project_id)
    query = select(Model).where(visible(caller, projects))
    if wanted.kind:
        query = query.where(Model.kind == wanted.kind)
    if wanted.source:
        query = query.where(Model.source == wanted.source)
    if wanted.text:
        inside = Model.name.icontains(wanted.text, autoescape=True)
        inside |= Model.id.startswith(wanted.text, autoescape=True)
        query = query.where(inside | Model.description.icontains(wanted.text, autoescape=True))
    return query


def _refuse_preset(session: Session, caller: Caller, name: str) -> None:
    """A preset that nobody has imported is a name and no files."""
    if find_preset(name) is not None and find(session, caller, name) is None:
        raise Conflict(
            f"{name} is a preset: nothing of it is stored here that could be deleted.",
            hint="What was imported or trained can be deleted.",
            code="model_is_preset",
            name=name,
        )


def _refuse_used(session: Session, caller: Caller, model: Model) -> None:
    """A job that is not over needs its base; an adapter is nothing without the one it rests on."""
    jobs = session.scalars(
        select(Job)
        .where(
            (Job.base_model_id == model.id) | cast(Job.recipe, String).contains(model.id),
            Job.status.not_in([status.value for status in FINAL]),
            Job.deleted_at.is_(None),
        )
        .limit(3)
    ).all()
    children = session.scalars(
        select(Model)
        .where(Model.parent_id == model.id, Model.kind == "adapter", Model.deleted_at.is_(None))
        .limit(3)
    ).all()
    users = [
        f"job {job.id}" if job.project_id in caller.roles else "a job of another project"
        for job in jobs
    ]
    users += [
        f"model {child.name}"
        if child.project_id in (None, *caller.roles)
        else "a model of another project"
        for child in children
    ]
    if users:
        raise Conflict(
            f"Model {model.name} is needed by {', '.join(dict.fromkeys(users))}; "
            "nothing was deleted.",
            hint="Wait for the jobs or cancel them, and delete the models that rest on it first.",
            code="model_in_use",
            name=model.name,
            users=list(dict.fromkeys(users)),
            used_by=[row.id for row in (*jobs, *children) if row.project_id in caller.roles],
        )
