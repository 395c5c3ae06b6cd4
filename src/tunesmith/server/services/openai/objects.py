"""Jobs and checkpoints as clients of the OpenAI API read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.schemas.openai.jobs import (
    CheckpointMetrics,
    CheckpointObject,
    JobCreate,
    JobError,
    JobObject,
)
from tunesmith.server.clock import Moment
from tunesmith.server.naming import checkpoint_name
from tunesmith.server.result_files import result_file_id
from tunesmith.server.services.openai.auto import SHARED
from tunesmith.server.states import Status
from tunesmith.server.tables import Checkpoint, File, Job, Model

_SHOWN: Final = {Status.STARTING.value: Status.QUEUED.value}
_METHODS: Final = {"dpo": "dpo", "grpo": "reinforcement"}
_RATE: Final = 1e-4  # of the default profile: 1 as a multiplier for jobs of the native API


def job_object(session: Session, job: Job, moment: Moment) -> JobObject:
    return job_objects(session, [job], moment)[0]


def job_objects(session: Session, jobs: Sequence[Job], moment: Moment) -> list[JobObject]:
    """Several jobs with what lies beside them, in the same order."""
    ended = [job.id for job in jobs if job.status == Status.SUCCEEDED.value]
    names = dict(
        session.execute(
            select(Model.job_id, Model.name).where(
                Model.job_id.in_(ended), Model.checkpoint_id.is_(None)
            )
        ).all()
    )
    files = set(
        session.scalars(
            select(File.id).where(
                File.id.in_(map(result_file_id, ended)), File.deleted_at.is_(None)
            )
        )
    )
    return [_job_object(job, names.get(job.id), files, moment) for job in jobs]


def checkpoint_object(checkpoint: Checkpoint, model: str) -> CheckpointObject:
    """`model`: the name of the job's result."""
    return CheckpointObject(
        id=checkpoint.id,
        created_at=checkpoint.created_at,  # pyright: ignore[reportArgumentType]
        fine_tuned_model_checkpoint=checkpoint_name(model, checkpoint.step),
        fine_tuning_job_id=checkpoint.job_id,
        step_number=checkpoint.step,
        metrics=CheckpointMetrics.model_validate({"step": checkpoint.step, **checkpoint.metrics}),
    )


def _job_object(job: Job, model: str | None, files: set[str], moment: Moment) -> JobObject:
    request = job.request if job.request and "training_file" in job.request else {}
    numbers = _numbers(job, request)
    result = result_file_id(job.id)
    left = None if job.eta_seconds is None else timedelta(seconds=job.eta_seconds)
    shown: dict[str, Any] = {
        "id": job.id,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "estimated_finish": None if left is None else moment.wall + left,
        "model": request.get("model", job.base),
        "fine_tuned_model": model,
        "organization_id": job.project_id,
        "status": _SHOWN.get(job.status, job.status),
        "training_file": request.get("training_file", _first_dataset(job)),
        "validation_file": request.get("validation_file", _held_out(job)),
        "result_files": [result] if result in files else [],
        "trained_tokens": job.trained_tokens,
        "seed": job.recipe["training"]["seed"],
        "hyperparameters": {name: numbers[name] for name in SHARED},
        "method": _method(job, request, numbers),
        "integrations": request.get("integrations"),
        "metadata": job.labels,
        "error": None if job.error is None else _error(job.error),
        "user_provided_suffix": request.get("suffix"),
    }
    return JobObject.model_validate(shown)


def _method(job: Job, request: Mapping[str, Any], numbers: dict[str, Any]) -> dict[str, Any]:
    """How the model learns, with the numbers in force; jobs of the native API by their stage."""
    stage: dict[str, Any] = job.recipe["stage"]
    asked: dict[str, Any] = request.get("method") or {}
    kind = asked.get("type") or _METHODS.get(stage["kind"], "supervised")
    section: dict[str, Any] = {"hyperparameters": numbers}
    if kind == "reinforcement":
        sources = stage.get("rewards") or []
        graders = [each["grader"] for each in sources if each["kind"] == "grader"]
        section["grader"] = (asked.get(kind) or {}).get("grader") or next(iter(graders), None)
    return {"type": kind, kind: section}


def _numbers(job: Job, request: Mapping[str, Any]) -> dict[str, Any]:
    """Those in force: what was asked for until the rows are known, then what it came to."""
    if "numbers" in request:
        return dict(request["numbers"])
    if request:
        return JobCreate.model_validate(request).numbers.model_dump()
    training, stage = job.recipe["training"], job.recipe["stage"]
    epochs = training["epochs"]
    own = {"beta": stage["beta"]} if stage["kind"] == "dpo" else {}
    return {
        "n_epochs": int(epochs) if epochs == int(epochs) else epochs,
        "batch_size": training["batch_size"],
        "learning_rate_multiplier": float(f"{training['learning_rate'] / _RATE:.6g}"),
        **own,
    }


def _first_dataset(job: Job) -> str:
    """Jobs of the native API have datasets where this one has a file."""
    return str(job.recipe["data"]["train"][0]["dataset"])


def _held_out(job: Job) -> str | None:
    return job.recipe["data"]["validation"].get("dataset")


def _error(error: Mapping[str, Any]) -> JobError:
    known = {"code": "server_error", "message": "", "param": None}
    return JobError.model_validate({**known, **error})
