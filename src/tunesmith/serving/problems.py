"""Errors become HTTP here, once: status, headers and OpenAI's body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tunesmith.errors import InputError, TunesmithError
from tunesmith.schemas.wrong_values import sentence
from tunesmith.serving import errors

# The first that fits: (error, status, type).
_STATUS: Final[Sequence[tuple[type[Exception], int, str]]] = (
    (errors.NotAuthenticated, 401, "authentication_error"),
    (errors.UnknownModel, 404, "invalid_request_error"),
    (errors.NameTaken, 409, "invalid_request_error"),
    (errors.QueueFull, 429, "rate_limit_error"),
    (errors.NotReady, 503, "server_error"),
    (InputError, 400, "invalid_request_error"),
    (TunesmithError, 500, "server_error"),
)
_OF_FRAMEWORK: Final = {404: "no_such_route", 405: "method_not_allowed"}
_DETAILS: Final = ("known", "adapter_shapes", "base_shape", "layer", "prompt_tokens", "context")


def _row(error: Exception) -> tuple[int, str]:
    """(status, type) of an error."""
    return next((status, kind) for known, status, kind in _STATUS if isinstance(error, known))


def status_of(error: TunesmithError) -> int:
    """The HTTP status of an error."""
    return _row(error)[0]


def body_of(error: TunesmithError) -> dict[str, Any]:
    """OpenAI's error object; the hint goes with the message, details lie beside it."""
    kind = _row(error)[1]
    details = {name: error.details[name] for name in _DETAILS if name in error.details}
    inner = {
        "message": f"{error.message} {error.hint}".strip(),
        "type": kind,
        "param": error.details.get("param"),
        "code": error.code,
    }
    return {"error": inner | ({"details": details} if details else {})}


def answer_of(error: TunesmithError) -> JSONResponse:
    """The whole answer."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if status in (429, 503):
        headers["retry-after"] = str(error.details.get("retry_after", 1))
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status == 409:
        headers["x-should-retry"] = "false"
    return JSONResponse(body_of(error), status, headers)


def tell_errors(app: FastAPI) -> None:
    """Make the application answer in this shape whatever is raised."""

    def on_known(_: Request, error: Exception) -> JSONResponse:
        return answer_of(cast("TunesmithError", error))

    def on_invalid(_: Request, error: Exception) -> JSONResponse:
        return answer_of(_invalid(cast("RequestValidationError", error)))

    def on_http(request: Request, error: Exception) -> JSONResponse:
        found = cast("HTTPException", error)
        code = _OF_FRAMEWORK.get(found.status_code, "invalid_request")
        told = InputError(f"{request.method} {request.url.path}: {found.detail}.", code=code)
        return JSONResponse(body_of(told), found.status_code, found.headers)

    def on_unknown(_: Request, error: Exception) -> JSONResponse:
        name = type(error).__name__
        return answer_of(TunesmithError(f"The server failed: {name}.", code="internal_error"))

    app.add_exception_handler(TunesmithError, on_known)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_unknown)


def _invalid(error: RequestValidationError) -> InputError:
    """All that is wrong with a body at once; `param` names the first field."""
    found = [(_place(one), sentence(one)) for one in error.errors()]
    told = "; ".join(f"{place}: {message}" for place, message in found[:10])
    param = found[0][0] if found else None
    return InputError(f"The request is not valid: {told}.", code="invalid_body", param=param)


def _place(problem: Mapping[str, Any]) -> str:
    """The field; where a text is no JSON at all the framework gives the place in the text."""
    if problem["type"] == "json_invalid":
        return "body"
    inside = [str(part) for part in problem["loc"] if part != "body"]
    return ".".join(inside)[:200] or "body"
