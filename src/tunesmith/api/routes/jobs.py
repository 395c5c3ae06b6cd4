"""Jobs: submit, look, steer, copy, delete."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Response

from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.listed import rows_written, written
from tunesmith.api.notices_zh import told
from tunesmith.api.texts import stored
from tunesmith.errors import TunesmithError
from tunesmith.schemas.common import Listed
from tunesmith.schemas.jobs import (
    BulkAnswer,
    BulkOutcome,
    EventPage,
    EventRead,
    JobBranch,
    JobBulk,
    JobCreate,
    JobDetails,
    JobRead,
    JobReorder,
    JobResume,
    JobSubmitted,
    JobUpdate,
    Preflight,
    ScalingRead,
    StatusWord,
    SubscriptionMade,
)
from tunesmith.schemas.tasks import TaskRead
from tunesmith.server.queue import Submitted, body_hash
from tunesmith.server.services.copies import Changes
from tunesmith.server.services.jobs import Draft, Receipt
from tunesmith.server.services.notices import NewSubscription
from tunesmith.server.services.scaling import Scaling
from tunesmith.server.states import Status

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=CallerFirst)

JobId = Annotated[str, Path(max_length=100, pattern=r"^[\w.:-]+$")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x20-\x7e]+$",
        description="The same request with the same key is one job, however often it is sent.",
    ),
]
_PLAIN: Final = r"^[^\x00-\x1f\x7f]*$"
PlainQuery = Annotated[str | None, Query(max_length=200, pattern=_PLAIN)]
Sought = Annotated[
    str | None,
    Query(max_length=200, pattern=_PLAIN, description="In the name, or the beginning of the id."),
]


@router.post("", status_code=201)
def create_job(
    body: JobCreate, caller: CallerDep, platform: PlatformDep, key: Key = None
) -> JobSubmitted:
    """Queue a training; its recipe, names and price are checked first."""
    done = platform.jobs.submit(caller, draft_of(body), submitted(body, key))
    return receipt_of(done, caller.language)


@router.get("", response_model=Listed[JobRead])
def list_jobs(
    caller: CallerDep,
    platform: PlatformDep,
    project_id: PlainQuery = None,
    status: Annotated[list[StatusWord] | None, Query(description="One or several.")] = None,
    text: Sought = None,
    user_id: Annotated[
        str | None, Query(max_length=100, pattern=r"^[\w.:-]*$", description="`me` is oneself.")
    ] = None,
    base: PlainQuery = None,
    label: Annotated[
        list[str] | None, Query(max_length=16, description="KEY=VALUE, all of them.")
    ] = None,
    after: After = None,
    limit: Limit = 20,
) -> Response:
    """Newest first."""
    page = platform.jobs.list(
        caller,
        project_id=project_id,
        statuses=[Status(word) for word in status or ()],
        user_id=user_id,
        text=text or "",
        base=base or "",
        labels=dict(_pair(each) for each in label or ()),
        after=after,
        limit=limit,
        with_recipes=False,
    )
    return rows_written(page, JobRead)


@router.post("/estimate")
def estimate_job(body: JobCreate, caller: CallerDep, platform: PlatformDep) -> Preflight:
    """What the job would need and cost, from past runs and sizes; nothing is submitted."""
    prepared, account = platform.jobs.preflight(caller, draft_of(body))
    return Preflight.model_validate(
        {
            "estimate": prepared.estimate,
            "num_devices": prepared.num_devices,
            "flavour": prepared.flavour.name if prepared.flavour is not None else "",
            "credit_cents": account.credit_cents,
            "held_cents": account.held_cents,
            "affordable": account.pays(prepared.estimate),
            "billing_url": platform.settings.billing_url,
            "notices": told(prepared.resolved.notices, caller.language),
            "scalings": [_scaling(each, caller.language) for each in prepared.scalings],
        },
        from_attributes=True,
    )


def _scaling(scaling: Scaling, language: str) -> ScalingRead:
    return ScalingRead(
        flavour=scaling.flavour,
        num_devices=scaling.num_devices,
        is_sensible=scaling.is_sensible,
        counts=list(scaling.counts),
        why=told([scaling.why], language)[0] if scaling.why is not None else None,
    )


@router.post("/plan", status_code=202)
def plan_job(body: JobCreate, caller: CallerDep, platform: PlatformDep) -> TaskRead:
    """Measure memory, time and steps with the model and the data; a background task."""
    return TaskRead.model_validate(platform.jobs.plan(caller, draft_of(body)))


@router.post("/bulk")
def bulk_jobs(body: JobBulk, caller: CallerDep, platform: PlatformDep) -> BulkAnswer:
    """One action on several jobs; each has its own outcome."""
    done = platform.jobs.bulk(caller, body.action, body.job_ids)
    return BulkAnswer(data=[_outcome(job_id, result) for job_id, result in done])


@router.get("/{job_id}", response_model=JobDetails)
def get_job(job_id: JobId, caller: CallerDep, platform: PlatformDep) -> Response:
    """One job with its datasets, attempts and result."""
    found = platform.jobs.details(caller, job_id)
    waits = [] if found.waits_for is None else told([found.waits_for], caller.language)
    shown = details_of(found)
    spoken = {"error": stored(shown.error, caller.language), "waits_for": next(iter(waits), None)}
    return written(shown.model_copy(update=spoken))


@router.patch("/{job_id}")
def update_job(job_id: JobId, body: JobUpdate, caller: CallerDep, platform: PlatformDep) -> JobRead:
    """Name, description, labels; the priority until it ended."""
    changes = body.model_dump(exclude_unset=True)
    kept = {name: value for name, value in changes.items() if value is not None or name == "labels"}
    return JobRead.model_validate(platform.jobs.update(caller, job_id, **kept))


@router.post("/{job_id}/cancel")
def cancel_job(job_id: JobId, caller: CallerDep, platform: PlatformDep) -> JobRead:
    """End it without a result; its checkpoints are kept."""
    return JobRead.model_validate(platform.jobs.cancel(caller, job_id))


@router.post("/{job_id}/pause")
def pause_job(job_id: JobId, caller: CallerDep, platform: PlatformDep) -> JobRead:
    """Save a checkpoint and free the devices."""
    return JobRead.model_validate(platform.jobs.pause(caller, job_id))


@router.post("/{job_id}/stop")
def stop_job(job_id: JobId, caller: CallerDep, platform: PlatformDep) -> JobRead:
    """Finish now and keep the result."""
    return JobRead.model_validate(platform.jobs.stop(caller, job_id))


@router.post("/{job_id}/resume")
def resume_job(
    job_id: JobId, caller: CallerDep, platform: PlatformDep, body: JobResume | None = None
) -> JobRead:
    """Go on from the last checkpoint, perhaps on another number of devices, at today's price."""
    num_devices = body.num_devices if body else None
    return JobRead.model_validate(platform.jobs.resume(caller, job_id, num_devices=num_devices))


