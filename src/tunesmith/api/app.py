"""The two APIs as one ASGI application. Read `create_app` first.

Routes translate, services of the server decide, and an error of theirs becomes an answer here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, cast

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from tunesmith import __version__
from tunesmith.api import errors
from tunesmith.api.backoff import Backoff
from tunesmith.api.console import add_console
from tunesmith.api.documented import Documented
from tunesmith.api.guard import Guard
from tunesmith.api.metrics import Metrics
from tunesmith.api.near import with_known_fields
from tunesmith.api.openai_app import create_openai_app
from tunesmith.api.queries import refuse_unknown_query
from tunesmith.api.rates import Rates
from tunesmith.api.routes import (
    checkpoints,
    datasets,
    deployments,
    evaluations,
    events,
    files,
    flavours,
    job_parts,
    jobs,
    models,
    notices,
    oidc,
    projects,
    recipes,
    sessions,
    system,
    tasks,
    tokens,
    uploads,
    users,
)
from tunesmith.errors import InputError, TunesmithError
from tunesmith.schemas.common import ErrorBody
from tunesmith.schemas.wrong_values import sentence
from tunesmith.server.errors import NotFound
from tunesmith.server.platform import Platform

Shape = Callable[..., errors.Problem]
ROUTERS: Final[tuple[APIRouter, ...]] = (  # asked most first: they are searched in this order
    jobs.router,
    job_parts.router,
    events.router,
    checkpoints.router,
    system.router,
    sessions.router,
    users.router,
    projects.router,
    tokens.router,
    tasks.router,
    recipes.router,
    flavours.router,
    files.router,
    uploads.router,
    datasets.router,
    models.router,
    deployments.router,
    evaluations.router,
    notices.router,
    oidc.router,
)
WRONG_TOKENS_A_MINUTE: Final = 20
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": ErrorBody, "description": "What was wrong, and what to do."},
    "5XX": {"model": ErrorBody, "description": "Not the caller's fault; nothing is half done."},
}


def create_app(platform: Platform) -> FastAPI:
    """Everything that answers HTTP, for one platform whose database is migrated."""
    app = Documented(
        title="tunesmith",
        version=__version__,
        summary="Fine-tune language models: data, jobs, models.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    app.router.routes.extend(_routes())
    metrics = Metrics()
    prepare(app, platform, metrics, errors.native)
    openai = create_openai_app(platform)
    prepare(openai, platform, metrics, errors.openai, invalid=400)
    openai.state.rates, openai.state.failures = app.state.rates, app.state.failures
    app.mount("/v1", openai)
    add_console(app)  # last: every address that is left is a page
    app.add_middleware(Guard, settings=platform.settings, metrics=metrics)
    return app


@cache
def _routes() -> Sequence[BaseRoute]:
    """Made once for all applications of a process: routes know no platform, and take long."""
    together = APIRouter(responses=_ERRORS, dependencies=[Depends(refuse_unknown_query)])
    for router in ROUTERS:
        together.include_router(router, prefix="/api/v1")
    together.include_router(system.metrics_router)
    return together.routes


def prepare(
    app: FastAPI, platform: Platform, metrics: Metrics, shape: Shape, *, invalid: int = 422
) -> None:
    """What both APIs need: their state, and errors in their shape; `invalid` is for bad bodies."""
    app.state.platform, app.state.metrics = platform, metrics
    app.state.rates = Rates(platform.settings.rate_limit)
    app.state.failures = Rates(WRONG_TOKENS_A_MINUTE)
    app.state.backoff = Backoff(_failures_told(platform, metrics))

    def tell(request: Request, error: TunesmithError, status: int | None = None) -> JSONResponse:
        state = request.state
        problem = shape(error, request_id=state.request_id, language=state.language)
        return JSONResponse(problem.body, status or problem.status, dict(problem.headers))

    def on_known(request: Request, error: Exception) -> JSONResponse:
        return tell(request, cast("TunesmithError", error))

    def on_invalid(request: Request, error: Exception) -> JSONResponse:
        found = with_known_fields(request, cast("RequestValidationError", error).errors())
        return tell(request, invalid_body(found, request.state.language), invalid)

    def on_http(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error.__cause__, TunesmithError):  # met while the body was read
            return tell(request, error.__cause__)
        status = cast("HTTPException", error).status_code
        return tell(request, _of_framework(request, cast("HTTPException", error)), status)

    app.add_exception_handler(TunesmithError, on_known)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def _failures_told(platform: Platform, metrics: Metrics) -> Callable[[str, str, int, float], None]:
    """Failed sign-ins are counted; once somebody has to wait, the audit says so."""

    def tell(account: str, address: str, failures: int, wait: float) -> None:
        metrics.sign_in_failed("password")
        if wait > 0:
            metrics.sign_in_paused()
            platform.people.note_pause(account, address, failures, wait)

    return tell


def invalid_body(found: Sequence[dict[str, Any]], language: str = "en") -> InputError:
    """All that is wrong with a request at once; `param` names the first field."""
    problems = [_problem(each, language) for each in found]
    joint, colon = ("；", "：") if language == "zh" else ("; ", ": ")
    told = joint.join(f"{each['param']}{colon}{each['message']}" for each in problems[:10])
    return InputError(
        told if language == "zh" else f"The request is not valid: {told}.",
        hint="Correct the named fields and send it again; nothing was changed.",
        code="invalid_body",
        param=problems[0]["param"] if problems else None,
        problems=problems,
    )


def _problem(found: dict[str, Any], language: str) -> dict[str, str]:
    """One wrong field: where it stands, and what is wrong in the language of the caller."""
    location = found["loc"]
    if found["type"] == "json_invalid":  # the framework gives the place in the text
        location = location[:1]
    return {"param": _place(location), "message": sentence(found, language)}


def _place(location: tuple[Any, ...]) -> str:
    """("body", "datasets", 0, "rate") -> datasets.0.rate"""
    inside = location[1:] if location and location[0] in ("body", "query", "path") else location
    return ".".join(str(part) for part in inside) or "body"


def _of_framework(request: Request, error: HTTPException) -> TunesmithError:
    """What the framework itself refuses: an unknown address, a method, a broken form."""
    path = request.url.path
    of_openai: dict[str, Any] = {"form": "openai"} if path.startswith("/v1/") else {}
    listed = "/v1/openapi.json lists" if of_openai else "/api/v1/openapi.json lists"
    if error.status_code == 404:
        return NotFound(
            f"There is no {path} here.",
            hint=f"{listed} all addresses.",
            code="no_such_route",
            path=path,
            **of_openai,
        )
    if error.status_code == 405:
        return InputError(
            f"{path} does not take {request.method}.",
            hint=f"{listed} what an address takes.",
            code="method_not_allowed",
            path=path,
            method=request.method,
            **of_openai,
        )
    if isinstance(error.__cause__, RecursionError):
        return InputError(
            "The body is nested too deeply to be read.",
            hint="Send JSON with fewer layers of lists and objects; nothing was changed.",
            code="body_too_deep",
            param="body",
        )
    if isinstance(error.__cause__, UnicodeDecodeError):
        return InputError(
            "The body is no UTF-8 text.",
            hint="Send JSON in UTF-8; nothing was changed.",
            code="body_not_utf8",
            param="body",
        )
    return InputError(
        "The body cannot be read as what its Content-Type says.",
        code="unreadable_body",
        param="body",
    )
