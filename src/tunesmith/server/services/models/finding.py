"""Which model a name means for a caller, and where it lies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from tunesmith.models.presets import STARTER, capabilities, find_preset
from tunesmith.server import ids
from tunesmith.server.access import Caller, Role
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import Conflict, NotFound
from tunesmith.server.tables import Checkpoint, Model

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True)
class Base:
    """What a job starts from: `name` goes into its recipe, `model` is its row, if it has one."""

    name: str
    model: Model | None = None


def visible(caller: Caller, project_ids: list[str] | None = None) -> ColumnElement[bool]:
    """Models that everybody may use, and those of the caller's projects."""
    projects = caller.projects() if project_ids is None else project_ids
    shared = Model.project_id.is_(None)
    return or_(shared, Model.project_id.in_(projects)) & Model.deleted_at.is_(None)


def find(
    session: Session, caller: Caller, name: str, project_id: str | None = None
) -> Model | None:
    """A model by id or name. Of two with one name, the project's own comes first."""
    column = Model.id if name.startswith(ids.MODEL) else Model.name
    rows = session.scalars(
        select(Model).where(column == name, visible(caller)).order_by(Model.id)
    ).all()
    mine = project_id or caller.project_id
    return min(
        rows, key=lambda row: (row.project_id != mine, row.project_id is None, row.id), default=None
    )


def model_of(
    session: Session, caller: Caller, name: str, role: Role = Role.VIEWER, *, lock: bool = False
) -> Model:
    """A model that the caller may look at, or change with a higher role; NotFound otherwise."""
    found = find(session, caller, name)
    if found is None:
        raise no_model(name)
    if found.project_id is not None:
        caller.require(found.project_id, role, no_model(name))
    elif role > Role.VIEWER:
        caller.require_admin()
    else:
        caller.require_scope("read")
    if lock:
        session.refresh(found, with_for_update=True)
        if found.deleted_at is not None:
            raise no_model(name)
    return found


def resolve_base(
    session: Session, caller: Caller, name: str, project_id: str, *, hub_downloads: bool
) -> Base:
    """The base of a new job: `starter`, a model of ours by id or name, a preset, an id of a hub.

    A model of ours is held until the end of the transaction, so that a deletion comes before or
    sees the job. Hub ids that nobody has imported pass where the administrator allows it.
    """
    if name == STARTER:
        return Base(STARTER)
    found = find(session, caller, name, project_id)
    if found is not None:
        if found.project_id is not None:
            caller.require(found.project_id, Role.VIEWER, no_model(name))
        session.refresh(found, with_for_update={"read": True})
        if found.deleted_at is None:
            return Base(found.id, found)
    preset = find_preset(name)
    if preset is not None and not any(row.available for row in capabilities(preset.family)):
        raise Conflict(
            f"{preset.name} cannot be trained here: {preset.en}",
            code="model_not_trainable",
            name=preset.name,
        )
    if is_hub_id(name) and hub_downloads:
        return Base(name)
    if is_hub_id(name):
        raise Conflict(
            f"{name} is not imported, and jobs do not download models here.",
            hint="Import it first, or ask an administrator to.",
            code="hub_not_allowed",
            name=name,
        )
    raise no_model(name)


def folder_of(session: Session, place: DataDir, model: Model) -> Path:
    """Where the files of a model lie; the folder may be gone."""
    imported = place.model(model.id)
    if imported.is_dir() or model.job_id is None:
        return imported
    if model.checkpoint_id is not None:
        checkpoint = session.get_one(Checkpoint, model.checkpoint_id)
        return place.checkpoint(checkpoint.job_id, checkpoint.step)
    return place.run(model.job_id) / "artifacts"


def is_hub_id(name: str) -> bool:
    """An id such as Qwen/Qwen3-0.6B; never a path, a URL or an option."""
    return _HUB_ID.fullmatch(name) is not None and ".." not in name


def no_model(name: str) -> NotFound:
    return NotFound(
        f"There is no model {name[:200]}.",
        hint="The list of models shows all that you may use.",
        code="model_not_found",
        form="named",
        id=name[:200],
    )
