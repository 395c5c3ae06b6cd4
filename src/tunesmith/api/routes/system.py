"""Whether the server is well, and what happened on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import AwareDatetime

from tunesmith import __version__
from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.documented import a_text
from tunesmith.api.listed import listed
from tunesmith.api.notices_zh import told
from tunesmith.recipe import Notice
from tunesmith.schemas.common import Health, HealthWarning, Listed
from tunesmith.schemas.people import AuditRead
from tunesmith.schemas.system import DoctorCheck, DoctorRead, StorageRead, WorkerRead
from tunesmith.server.doctor import server_checks
from tunesmith.server.workers import Heartbeats

router = APIRouter(tags=["system"], route_class=CallerFirst)
metrics_router = APIRouter(tags=["system"], route_class=CallerFirst)


@router.head("/health", include_in_schema=False)  # what load balancers ask
@router.get("/health")
def health(request: Request, platform: PlatformDep) -> Health:
    """Answers 503 when the database does not answer."""
    since, workers = platform.storage.since, platform.jobs.flavours.workers()
    warnings = [*_of_workers(workers), *_of_flavours(platform.jobs.flavours.oversights())]
    return Health(
        status="ok" if since is None else "read_only",
        read_only_since=since,
        version=__version__,
        database="ok",
        time=platform.people.now(),
        needs_setup=platform.people.needs_setup(),
        workers_running=len(workers.running),
        workers_silent=len(workers.silent) + len(workers.killed),
        workers_heard_seconds=workers.longest,
        warnings=[
            HealthWarning(code=each.code, message=each.message, hint=each.hint)
            for each in told(warnings, request.state.language)
        ],
    )


def _of_workers(workers: Heartbeats) -> Iterator[Notice]:
    """Without their names: anybody may ask."""
    if not workers.running:
        yield Notice(
            "no_worker_running",
            "No worker runs; jobs wait until one does.",
            "Start one: tunesmith worker, or tunesmith serve without --no-worker.",
        )
    if workers.killed:
        yield Notice(
            "worker_killed",
            f"The process of {len(workers.killed)} of the workers on this machine is gone; it did "
            "not end by itself. Its trainings go on, and are taken over when it is started again.",
            "Start it again: tunesmith worker. `tunesmith doctor` on the server names it.",
        )
    if workers.silent:
        yield Notice(
            "worker_silent",
            f"{len(workers.silent)} of the known workers were not heard of lately.",
            "`tunesmith doctor` on the server names them.",
        )


def _of_flavours(found: Sequence[Notice]) -> Iterator[Notice]:
    """One of each kind, without names: anybody may ask."""
    codes = {each.code for each in found}
    hint = "`tunesmith doctor` on the server names them."
    if "flavour_without_device" in codes:
        told_ = "The setting flavours names a device that no worker has."
        yield Notice("flavour_without_device", told_, hint)
    if "device_without_flavour" in codes:
        told_ = "A worker has a device that costs nothing, while flavours of others have a price."
        yield Notice("device_without_flavour", told_, hint)


@router.get("/audit")
def list_audit(
    caller: CallerDep,
    platform: PlatformDep,
    project_id: Annotated[str | None, Query(max_length=100)] = None,
    target: Annotated[str | None, Query(max_length=100, description="Id of a thing.")] = None,
    user_id: Annotated[str | None, Query(max_length=100)] = None,
    action: Annotated[
        str | None, Query(max_length=100, description="`job.create`, or `job` for all of jobs.")
    ] = None,
    since: Annotated[AwareDatetime | None, Query(description="Not before.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before.")] = None,
    after: After = None,
    limit: Limit = 100,
) -> Listed[AuditRead]:
    """Who did what, newest first; of one project for its admins."""
    page = platform.audit.list(
        caller,
        project_id=project_id,
        target=target,
        user_id=user_id,
        action=action,
        since=since,
        until=until,
        after=after,
        limit=limit,
    )
    return listed(page, AuditRead)


@router.get("/workers")
def list_workers(caller: CallerDep, platform: PlatformDep) -> Listed[WorkerRead]:
    """Those of the last week with their devices, by name. Jobs that the caller may not see only
    make a device busy; memory in use and utilisation are what its job told at its newest step.
    """
    rows = platform.workers.list(caller)
    return Listed(data=[WorkerRead.model_validate(row) for row in rows], has_more=False)


@router.get("/storage")
def storage(caller: CallerDep, platform: PlatformDep) -> StorageRead:
    """The disk of the data directory; for administrators also what takes it."""
    return StorageRead.model_validate(platform.usage.storage(caller))


@router.get("/doctor")
def doctor(caller: CallerDep, platform: PlatformDep) -> DoctorRead:
    """What `tunesmith doctor` says of this server: settings, data directory, database, time."""
    caller.require_admin()
    checks = (each.in_language(caller.language) for each in server_checks(platform.settings))
    return DoctorRead(checks=[DoctorCheck.model_validate(each) for each in checks])


@metrics_router.get(
    "/metrics",
    response_class=Response,
    responses=a_text(
        "The text format of Prometheus.", "text/plain", 'tunesmith_jobs{status="queued"} 2\n'
    ),
)
def metrics(caller: CallerDep, request: Request) -> Response:
    """For Prometheus, with an administrator's token."""
    caller.require_admin()
    return Response(
        generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST
    )
