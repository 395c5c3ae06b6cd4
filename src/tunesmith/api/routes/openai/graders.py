"""Graders: run one on an answer, or look whether it is in order."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from tunesmith.api.dependencies import CallerDep, CallerFirst, PlatformDep
from tunesmith.errors import InputError
from tunesmith.evaluation.graders import Allowed, grade, problems
from tunesmith.schemas.openai.graders import (
    GraderChecked,
    GraderErrors,
    GraderMetadata,
    GraderResult,
    GraderRun,
    GraderValidate,
)

router = APIRouter(prefix="/fine_tuning/alpha/graders", tags=["graders"], route_class=CallerFirst)


@router.post("/run")
def run_grader(body: GraderRun, caller: CallerDep, platform: PlatformDep) -> GraderResult:
    """The reward of one answer. What goes wrong is a flag, not an error."""
    caller.require_scope("write")
    allowed = Allowed(python=platform.settings.python_graders)
    outcome = grade(body.grader, body.model_sample, body.item, allowed)
    return GraderResult(
        reward=outcome.reward,
        sub_rewards=dict(outcome.sub_rewards),
        metadata=GraderMetadata(
            name=body.grader.name,
            type=body.grader.type,
            scores=dict(outcome.scores),
            execution_time=outcome.seconds,
            token_usage=None,
            sampled_model_name=None,
            errors=GraderErrors.model_validate(asdict(outcome.errors)),
        ),
    )


@router.post("/validate")
def validate_grader(body: GraderValidate, caller: CallerDep) -> GraderChecked:
    """The grader, or every reason why it cannot work."""
    caller.require_scope("read")
    refuse_faulty(body.grader, "grader")
    return GraderChecked(grader=body.grader.model_dump(exclude_none=True))


def refuse_faulty(grader: Any, place: str) -> None:
    """InputError with all that is wrong with a grader."""
    found = [(f"{place}.{name}", told) for name, told in problems(grader)]
    if found:
        raise InputError(
            "; ".join(f"{name}: {told}" for name, told in found[:10]) + ".",
            code="invalid_grader",
            param=found[0][0],
        )
