"""Checkpoints of jobs: listed, made a model, gone on from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.listed import listed
from tunesmith.api.routes.jobs import JobId, Key, changes_of, receipt_of, submitted
from tunesmith.schemas.common import Listed
from tunesmith.schemas.jobs import (
    CheckpointModel,
    CheckpointRead,
    JobBranch,
    JobSubmitted,
    ModelMade,
)

router = APIRouter(tags=["jobs"], route_class=CallerFirst)
CheckpointId = Annotated[str, Path(max_length=100, pattern=r"^[\w.:-]+$")]


@router.get("/jobs/{job_id}/checkpoints")
def list_checkpoints(
    job_id: JobId,
    caller: CallerDep,
    platform: PlatformDep,
    with_deleted: Annotated[bool, Query(description="Those whose files are gone too.")] = False,
    after: After = None,
    limit: Limit = 100,
) -> Listed[CheckpointRead]:
    """Newest first."""
    page = platform.checkpoints.list(
        caller, job_id, with_deleted=with_deleted, after=after, limit=limit
    )
    return listed(page, CheckpointRead)


@router.get("/checkpoints/{checkpoint_id}")
def get_checkpoint(
    checkpoint_id: CheckpointId, caller: CallerDep, platform: PlatformDep
) -> CheckpointRead:
    return CheckpointRead.model_validate(platform.checkpoints.get(caller, checkpoint_id))


@router.post("/checkpoints/{checkpoint_id}/model", status_code=201)
def make_model(
    checkpoint_id: CheckpointId,
    caller: CallerDep,
    platform: PlatformDep,
    response: Response,
    body: CheckpointModel | None = None,
) -> ModelMade:
    """Use a checkpoint as a model: to chat, export, or train on. Again is the same model."""
    model, is_new = platform.checkpoints.make_model(
        caller, checkpoint_id, body.name if body else None
    )
    response.status_code = 201 if is_new else 200
    return ModelMade(model_id=model.id, name=model.name, kind=model.kind, is_new=is_new)


@router.post("/checkpoints/{checkpoint_id}/branch", status_code=201)
def branch(
    checkpoint_id: CheckpointId,
    body: JobBranch,
    caller: CallerDep,
    platform: PlatformDep,
    key: Key = None,
) -> JobSubmitted:
    """A new job that goes on from a checkpoint with changed fields of its recipe."""
    sent = submitted(body, key, checkpoint_id)
    made = platform.copies.branch(caller, checkpoint_id, changes_of(body), sent)
    return receipt_of(made, caller.language)
