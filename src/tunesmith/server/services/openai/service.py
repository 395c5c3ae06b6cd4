"""What routes under /v1 call. Each method is one use case; the work is in the modules beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.schemas.openai.jobs import (
    CheckpointObject,
    CopyObject,
    EstimateObject,
    JobCreate,
    JobObject,
)
from tunesmith.server import clock, ids
from tunesmith.server.access import Caller
from tunesmith.server.paging import Page, bad_cursor
from tunesmith.server.platform import Platform
from tunesmith.server.queue import Submitted
from tunesmith.server.services.checkpoints import Checkpoints
from tunesmith.server.services.jobs import visible
from tunesmith.server.services.openai import estimates, objects, submit
from tunesmith.server.services.openai.events import EventPage, page_of_events
from tunesmith.server.services.openai.models import Models
from tunesmith.server.services.openai.named import (
    Saved,
    find_checkpoint,
    no_checkpoint,
    result_name,
)
from tunesmith.server.services.openai.permissions import Permissions
from tunesmith.server.tables import Checkpoint, Model


@dataclass(frozen=True)
class OpenAI:
    """Jobs here; models and permissions have parts of their own."""

    platform: Platform
    models: Models
    permissions: Permissions

    def create(self, caller: Caller, body: JobCreate, submitted: Submitted) -> JobObject:
        return submit.submit(self.platform, caller, body, submitted)

    def estimate(self, caller: Caller, body: JobCreate) -> EstimateObject:
        return estimates.estimate(self.platform, caller, body)

    def get(self, caller: Caller, job_id: str) -> JobObject:
        with self.platform.database.read() as session:
            job = visible(session, caller, job_id)
            return objects.job_object(session, job, clock.read(session))

    def list(
        self,
        caller: Caller,
        *,
        project_id: str | None,
        labels: Mapping[str, str],
        without_labels: bool,
        after: str | None,
        limit: int,
    ) -> Page[JobObject]:
        """Newest first; `without_labels`: those without metadata."""
        found = self.platform.jobs.list(
            caller,
            project_id=project_id,
            labels=labels,
            without_labels=without_labels,
            after=after,
            limit=limit,
        )
        with self.platform.database.read() as session:
            shown = objects.job_objects(session, found.items, clock.read(session))
        return Page(shown, found.has_more)

    def cancel(self, caller: Caller, job_id: str) -> JobObject:
        return submit.show(self.platform, self.platform.jobs.cancel(caller, job_id))

    def pause(self, caller: Caller, job_id: str) -> JobObject:
        return submit.show(self.platform, self.platform.jobs.pause(caller, job_id))

    def resume(self, caller: Caller, job_id: str) -> JobObject:
        return submit.show(self.platform, self.platform.jobs.resume(caller, job_id))

    def events(self, caller: Caller, job_id: str, *, after: str | None, limit: int) -> EventPage:
        with self.platform.database.read() as session:
            job = visible(session, caller, job_id)
            return page_of_events(session, job, after=after, limit=limit)

    def checkpoints(
        self, caller: Caller, job_id: str, *, after: str | None, limit: int
    ) -> Page[CheckpointObject]:
        """Newest first: a job has one checkpoint of a step."""
        with self.platform.database.read() as session:
            job = visible(session, caller, job_id)
            query = select(Checkpoint).where(
                Checkpoint.job_id == job_id, Checkpoint.deleted_at.is_(None)
            )
            if after is not None:
                query = query.where(Checkpoint.step < _step(session, job_id, after))
            query = query.order_by(Checkpoint.step.desc()).limit(limit + 1)
            found: Sequence[Checkpoint] = session.scalars(query).all()
            name = result_name(session, job)
        shown = [objects.checkpoint_object(each, name) for each in found[:limit]]
        return Page(shown, len(found) > limit)

    def copy(self, caller: Caller, job_id: str, name: str, model: str | None) -> CopyObject:
        """Make a checkpoint a model of the list; the same again changes nothing."""
        saved = self._saved(caller, job_id, name)
        made, _ = Checkpoints(self.platform.database).make_model(caller, saved.checkpoint.id, model)
        return _copy(saved, made)

    def get_copy(self, caller: Caller, job_id: str, name: str) -> CopyObject:
        saved = self._saved(caller, job_id, name)
        with self.platform.database.read() as session:
            made = session.scalars(
                select(Model).where(
                    Model.checkpoint_id == saved.checkpoint.id, Model.deleted_at.is_(None)
                )
            ).one_or_none()
        return _copy(saved, made)

    def _saved(self, caller: Caller, job_id: str, name: str) -> Saved:
        with self.platform.database.read() as session:
            visible(session, caller, job_id)
            saved = find_checkpoint(session, caller, name)
        if saved.job.id != job_id:
            raise no_checkpoint(name)
        return saved


def _step(session: Session, job_id: str, checkpoint_id: str) -> int:
    """The step of a checkpoint of the job, which may be gone by now."""
    step = session.scalar(
        select(Checkpoint.step).where(Checkpoint.id == checkpoint_id, Checkpoint.job_id == job_id)
    )
    if step is None:
        raise bad_cursor(checkpoint_id, ids.CHECKPOINT)
    return step


def _copy(saved: Saved, made: Model | None) -> CopyObject:
    """Copies share the bytes of their checkpoint, so there is nothing to wait for."""
    shown: dict[str, Any] = {
        "id": f"{saved.checkpoint.id}-copy",
        "status": "not_started" if made is None else "completed",
        "fine_tuning_job_id": saved.job.id,
        "checkpoint_id": saved.checkpoint.id,
        "model": None if made is None else made.name,
        "created_at": None if made is None else made.created_at,
    }
    return CopyObject.model_validate(shown)


def build_openai(platform: Platform) -> OpenAI:
    return OpenAI(platform, Models(platform), Permissions(platform.database))
