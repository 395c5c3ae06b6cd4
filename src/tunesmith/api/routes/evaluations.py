"""Evaluations: scores of a model, and the verdict beside its base."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse

from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.documented import a_text
from tunesmith.schemas.common import Listed
from tunesmith.schemas.evaluations import (
    EvaluationCreate,
    EvaluationRead,
    EvaluationRow,
    EvaluationRows,
    Outcome,
    ScoreName,
)
from tunesmith.schemas.tasks import TaskRead
from tunesmith.schemas.tracing import RetrainCreate, TraceCreate, TraceRead
from tunesmith.server.services.evaluations import EvaluationOrder
from tunesmith.server.services.tracing import (
    ChangedRow,
    RemovedRow,
    RetrainOrder,
    TraceOrder,
)

router = APIRouter(prefix="/evaluations", tags=["evaluations"], route_class=CallerFirst)
# A page of its own: answers of models are in it, as text, and nothing in it may do anything.
_ALONE: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
Id = Annotated[str | None, Query(max_length=100)]


@router.post("", status_code=202)
def create_evaluation(
    body: EvaluationCreate, caller: CallerDep, platform: PlatformDep
) -> EvaluationRead:
    """Let a model answer rows, beside its base; the task of the answer tells how far it is."""
    given = body.model_dump(exclude={"project_id"}, exclude_none=True)
    return _read(*platform.evaluations.create(caller, EvaluationOrder(**given), body.project_id))


@router.get("")
def list_evaluations(
    caller: CallerDep,
    platform: PlatformDep,
    project_id: Id = None,
    model_id: Id = None,
    job_id: Id = None,
    after: After = None,
    limit: Limit = 100,
) -> Listed[EvaluationRead]:
    found = platform.evaluations.list(
        caller, project_id, model_id=model_id, job_id=job_id, after=after, limit=limit
    )
    tasks = platform.evaluations.states(found.items)
    data = [_read(row, tasks[row.id]) for row in found.items]
    last = found.items[-1].id if found.items else None
    return Listed(data=data, has_more=found.has_more, last_id=last)


@router.get("/{evaluation_id}")
def get_evaluation(evaluation_id: str, caller: CallerDep, platform: PlatformDep) -> EvaluationRead:
    return _read(*platform.evaluations.get(caller, evaluation_id))


@router.get("/{evaluation_id}/document")
def get_document(evaluation_id: str, caller: CallerDep, platform: PlatformDep) -> dict[str, Any]:
    """All that was found: every score with its interval, the rows won and lost."""
    return platform.evaluations.document(caller, evaluation_id)


@router.get("/{evaluation_id}/rows")
def list_evaluation_rows(
    evaluation_id: str,
    caller: CallerDep,
    platform: PlatformDep,
    outcome: Outcome | None = None,
    score: Annotated[ScoreName | None, Query(description="Missing: the primary one.")] = None,
    skip: Annotated[int, Query(ge=0, le=10**7)] = 0,
    limit: Limit = 50,
) -> EvaluationRows:
    """Question, reference and both answers, the rows that differ most first."""
    found = platform.evaluations.rows(
        caller, evaluation_id, score=score or "", outcome=outcome or "", skip=skip, limit=limit
    )
    end = skip + len(found.items)
    return EvaluationRows(
        data=[EvaluationRow.model_validate(row) for row in found.items],
        has_more=end < found.total,
        next_skip=end if end < found.total else None,
        total=found.total,
        counts=dict(found.counts),
        score=found.score,
    )


@router.get(
    "/{evaluation_id}/report",
    response_class=FileResponse,
    responses=a_text("One page.", "text/html", "<!doctype html><title>support-bot</title>"),
)
def get_report(evaluation_id: str, caller: CallerDep, platform: PlatformDep) -> FileResponse:
    """The report for people, one page that asks nobody for anything."""
    path = platform.evaluations.report(caller, evaluation_id, caller.language)
    headers = {"content-security-policy": _ALONE}
    return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)


@router.post("/{evaluation_id}/trace", status_code=202)
def begin_trace(
    evaluation_id: str, body: TraceCreate, caller: CallerDep, platform: PlatformDep
) -> TaskRead:
    """Look for the training rows behind the wrong answers, with the loss of each."""
    task = platform.tracing.begin(caller, evaluation_id, TraceOrder(**body.model_dump()))
    return TaskRead.model_validate(task)


@router.get("/{evaluation_id}/trace")
def get_trace(evaluation_id: str, caller: CallerDep, platform: PlatformDep) -> TraceRead | None:
    """What the last trace found: wrong answers, worst first, each with the rows most like it.

    Null where nobody has looked yet.
    """
    found = platform.tracing.found(caller, evaluation_id)
    return TraceRead.model_validate(found) if found else None


@router.post("/{evaluation_id}/retrain", status_code=202)
def retrain(
    evaluation_id: str, body: RetrainCreate, caller: CallerDep, platform: PlatformDep
) -> TaskRead:
    """Publish the data with these changes, and submit a job that learns on from the result.

    Without changes the job takes the newest versions of the data. The task's result names the job.
    """
    order = RetrainOrder(
        [ChangedRow(**each.model_dump()) for each in body.changes],
        [RemovedRow(**each.model_dump()) for each in body.removals],
        body.name or "",
    )
    return TaskRead.model_validate(platform.tracing.retrain(caller, evaluation_id, order))


@router.delete("/{evaluation_id}", status_code=204)
def delete_evaluation(evaluation_id: str, caller: CallerDep, platform: PlatformDep) -> None:
    """Its verdict counts no more; refused while it is at work."""
    platform.evaluations.delete(caller, evaluation_id)


def _read(row: Any, task: Any) -> EvaluationRead:
    columns = {c.key: getattr(row, c.key) for c in row.__table__.columns}
    return EvaluationRead.model_validate(
        columns | {"state": task.state, "progress": task.progress, "error": task.error}
    )
