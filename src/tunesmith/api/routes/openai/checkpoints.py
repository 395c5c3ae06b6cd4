"""Checkpoints of a job, and copies of them as models."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from tunesmith.api.dependencies import CallerDep, CallerFirst
from tunesmith.api.routes.openai.dependencies import OpenAIDep
from tunesmith.api.routes.openai.jobs import Cursor, JobId, PageSize
from tunesmith.schemas.openai.common import page_of
from tunesmith.schemas.openai.jobs import CheckpointPage, CopyCreate, CopyObject

router = APIRouter(prefix="/fine_tuning/jobs", tags=["checkpoints"], route_class=CallerFirst)
CheckpointName = Annotated[str, Path(max_length=300, description="Name or id.")]


@router.get("/{job_id}/checkpoints")
def list_checkpoints(
    job_id: JobId,
    caller: CallerDep,
    openai: OpenAIDep,
    after: Cursor = None,
    limit: PageSize = 10,
) -> CheckpointPage:
    """Newest first."""
    found = openai.checkpoints(caller, job_id, after=after, limit=limit)
    return page_of(list(found.items), has_more=found.has_more)


@router.post("/{job_id}/checkpoints/{checkpoint:path}/copy")
def copy_checkpoint(
    job_id: JobId,
    checkpoint: CheckpointName,
    caller: CallerDep,
    openai: OpenAIDep,
    body: CopyCreate | None = None,
) -> CopyObject:
    """Make it a model of the list, which stays when the job's checkpoints are cleaned up."""
    return openai.copy(caller, job_id, checkpoint, body.name if body else None)


@router.get("/{job_id}/checkpoints/{checkpoint:path}/copy")
def get_copy(
    job_id: JobId, checkpoint: CheckpointName, caller: CallerDep, openai: OpenAIDep
) -> CopyObject:
    """The state of the copy."""
    return openai.get_copy(caller, job_id, checkpoint)
