"""What belongs to one job: its curves, its log, its recipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from tunesmith.api.dependencies import CallerDep, CallerFirst, PlatformDep
from tunesmith.api.documented import a_text
from tunesmith.api.routes.jobs import JobId
from tunesmith.schemas.jobs import (
    AdviceRead,
    FindingRead,
    JobRecipe,
    LogRead,
    MetricsRead,
)

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], route_class=CallerFirst)
_CSV = a_text(
    "All points, a row a step.",
    "text/csv",
    "step,loss,token_accuracy,learning_rate\n1,1.8214,0.61,0.00001\n",
)
_TEXT = a_text("The whole log, as an attachment.", "text/plain", "step 100/100  loss 0.419\n")


@router.get("/metrics")
def get_metrics(
    job_id: JobId,
    caller: CallerDep,
    platform: PlatformDep,
    series: Annotated[
        list[Annotated[str, Query(max_length=50)]] | None,
        Query(max_length=20, description="Names of curves; all without it."),
    ] = None,
    points: Annotated[int, Query(ge=2, le=2000, description="Of each curve, at most.")] = 2000,
    smoothing: Annotated[
        float, Query(ge=0, le=1000, description="Width of a mean over neighbours, in points.")
    ] = 0.0,
    from_step: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> MetricsRead:
    """Training and validation curves, rate, gradient norm, throughput, memory, utilisation.

    Thinned out so that the lowest and highest value of each stretch stay.
    """
    found = platform.metrics.curves(
        caller,
        job_id,
        names=series or (),
        points=points,
        smoothing=smoothing,
        from_step=from_step,
    )
    return MetricsRead.model_validate(found)


@router.get("/advice")
def read_curves(job_id: JobId, caller: CallerDep, platform: PlatformDep) -> AdviceRead:
    """What the curves say and what to do: fluctuation, no fall, overfitting, or only: wait."""
    found = platform.metrics.reading(caller, job_id)
    return AdviceRead(
        job_id=job_id,
        findings=[
            FindingRead(
                code=each.code,
                weight=each.weight,
                message=each.told(caller.language)[0],
                hint=each.told(caller.language)[1],
                numbers=each.numbers,
                changes=each.changes,
            )
            for each in found
        ],
    )


@router.get("/metrics.csv", response_class=StreamingResponse, responses=_CSV)
def download_metrics(job_id: JobId, caller: CallerDep, platform: PlatformDep) -> StreamingResponse:
    """All points, as a file."""
    rows: Iterator[str] = platform.metrics.table(caller, job_id)
    return StreamingResponse(rows, media_type="text/csv", headers=_attachment(job_id, "csv"))


@router.get("/log")
def read_log(
    job_id: JobId,
    caller: CallerDep,
    platform: PlatformDep,
    start: Annotated[
        int | None, Query(ge=0, le=2**62, description="Byte to begin at; empty: the end.")
    ] = None,
    num_bytes: Annotated[int, Query(ge=1, le=1 << 20)] = 65_536,
) -> LogRead:
    """The end of the log, or the part from a byte on; plain text without colours.

    Bytes are counted from the first that the job ever printed. Of a very long log only the newest
    parts are kept, from byte `first` on: go on with `start=<end>`, whatever is dropped meanwhile.
    """
    found = platform.logs.part(caller, job_id, start=start, num_bytes=num_bytes)
    return LogRead.model_validate(found)


@router.get("/log/download", response_class=StreamingResponse, responses=_TEXT)
def download_log(job_id: JobId, caller: CallerDep, platform: PlatformDep) -> StreamingResponse:
    """The whole log, as a file; of a very long one, its newest parts."""
    found = platform.logs.whole(caller, job_id)
    headers = _attachment(job_id, "log") | {"content-length": str(found.size)}
    return StreamingResponse(found.blocks, media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/recipe")
def get_recipe(job_id: JobId, caller: CallerDep, platform: PlatformDep) -> JobRecipe:
    """As it was sent, with names looked up, and as the engine decided it."""
    return JobRecipe.model_validate(platform.copies.recipe(caller, job_id))


def _attachment(job_id: str, kind: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{job_id}.{kind}"'}
