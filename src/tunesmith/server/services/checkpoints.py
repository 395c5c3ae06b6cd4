"""Checkpoints of jobs: looked at, made a model, gone on from."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.recipe.adapters import ADAPTERS
from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.errors import Conflict, NotFound
from tunesmith.server.naming import checkpoint_name, model_name, suffix_of
from tunesmith.server.paging import Page, page
from tunesmith.server.services.jobs import visible
from tunesmith.server.tables import Checkpoint, Job, JobDataset, Model, ModelDataset, Project


class Checkpoints:
    """A checkpoint that is a model, or that a job goes on from, is kept when others are cleaned."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self,
        caller: Caller,
        job_id: str,
        *,
        with_deleted: bool = False,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[Checkpoint]:
        """Newest first."""
        query = select(Checkpoint).where(Checkpoint.job_id == job_id)
        if not with_deleted:
            query = query.where(Checkpoint.deleted_at.is_(None))
        with self._database.read() as session:
            visible(session, caller, job_id)
            return page(session, query, Checkpoint.id, after=after, limit=limit)

    def get(self, caller: Caller, checkpoint_id: str) -> Checkpoint:
        with self._database.read() as session:
            return _visible(session, caller, checkpoint_id)[0]

    def make_model(
        self, caller: Caller, checkpoint_id: str, name: str | None = None
    ) -> tuple[Model, bool]:
        """The model of a checkpoint, and whether it is new: a checkpoint becomes one model."""
        with self._database.write() as session:
            moment = clock.read(session)
            checkpoint, job = _visible(session, caller, checkpoint_id, Role.MEMBER)
            return model_of_checkpoint(session, moment, caller, checkpoint, job, name)


def model_of_checkpoint(
    session: Session,
    moment: Moment,
    caller: Caller,
    checkpoint: Checkpoint,
    job: Job,
    name: str | None = None,
) -> tuple[Model, bool]:
    """The model of a checkpoint, registered where it is not, and whether it is new.

    Conflict where it is a model of another name already: a checkpoint is one model.
    """
    # Held, so that of two requests at once the second one finds the model of the first.
    session.refresh(checkpoint, with_for_update={"key_share": True})
    known = session.scalars(select(Model).where(Model.checkpoint_id == checkpoint.id)).one_or_none()
    if known is not None and known.deleted_at is None:
        if name not in (None, known.name):
            raise _other_name(checkpoint, known)
        return known, False
    _refuse_deleted(checkpoint)
    name = name or (known.name if known is not None else _default_name(session, checkpoint, job))
    _refuse_taken(session, name, job.project_id)
    if known is not None:  # it was deleted as a model, and its files are still there
        model, known.name, known.deleted_at = known, name, None
    else:
        model = _register(session, moment, caller, checkpoint, job, name)
    audit(
        session,
        moment,
        caller,
        "checkpoint.model",
        checkpoint.id,
        project_id=job.project_id,
        model=model.id,
    )
    return model, True


def _visible(
    session: Session, caller: Caller, checkpoint_id: str, role: Role = Role.VIEWER
) -> tuple[Checkpoint, Job]:
    missing = NotFound(
        f"There is no checkpoint {checkpoint_id}.", code="checkpoint_not_found", id=checkpoint_id
    )
    row = session.execute(
        select(Checkpoint, Job)
        .join(Job, Job.id == Checkpoint.job_id)
        .where(Checkpoint.id == checkpoint_id)
    ).one_or_none()
    if row is None:
        raise missing
    caller.require(row[1].project_id, role, missing)
    return row[0], row[1]


def checkpoint_of(session: Session, caller: Caller, checkpoint_id: str) -> tuple[Checkpoint, Job]:
    """A checkpoint that is there, of a job that the caller may work with."""
    checkpoint, job = _visible(session, caller, checkpoint_id, Role.MEMBER)
    _refuse_deleted(checkpoint)
    return checkpoint, job


def _refuse_deleted(checkpoint: Checkpoint) -> None:
    if checkpoint.deleted_at is not None:
        raise Conflict(
            f"Checkpoint {checkpoint.id} (step {checkpoint.step}) was deleted.",
            hint="A job keeps its newest checkpoints and the best one; raise "
            "training.checkpoint.keep for more.",
            code="checkpoint_deleted",
            step=checkpoint.step,
        )


def _register(
    session: Session,
    moment: Moment,
    caller: Caller,
    checkpoint: Checkpoint,
    job: Job,
    name: str,
) -> Model:
    asked = job.recipe.get("model") or {}
    # An adapter for other tokens or positions does not go on the base as it is: it is merged.
    is_other = bool(asked.get("new_tokens") or asked.get("new_special_tokens"))
    is_other = is_other or asked.get("rope_scaling", "none") != "none"
    method = (job.recipe.get("adapter") or {}).get("kind")
    kind = "adapter" if method in ADAPTERS and not is_other else "full"
    model = Model(
        id=ids.new(ids.MODEL, moment.wall),
        name=name,
        project_id=job.project_id,
        user_id=caller.user_id,
        kind=kind,
        source="job",
        base=job.base,
        parent_id=job.base_model_id,
        job_id=job.id,
        checkpoint_id=checkpoint.id,
        recipe=job.recipe,
        details={"step": checkpoint.step, "metrics": checkpoint.metrics},
        bytes=checkpoint.bytes,
        created_at=moment.wall,
    )
    session.add(model)
    session.flush()
    for used in session.scalars(select(JobDataset).where(JobDataset.job_id == job.id)):
        session.add(
            ModelDataset(
                model_id=model.id, dataset_version_id=used.dataset_version_id, role=used.role
            )
        )
    return model


def _refuse_taken(session: Session, name: str, project_id: str) -> None:
    taken = session.scalar(
        select(Model.id).where(
            Model.name == name, Model.project_id == project_id, Model.deleted_at.is_(None)
        )
    )
    if taken:
        raise Conflict(
            f"There is a model {name} already.",
            hint="Choose another name.",
            code="name_taken",
            name=name,
        )


def _other_name(checkpoint: Checkpoint, known: Model) -> Conflict:
    return Conflict(
        f"The checkpoint of step {checkpoint.step} is the model {known.name} already ({known.id}); "
        "nothing was changed.",
        hint="Use that model, or delete it first: the files of the checkpoint stay.",
        code="checkpoint_is_model",
        param="name",
        model_id=known.id,
        name=known.name,
        step=checkpoint.step,
    )


def _default_name(session: Session, checkpoint: Checkpoint, job: Job) -> str:
    """That of the job's result, as it is or will be, with the step."""
    result = session.scalar(
        select(Model.name).where(Model.job_id == job.id, Model.checkpoint_id.is_(None))
    )
    if result is None:
        project = session.get_one(Project, job.project_id)
        result = model_name(job.base, project.name, suffix_of(job.name, job.request), job.id)
    return checkpoint_name(result, checkpoint.step)