@router.post("/{job_id}/reorder")
def reorder_job(
    job_id: JobId, body: JobReorder, caller: CallerDep, platform: PlatformDep
) -> JobRead:
    """Another place among the jobs of the project that wait."""
    return JobRead.model_validate(platform.jobs.reorder(caller, job_id, before=body.before))


@router.post("/{job_id}/retry", status_code=201)
def retry_job(
    job_id: JobId, caller: CallerDep, platform: PlatformDep, key: Key = None
) -> JobSubmitted:
    """A new job like one that ended, from its beginning, at the price of today."""
    sent = Submitted(body_hash({"retry": job_id}), key)
    return receipt_of(platform.jobs.retry(caller, job_id, sent), caller.language)


@router.get("/{job_id}/draft")
def get_draft(job_id: JobId, caller: CallerDep, platform: PlatformDep) -> JobCreate:
    """The body that would submit the same job again, for a form to change."""
    return JobCreate.model_validate(platform.copies.draft(caller, job_id))


@router.post("/{job_id}/clone", status_code=201)
def clone_job(
    job_id: JobId, body: JobBranch, caller: CallerDep, platform: PlatformDep, key: Key = None
) -> JobSubmitted:
    """A new job like this one, with changed fields of its recipe."""
    sent = submitted(body, key, job_id)
    made = platform.copies.clone(caller, job_id, changes_of(body), sent)
    return receipt_of(made, caller.language)


