"""The OpenAI API: an application of its own, mounted at /v1. Read `create_openai_app` first.

A program that uses the stock client works after only its base URL and key are changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from tunesmith import __version__
from tunesmith.api.documented import Documented
from tunesmith.api.routes.openai import (
    chat,
    checkpoints,
    files,
    graders,
    jobs,
    models,
    not_offered,
    permissions,
    uploads,
)
from tunesmith.schemas.openai.common import ErrorBody
from tunesmith.schemas.openai.samples import OPENAI_SAMPLES
from tunesmith.server.platform import Platform
from tunesmith.server.services.openai.service import build_openai

ROUTERS: Final[tuple[APIRouter, ...]] = (
    files.router,
    uploads.router,
    models.router,
    jobs.router,
    checkpoints.router,
    permissions.router,
    graders.router,
    chat.router,
    not_offered.router,
)
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": ErrorBody, "description": "What was wrong, and what to do."},
    "5XX": {"model": ErrorBody, "description": "Not the caller's fault; nothing is half done."},
}


class _Mounted(Documented):
    """Leaves what nobody foresaw to the layer around it (guard.py), which knows both shapes."""

    def build_middleware_stack(self) -> ASGIApp:
        outermost = super().build_middleware_stack()
        assert isinstance(outermost, ServerErrorMiddleware)
        return outermost.app


@cache
def _routes() -> Sequence[BaseRoute]:
    """Made once for all applications of a process: routes know no platform, and take long."""
    together = APIRouter(responses=_ERRORS)
    for router in ROUTERS:
        together.include_router(router)
    return together.routes


def create_openai_app(platform: Platform) -> FastAPI:
    """Everything under /v1; api/app.py gives it its errors and mounts it."""
    app = _Mounted(
        samples=OPENAI_SAMPLES,
        title="tunesmith (OpenAI API)",
        version=__version__,
        summary="Files, uploads, models and fine-tuning jobs for the stock openai client.",
        openapi_url="/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    app.router.routes.extend(_routes())
    app.state.openai = build_openai(platform)
    return app
