"""What jobs can be computed on, and what that costs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from tunesmith.api.dependencies import CallerDep, CallerFirst, PlatformDep
from tunesmith.schemas.flavours import FlavourList, FlavourRead
from tunesmith.server.services.scaling import sizes_of

router = APIRouter(prefix="/flavours", tags=["jobs"], route_class=CallerFirst)


@router.get("")
def list_flavours(
    caller: CallerDep,
    platform: PlatformDep,
    region: Annotated[str | None, Query(max_length=100, description="Only of this one.")] = None,
) -> FlavourList:
    """Those that no worker has now are listed too, with the reason."""
    every = platform.jobs.flavours.list(caller)
    shown = [each for each in every if region is None or each.region == region]
    return FlavourList(
        data=[FlavourRead(**asdict(each), counts=sizes_of(each, every)) for each in shown],
        regions=sorted({each.region for each in every}),
    )
