"""Makes a job of a request. Read `submit` first.

What can be told at once is refused here: fields, model, files that are not there, quota, credit.
The job then waits in `validating_files` for the task that looks into its files (validation.py).
Its answer is made in the transaction that makes the job: after the commit nothing can fail.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.orm import Session

from tunesmith.schemas.openai.jobs import JobCreate, JobObject
from tunesmith.server import clock
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.clock import Moment
from tunesmith.server.platform import Platform
from tunesmith.server.queue import NewJob, Submitted
from tunesmith.server.services.openai import objects
from tunesmith.server.services.openai.looking import Looked, look_up, sized
from tunesmith.server.services.scaling import refuse_idle_devices
from tunesmith.server.tables import Job

VALIDATE: Final = "openai.validate"
_LARGEST_SEED: Final = 2**31 - 1


def submit(platform: Platform, caller: Caller, body: JobCreate, submitted: Submitted) -> JobObject:
    """The job of a request; that of the first one where the same request came before."""
    jobs = platform.jobs
    caller.chosen(None, Role.MEMBER)
    known = jobs.queue.known(caller.user_id, submitted)
    if known is not None:
        return show(platform, known)
    found = look_up(platform, caller, body)
    if found.num_devices > 1:
        refuse_idle_devices(sized(platform, caller, body, found).comes_to, found.num_devices)
    shown: list[JobObject] = []

    def guard(session: Session, job: Job, moment: Moment) -> None:
        jobs.order_by(session, job, None)
        project = job.project_id
        audit(session, moment, caller, "job.create", job.id, project_id=project)
        platform.tasks.add(
            session, moment, caller, VALIDATE, {"job_id": job.id}, project_id=project, target=job.id
        )
        shown.append(objects.job_object(session, job, moment))

    job, is_new = jobs.queue.create(_new(caller, body, found), submitted, guard)
    if not is_new:
        return show(platform, job)
    platform.tasks.on_submit()
    return shown[0]


def show(platform: Platform, job: Job) -> JobObject:
    with platform.database.read() as session:
        return objects.job_object(session, job, clock.read(session))


def request_of(body: JobCreate, seed: int) -> dict[str, Any]:
    """What is kept of a request, to show it again and to make the recipe once rows are known."""
    return body.model_dump(mode="json", exclude_none=True) | {"seed": seed}


def _new(caller: Caller, body: JobCreate, found: Looked) -> NewJob:
    start, flavour = found.start, found.flavour
    return NewJob(
        project_id=found.project_id,
        user_id=caller.user_id,
        name=body.suffix or "run",
        recipe=found.loaded.recipe.model_dump(mode="json"),
        base=start.base,
        base_model_id=start.model_id,
        labels=body.metadata or None,
        request=request_of(body, found.seed),
        num_devices=found.num_devices,
        flavour=flavour.device if flavour is not None else "",
        flavour_name=flavour.name if flavour is not None else "",
        price_cents_per_hour=flavour.price_cents_per_hour if flavour is not None else 0.0,
        priority=body.priority,
        parent_id=start.parent_id,
        checkpoint_id=start.checkpoint_id,
        needs_validation=True,
    )
