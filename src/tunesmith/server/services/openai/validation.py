"""What happens to a job while it is `validating_files`. Read `validate` first.

Its files become dataset versions, every "auto" a number, the body a complete recipe; then the job
waits for a worker. A file that cannot be used ends the job with the error that clients know. Done
again after a crash it comes to the same: versions are found, and a job that went on is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from tunesmith.data.check.openai_rules import Purpose
from tunesmith.errors import TunesmithError
from tunesmith.schemas.openai.jobs import JobCreate, MethodType
from tunesmith.server import clock, journal
from tunesmith.server.clock import Moment
from tunesmith.server.errors import Conflict, DatabaseUnavailable, NotFound, QuotaExceeded
from tunesmith.server.journal import Entry
from tunesmith.server.services import recipes
from tunesmith.server.services.estimates import Estimate, estimate
from tunesmith.server.services.models.grounds import advised
from tunesmith.server.services.openai.auto import Numbers, Recommended, decide
from tunesmith.server.services.openai.datasets import Used, refuse_overlap, version_of_file
from tunesmith.server.services.openai.draft import asked_numbers, recipe_of
from tunesmith.server.services.overruled import is_unused
from tunesmith.server.services.scaling import refuse_idle_devices
from tunesmith.server.services.submission import Resolved, resolve
from tunesmith.server.states import Status, status_of, transition
from tunesmith.server.tables import Job, JobDataset
from tunesmith.server.task_context import TaskContext

_TRAINING: Final = ("training_file", "train")
_VALIDATION: Final = ("validation_file", "validation")


@dataclass(frozen=True)
class Decided:
    """The job as it goes to the queue."""

    recipe: dict[str, Any]
    numbers: Numbers
    versions: Sequence[tuple[str, str]]
    told: Sequence[str]
    warned: Sequence[str]  # what of the request is not used
    expected: Estimate


def validate(context: TaskContext) -> dict[str, Any]:
    """Look into the files of a job and queue it, or end it with what is wrong."""
    platform = context.platform
    job = platform.jobs.queue.get(context.params["job_id"])
    if status_of(job) is not Status.VALIDATING:
        return {"job_id": job.id, "status": job.status}
    try:
        job = _queue(context, job, _decide(context, job))
    except DatabaseUnavailable:
        raise  # says nothing about the files
    except TunesmithError as error:
        job = _end(context, job, _public(error))
        return {"job_id": job.id, "status": job.status}
    except Exception:
        told = "The files of this job could not be checked; they are kept. Submit it again."
        _end(context, job, {"code": "server_error", "message": told, "param": None})
        raise
    return {"job_id": job.id, "status": job.status}


def _decide(context: TaskContext, job: Job) -> Decided:
    assert job.request is not None
    body = JobCreate.model_validate(_asked(job.request))
    purpose = _purpose(body, job)
    training = version_of_file(context, body.training_file, _TRAINING[0], purpose)
    held = None
    if body.validation_file is not None:
        held = version_of_file(context, body.validation_file, _VALIDATION[0], purpose)
        refuse_overlap(context.platform.place, training, held)
    recommended = _recommended(context, job, training, body.kind)
    numbers = decide(asked_numbers(body), training.rows, recommended)
    with context.platform.database.read() as session:
        loaded = recipe_of(
            body,
            base=job.recipe["model"]["base"],
            seed=job.recipe["training"]["seed"],
            train=training.version_id,
            validation=held.version_id if held is not None else None,
            numbers=numbers,
            recommended_rate=recommended.learning_rate,
            rows=training.rows,
            advised=advised(session, context.caller, job.project_id),
        )
        resolved = resolve(
            session, context.caller, job.project_id, loaded, context.platform.settings
        )
    resolved.refuse()
    numbers = _in_force(resolved, numbers, recommended)
    return Decided(
        resolved.recipe.model_dump(mode="json"),
        numbers,
        resolved.versions,
        _told(resolved, numbers, training, held),
        [
            *_integrations(body),
            *_effort(numbers),
            *(each.message for each in resolved.notices if is_unused(each)),
        ],
        _expected(context, job, resolved),
    )


def _purpose(body: JobCreate, job: Job) -> Purpose:
    """What the lines of the files are for; a stage that this API does not have takes any."""
    if body.kind == "supervised" and job.recipe["stage"]["kind"] != "sft":
        return "any"
    return body.kind


def _expected(context: TaskContext, job: Job, resolved: Resolved) -> Estimate:
    """How long the training will take, now that its rows are known."""
    jobs, devices = context.platform.jobs, job.num_devices
    comes = recipes.comes_to(resolved.recipe, resolved.rows, devices)
    refuse_idle_devices(comes, devices)
    with context.platform.database.read() as session:
        flavour = jobs.flavours.choose(session, clock.read(session), job.flavour_name, devices)
        return estimate(session, context.platform.place, resolved, flavour, devices)


def _integrations(body: JobCreate) -> list[str]:
    """Whose account it is, is not the client's to say."""
    if not body.integrations:
        return []
    more = "; only the first one is used" if len(body.integrations) > 1 else ""
    return [
        "integrations: the curves go to the Weights & Biases account that is set up on the worker, "
        f"if there is one{more}"
    ]


