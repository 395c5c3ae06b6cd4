"""What routes under /v1 ask for."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from tunesmith.api.dependencies import CallerDep
from tunesmith.server.services.openai.service import OpenAI


def project_of(request: Request, caller: CallerDep) -> str | None:
    """The project that the header OpenAI-Project names; None means all of the caller's."""
    named = request.headers.get("openai-project")
    return named if named in caller.roles else None


def openai_of(request: Request) -> OpenAI:
    return cast("OpenAI", request.app.state.openai)


ProjectDep = Annotated[str | None, Depends(project_of)]
OpenAIDep = Annotated[OpenAI, Depends(openai_of)]
