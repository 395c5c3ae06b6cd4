"""Fine-tuning jobs: create, look, steer, events."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request

from tunesmith.api.dependencies import CallerDep, CallerFirst
from tunesmith.api.routes.openai.dependencies import OpenAIDep, ProjectDep
from tunesmith.api.routes.openai.queries import nested
from tunesmith.errors import InputError
from tunesmith.schemas.openai.jobs import (
    EstimateObject,
    EventPage,
    JobCreate,
    JobObject,
    JobPage,
)
from tunesmith.server.queue import Submitted, body_hash

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning jobs"], route_class=CallerFirst)
JobId = Annotated[str, Path(max_length=100)]
Cursor = Annotated[str | None, Query(description="Go on after this id.", max_length=100)]
PageSize = Annotated[int, Query(ge=1, le=1000, description="Most items of the answer.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="The same request with the same key is one job, however often it is sent.",
    ),
]
Retries = Annotated[
    str | None,
    Header(
        alias="x-stainless-retry-count",
        max_length=20,
        description="Above 0: the same body within a minute means the same job.",
    ),
]
_METADATA: Final[dict[str, Any]] = {
    "parameters": [
        {
            "in": "query",
            "name": "metadata",
            "style": "deepObject",
            "explode": True,
            "description": "metadata[key]=value, all of them; metadata=null: jobs without any.",
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
        }
    ]
}


@router.post("")
def create_job(
    body: JobCreate,
    caller: CallerDep,
    openai: OpenAIDep,
    project_id: ProjectDep,
    key: Key = None,
    retries: Retries = None,
) -> JobObject:
    """Queue a training; its files are checked in the background."""
    is_retry = retries is not None and retries.isdecimal() and int(retries) > 0
    sent = {"path": "/v1/fine_tuning/jobs", "project": project_id, **body.model_dump(mode="json")}
    return openai.create(caller, body, Submitted(body_hash(sent), key, is_retry))


@router.post("/estimate")
def estimate_job(body: JobCreate, caller: CallerDep, openai: OpenAIDep) -> EstimateObject:
    """Price, time and memory of the same body; nothing is started."""
    return openai.estimate(caller, body)


@router.get("", openapi_extra=_METADATA)
def list_jobs(
    request: Request,
    caller: CallerDep,
    openai: OpenAIDep,
    project_id: ProjectDep,
    after: Cursor = None,
    limit: PageSize = 20,
) -> JobPage:
    """Newest first."""
    wanted = nested(request.query_params.multi_items()).get("metadata", {})
    found = openai.list(
        caller,
        project_id=project_id,
        labels={} if wanted == "null" else _labels(wanted),
        without_labels=wanted == "null",
        after=after,
        limit=limit,
    )
    return JobPage(data=list(found.items), has_more=found.has_more)


@router.get("/{job_id}")
def get_job(job_id: JobId, caller: CallerDep, openai: OpenAIDep) -> JobObject:
    return openai.get(caller, job_id)


@router.post("/{job_id}/cancel")
def cancel_job(job_id: JobId, caller: CallerDep, openai: OpenAIDep) -> JobObject:
    """End it without a result; its checkpoints are kept."""
    return openai.cancel(caller, job_id)


@router.post("/{job_id}/pause")
def pause_job(job_id: JobId, caller: CallerDep, openai: OpenAIDep) -> JobObject:
    """Save a checkpoint and free the devices; only while it runs and has a step."""
    return openai.pause(caller, job_id)


@router.post("/{job_id}/resume")
def resume_job(job_id: JobId, caller: CallerDep, openai: OpenAIDep) -> JobObject:
    """Queue a paused job again."""
    return openai.resume(caller, job_id)


@router.get("/{job_id}/events")
def list_events(
    job_id: JobId,
    caller: CallerDep,
    openai: OpenAIDep,
    after: Cursor = None,
    limit: PageSize = 20,
) -> EventPage:
    """Newest first; steps are events of the type `metrics`."""
    found = openai.events(caller, job_id, after=after, limit=limit)
    return EventPage(data=list(found.items), has_more=found.has_more)


def _labels(wanted: Any) -> dict[str, str]:
    if isinstance(wanted, dict) and all(isinstance(value, str) for value in wanted.values()):
        return wanted
    raise InputError(
        "metadata is no filter.",
        hint="Write metadata[key]=value, or metadata=null for jobs without metadata.",
        code="invalid_query",
        param="metadata",
    )
