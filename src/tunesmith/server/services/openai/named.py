"""What a name means here: a model, `starter`, a preset, an id of a hub, or a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from tunesmith.errors import InputError, TunesmithError
from tunesmith.server import ids
from tunesmith.server.access import Caller
from tunesmith.server.errors import NotFound
from tunesmith.server.naming import checkpoint_name, model_name, parse_checkpoint, suffix_of
from tunesmith.server.services.models import resolve_base
from tunesmith.server.settings import Settings
from tunesmith.server.tables import Checkpoint, CheckpointPermission, Job, Model, Project


@dataclass(frozen=True)
class Start:
    """What a job starts from. `name` stands in its recipe, `base` is shown."""

    name: str
    base: str
    model_id: str | None = None
    checkpoint_id: str | None = None
    parent_id: str | None = None


@dataclass(frozen=True)
class Saved:
    """A checkpoint with its job and its name."""

    checkpoint: Checkpoint
    job: Job
    name: str


def start_of(
    session: Session, caller: Caller, name: str, project_id: str, settings: Settings
) -> Start:
    """The base of a new job; InputError where it cannot be one."""
    try:
        if is_checkpoint(name):
            saved = find_checkpoint(session, caller, name)
            job = saved.job
            return Start(
                job.recipe["model"]["base"],
                job.base,
                job.base_model_id,
                saved.checkpoint.id,
                job.id,
            )
        base = resolve_base(session, caller, name, project_id, hub_downloads=settings.hub_downloads)
    except TunesmithError as error:
        raise InputError(
            error.message, hint=error.hint, code=error.code, param="model", name=name
        ) from error
    if base.model is None:
        return Start(base.name, name)
    return Start(base.name, base.model.name, base.model.id)


def is_checkpoint(name: str) -> bool:
    return name.startswith(ids.CHECKPOINT) or parse_checkpoint(name) is not None


def find_checkpoint(session: Session, caller: Caller, name: str) -> Saved:
    """A checkpoint by name or id, of the caller's projects or shared with one of them."""
    missing = no_checkpoint(name)
    query = (
        select(Checkpoint, Job)
        .join(Job, Job.id == Checkpoint.job_id)
        .where(Checkpoint.deleted_at.is_(None), Job.deleted_at.is_(None))
    )
    parsed = parse_checkpoint(name)
    if parsed is None:
        query = query.where(Checkpoint.id == name)
    else:
        query = query.where(
            Checkpoint.step == parsed.step, Job.id.endswith(parsed.job_end, autoescape=True)
        )
    shared = select(CheckpointPermission.checkpoint_id).where(
        CheckpointPermission.project_id.in_(caller.projects())
    )
    query = query.where(or_(Job.project_id.in_(caller.projects()), Checkpoint.id.in_(shared)))
    for checkpoint, job in session.execute(query):
        shown = checkpoint_name(result_name(session, job), checkpoint.step)
        if parsed is None or shown == name:
            caller.require_scope("read")
            return Saved(checkpoint, job, shown)
    raise missing


def result_name(session: Session, job: Job) -> str:
    """The name of a job's result: as it is registered, else as it will be."""
    known = session.scalar(
        select(Model.name).where(Model.job_id == job.id, Model.checkpoint_id.is_(None))
    )
    if known is not None:
        return known
    project = session.get_one(Project, job.project_id)
    return model_name(job.base, project.name, suffix_of(job.name, job.request), job.id)


def no_checkpoint(name: str) -> NotFound:
    return NotFound(
        f"There is no checkpoint {name[:200]}.", code="checkpoint_not_found", id=name[:200]
    )
