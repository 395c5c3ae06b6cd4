"""Addresses of the OpenAI API that this version does not serve; they say so in its own shape."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from tunesmith.api.dependencies import CallerDep, CallerFirst
from tunesmith.server.errors import NotOffered

router = APIRouter(tags=["not offered"], route_class=CallerFirst)


@router.post("/embeddings", status_code=501)
@router.post("/responses", status_code=501)
def not_offered(request: Request, caller: CallerDep) -> dict[str, Any]:
    """Always 501."""
    caller.require_scope("read")
    path = request.url.path
    raise NotOffered(f"{path} is not offered by this version.", path=path)
