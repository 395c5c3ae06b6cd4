"""Errors become HTTP here, once: status, headers, and the body of either API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tunesmith.api.mends import param_of
from tunesmith.api.texts import RECIPE_CODES, problems_on_wire, recipe_problems, translated
from tunesmith.errors import InputError, TunesmithError
from tunesmith.runs.files import StorageFull, StorageRefused
from tunesmith.server import errors
from tunesmith.server.oidc_errors import ProviderUnreachable
from tunesmith.server.outgoing import FetchFailed

# The first that fits, so special ones come first: (error, native status, status under /v1, type).
_Row = tuple[type[Exception], int, int, str]
_STATUS: Final[Sequence[_Row]] = (
    (errors.NotAuthenticated, 401, 401, "authentication_error"),
    (errors.PermissionDenied, 403, 403, "permission_error"),
    (errors.Gone, 410, 404, "invalid_request_error"),
    (errors.NotFound, 404, 404, "invalid_request_error"),
    (errors.Locked, 423, 400, "invalid_request_error"),
    (errors.KeyReused, 409, 409, "invalid_request_error"),
    (errors.Conflict, 409, 400, "invalid_request_error"),
    (errors.QuotaExceeded, 403, 429, "insufficient_quota"),
    (errors.RateLimited, 429, 429, "rate_limit_error"),
    (errors.ChecksumMismatch, 460, 400, "invalid_request_error"),
    (errors.UnknownProtocol, 412, 400, "invalid_request_error"),
    (errors.NotOffered, 501, 501, "server_error"),
    (errors.UnsupportedMedia, 415, 415, "invalid_request_error"),
    (errors.TooLarge, 413, 413, "invalid_request_error"),
    (FetchFailed, 400, 400, "invalid_request_error"),  # an address that the caller gave
    (ProviderUnreachable, 503, 503, "server_error"),
    (errors.DeploymentNotReady, 503, 503, "server_error"),
    (errors.DatabaseUnavailable, 503, 503, "server_error"),
    (errors.DatabaseRefused, 503, 503, "server_error"),
    (StorageFull, 507, 507, "server_error"),
    (StorageRefused, 503, 503, "server_error"),
    (InputError, 400, 400, "invalid_request_error"),
    (TunesmithError, 500, 500, "server_error"),
)
_MENDED_BY_TIME: Final = frozenset({429, 503})
_NOT_MENDED: Final = frozenset({409, 429, 501, 507})  # the client sends these again by itself
_PRIVATE: Final = frozenset({"retry_after", "param", "kept", "form", "told"})


@dataclass(frozen=True)
class Problem:
    """An error on its way out."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


def native(error: TunesmithError, *, request_id: str, language: str) -> Problem:
    """The shape of /api/v1: code, message, hint, param, request id, details."""
    status = _row(error)[1]
    message, hint = translated(error, language)
    body = {
        "code": error.code,
        "message": message,
        "hint": hint,
        "param": param_of(error),
        "request_id": request_id,
        "details": _details(error, language),
    }
    return Problem(status, {"error": body}, _headers(error, status))


def openai(error: TunesmithError, *, request_id: str, language: str) -> Problem:
    """The shape of /v1: message, type, param, code; the hint goes with the message."""
    _ = request_id  # the client reads it from the header
    _, _, status, kind = _row(error)
    message, hint = translated(error, language)
    body = {
        "message": f"{message} {hint}".strip(),
        "type": kind,
        "param": error.details.get("param"),
        "code": error.code,
    }
    headers = dict(_headers(error, status))
    if status in _NOT_MENDED and kind != "rate_limit_error":
        headers["x-should-retry"] = "false"
    return Problem(status, {"error": body}, headers)


def _details(error: TunesmithError, language: str) -> dict[str, Any]:
    """What belongs to the error; problems of a recipe in the language of the caller."""
    told = {key: value for key, value in error.details.items() if key not in _PRIVATE}
    if error.code in RECIPE_CODES and (problems := recipe_problems(error.details)):
        told["problems"] = problems_on_wire(problems, language)
    return told


def _row(error: Exception) -> _Row:
    return next(row for row in _STATUS if isinstance(error, row[0]))


def _headers(error: TunesmithError, status: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status in _MENDED_BY_TIME and not isinstance(error, errors.QuotaExceeded):
        headers["retry-after"] = str(max(1, round(float(error.details.get("retry_after", 5)))))
    return headers