def _effort(numbers: Numbers) -> list[str]:
    effort = numbers.own.get("reasoning_effort", "default")
    if effort == "default":
        return []
    return [f"reasoning_effort: {effort} is not used; the model answers as its template has it"]


def _asked(request: dict[str, Any]) -> dict[str, Any]:
    """The request without what this module wrote into it."""
    return {name: value for name, value in request.items() if name != "numbers"}


def _recommended(context: TaskContext, job: Job, training: Used, method: MethodType) -> Recommended:
    """What is advised for this model, so many rows and the method."""
    advice = context.platform.advice.defaults(
        context.caller,
        job.recipe["model"]["base"],
        datasets=[training.version_id],
        profile=job.recipe["profile"],
        project_id=job.project_id,
    )
    return Recommended.of(advice.values, method)


def _in_force(resolved: Resolved, numbers: Numbers, recommended: Recommended) -> Numbers:
    """The numbers of the recipe: its own fields may have won over the hyper-parameters."""
    training = resolved.recipe.training
    epochs = training.epochs
    return Numbers(
        int(epochs) if epochs == int(epochs) else numbers.n_epochs,
        training.batch_size,
        float(f"{training.learning_rate / recommended.learning_rate:.6g}"),
        numbers.own,
    )


def _told(resolved: Resolved, numbers: Numbers, training: Used, held: Used | None) -> Sequence[str]:
    checkpoint = resolved.recipe.training.checkpoint
    beside = "" if held is None else f", {held.rows} for validation"
    return [
        f"Validated the files: {training.rows} examples{beside}",
        f"Hyperparameters: {numbers.told()}; learning rate "
        f"{resolved.recipe.training.learning_rate:g}",
        f"Checkpoints: every {checkpoint.every_steps} steps and at the end; the newest "
        f"{checkpoint.keep} are kept, and the best where there is validation",
    ]


def _queue(context: TaskContext, job: Job, decided: Decided) -> Job:
    jobs = context.platform.jobs

    def queue(session: Session, job: Job, moment: Moment) -> Job:
        if status_of(job) is not Status.VALIDATING:  # cancelled meanwhile, or done before
            return job
        jobs.order_by(session, job, decided.expected, kept="its files are kept")
        for version, role in decided.versions:
            session.add(JobDataset(job_id=job.id, dataset_version_id=version, role=role))
        entries = [Entry("files", told) for told in decided.told]
        entries += [Entry("notice", told, level="warn") for told in decided.warned]
        journal.append(session, job, moment, *entries)
        return transition(
            session,
            job,
            Status.QUEUED,
            moment,
            message="Files validated, moving job to queued state",
            recipe=decided.recipe,
            request={**(job.request or {}), "numbers": decided.numbers.document()},
        )

    return jobs.queue.change(job.id, queue)


def _end(context: TaskContext, job: Job, error: dict[str, Any]) -> Job:
    try:
        return context.platform.jobs.queue.refuse(job.id, error)
    except (Conflict, NotFound):  # cancelled or deleted meanwhile: that stands
        return job


def _public(error: TunesmithError) -> dict[str, Any]:
    """An error as a failed job shows it; its details are what other languages need."""
    code = QuotaExceeded.code if isinstance(error, QuotaExceeded) else error.code
    return {
        **error.details,
        "code": code,
        "message": error.message,
        "param": error.details.get("param"),
        "hint": error.hint,
        "reason": error.code,
    }
