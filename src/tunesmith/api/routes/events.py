"""What happens, as it happens: streams of server-sent events."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request, Response

from tunesmith.api import sse
from tunesmith.api.dependencies import CallerDep, CallerFirst, PlatformDep, caller_now
from tunesmith.api.documented import a_text
from tunesmith.api.routes.jobs import JobId
from tunesmith.schemas.samples import JOB
from tunesmith.server.access import Role
from tunesmith.server.states import FINAL, status_of

router = APIRouter(tags=["jobs"], route_class=CallerFirst)
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=200, description="Go on behind this event."),
]
_SENT = (
    'id: 24\ndata: {"job_id": "'
    + JOB
    + '", "number": 24, "type": "step", "data": {"step": 12, "loss": 0.9312}}\n\n'
)
_STREAM: dict[int | str, dict[str, Any]] = {
    **a_text(
        "Server-sent events: `id` is the number of an event, `data` the event in a line of JSON. "
        "Lines that begin with a colon keep the connection open.",
        "text/event-stream",
        _SENT,
    ),
    204: {"description": "The reader has all events of a job that ended."},
}


def start_of(
    last_event_id: LastEventId = None,
    after: Annotated[int, Query(ge=0, le=2**62, description="A number.")] = 0,
) -> int:
    """The number behind which a stream begins."""
    return sse.last_number(last_event_id, after)


@router.get("/jobs/{job_id}/events/stream", response_class=Response, responses=_STREAM)
async def stream_job_events(
    job_id: JobId,
    request: Request,
    caller: CallerDep,
    platform: PlatformDep,
    after: Annotated[int, Depends(start_of)],
) -> Response:
    """Every event of a job: `id` is its number, `data` the event as in the list.

    Ends with the last event of the job; a reader that has all of them gets 204, as browsers want
    it to stop asking.
    """
    job = await to_thread.run_sync(platform.jobs.get, caller, job_id)
    if status_of(job) in FINAL and job.event_count <= after:
        return Response(status_code=204)

    platform.feed.admit()

    def may() -> None:
        platform.jobs.get(caller_now(request), job_id)

    return sse.streamed(sse.job_events(platform.feed, job_id, after, may))


@router.get("/events/stream", response_class=Response, responses=_STREAM)
async def stream_all(
    request: Request,
    caller: CallerDep,
    platform: PlatformDep,
    project_id: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """All jobs of the caller, for a page: `job` messages are states, the others events but steps.

    It begins now: load the list after the message `ready`, and again after `reload`.
    """
    if project_id is not None:
        caller.require(project_id, Role.VIEWER)
    caller.require_scope("read")
    projects = frozenset([project_id] if project_id else caller.projects())

    platform.feed.admit()

    def may() -> None:
        now = caller_now(request)
        for project in projects:
            now.require(project, Role.VIEWER)

    return sse.streamed(sse.all_events(platform.feed, projects, may))
