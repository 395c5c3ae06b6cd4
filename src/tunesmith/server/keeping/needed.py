"""What may not be lost: checkpoints, files, versions and models that something living rests on."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.server.states import FINAL
from tunesmith.server.tables import (
    Checkpoint,
    CheckpointPermission,
    Job,
    JobDataset,
    Model,
    Task,
)

Step = tuple[str, int]  # a job and a step of it


def living_jobs(session: Session) -> list[Job]:
    """Jobs that may still run."""
    return list(session.scalars(select(Job).where(Job.status.not_in(FINAL))))


def needed_checkpoints(session: Session) -> set[Step]:
    """Checkpoints that are models, that a job which may run goes on from, or that are shared.

    Those of jobs that are not final are not listed: all of them are needed.
    """
    branching = select(Job.checkpoint_id).where(
        Job.status.not_in(FINAL), Job.checkpoint_id.is_not(None)
    )
    made_models = select(Model.checkpoint_id).where(
        Model.checkpoint_id.is_not(None), Model.deleted_at.is_(None)
    )
    shared = select(CheckpointPermission.checkpoint_id)
    rows = session.execute(
        select(Checkpoint.job_id, Checkpoint.step).where(
            Checkpoint.id.in_(branching)
            | Checkpoint.id.in_(made_models)
            | Checkpoint.id.in_(shared)
        )
    )
    return {(job_id, step) for job_id, step in rows}


def texts_of_living_work(session: Session) -> str:
    """Everything that unfinished jobs and tasks were asked for, to look for ids of files in."""
    tasks = session.scalars(select(Task).where(Task.state.in_(("queued", "running"))))
    return "\n".join(
        [
            *(f"{job.recipe} {job.request}" for job in living_jobs(session)),
            *(f"{task.target} {task.params}" for task in tasks),
        ]
    )


def needed_versions(session: Session) -> set[str]:
    """Dataset versions of jobs that may still run."""
    rows = session.scalars(
        select(JobDataset.dataset_version_id)
        .join(Job, Job.id == JobDataset.job_id)
        .where(Job.status.not_in(FINAL))
    )
    return set(rows)


def needed_models(session: Session) -> set[str]:
    """Models that a living model or a job which may run was made from, over any number of steps."""
    rows = session.execute(select(Model.id, Model.parent_id))
    parents = {model: parent for model, parent in rows}  # noqa: C416, rows are no pairs to a type checker
    living = session.scalars(select(Model.id).where(Model.deleted_at.is_(None)))
    bases = session.scalars(
        select(Job.base_model_id).where(Job.status.not_in(FINAL), Job.base_model_id.is_not(None))
    )
    return _with_ancestors([*living, *(base for base in bases if base)], parents)


def _with_ancestors(models: Iterable[str], parents: dict[str, str | None]) -> set[str]:
    found: set[str] = set()
    for model in models:
        at: str | None = model
        while at is not None and at not in found:
            found.add(at)
            at = parents.get(at)
    return found