@router.delete("/{job_id}", status_code=204)
def delete_job(job_id: JobId, caller: CallerDep, platform: PlatformDep) -> None:
    """Take a job that ended, or is paused, from the list; its model stays."""
    platform.jobs.delete(caller, job_id)


@router.get("/{job_id}/events")
def list_events(
    job_id: JobId,
    caller: CallerDep,
    platform: PlatformDep,
    after: Annotated[int, Query(ge=0, le=2**62, description="A number.")] = 0,
    limit: Limit = 100,
) -> EventPage:
    """Oldest first; steps are events too."""
    found = platform.jobs.events(caller, job_id, after=after, limit=limit + 1)
    shown = [EventRead.model_validate(each, from_attributes=True) for each in found[:limit]]
    last = shown[-1].number if shown else None
    return EventPage(data=shown, has_more=len(found) > limit, last_number=last)


def receipt_of(done: Receipt, language: str) -> JobSubmitted:
    """A new job with what its author should know."""
    return JobSubmitted(
        **JobRead.model_validate(done.job).model_dump(),
        is_new=done.is_new,
        notices=told(done.notices, language),
        subscriptions=[
            SubscriptionMade(id=to.id, channel=to.channel, secret=secret)
            for to, secret in done.subscriptions
        ],
    )


def draft_of(body: JobCreate) -> Draft:
    """The body as the service takes it."""
    changes: dict[str, Any] = {}
    if body.base is not None:
        changes["model.base"] = body.base
    if body.datasets is not None:
        changes["data.train"] = [
            {"dataset": each} if isinstance(each, str) else each.model_dump(exclude_none=True)
            for each in body.datasets
        ]
    return Draft(
        recipe=body.recipe,
        project_id=body.project_id,
        name=body.name,
        description=body.description,
        overrides=changes,
        flavour=body.flavour,
        num_devices=body.num_devices,
        priority=body.priority,
        labels=body.labels,
        request=body.model_dump(mode="json", exclude_unset=True, exclude={"subscriptions"}),
        subscriptions=[NewSubscription(**each.model_dump()) for each in body.subscriptions],
    )


def submitted(body: Any, key: str | None, target: str = "") -> Submitted:
    """What makes the same request, sent twice, one job; `target` is what the path names."""
    return Submitted(body_hash([body.model_dump(mode="json"), target]), key)


def changes_of(body: JobBranch) -> Changes:
    """The body of a copy as the service takes it."""
    given = body.model_dump(exclude={"changes"})
    return Changes(fields=body.changes, **given)


def _outcome(job_id: str, result: Any) -> BulkOutcome:
    if isinstance(result, TunesmithError):
        error = {"code": result.code, "message": result.message, "hint": result.hint}
        return BulkOutcome(job_id=job_id, ok=False, error=error)
    job = JobRead.model_validate(result) if result is not None else None
    return BulkOutcome(job_id=job_id, ok=True, job=job)


def details_of(found: Any) -> JobDetails:
    shown = JobRead.model_validate(found.job).model_dump()
    beside = {
        "datasets": [
            {"dataset_version_id": version, "role": role, "name": name, "version": number}
            for version, role, name, number in found.datasets
        ],
        "attempts": found.attempts,
        "model_id": found.model_id,
        "num_checkpoints": found.num_checkpoints,
        "expected": found.job.expected,
        "peak_memory_bytes": found.job.peak_memory_bytes,
        "waits_for": None,  # said in the language of the caller
    }
    return JobDetails.model_validate({**shown, **beside}, from_attributes=True)


def _pair(label: str) -> tuple[str, str]:
    key, _, value = label.partition("=")
    return key[:64], value[:512]
