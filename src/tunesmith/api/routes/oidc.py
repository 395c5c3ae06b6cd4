"""Signing in at an identity provider, by way of the browser."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from tunesmith.api.dependencies import CallerFirst, PlatformDep, asked_of, rates_of
from tunesmith.api.routes.sessions import set_cookie
from tunesmith.schemas.people import OidcStatus
from tunesmith.server.errors import NotAuthenticated
from tunesmith.server.oidc import LOGIN_SECONDS

router = APIRouter(prefix="/oidc", tags=["people"], route_class=CallerFirst)
LOGIN_COOKIE: Final = "tunesmith_oidc"
_PATH: Final = "/api/v1/oidc"
# The session's cookie is not sent along a redirect that began elsewhere, so a page of ours goes on.
_PAGE: Final = (
    '<!doctype html><html><head><meta charset="utf-8"><title>tunesmith</title>'
    '<meta http-equiv="refresh" content="0;url=/"></head>'
    '<body><a href="/">tunesmith</a></body></html>'
)


@router.get("")
def oidc_status(platform: PlatformDep) -> OidcStatus:
    """Whether there is another way to sign in than a password."""
    return OidcStatus(is_on=platform.oidc.is_on, login=f"{_PATH}/login")


@router.get(
    "/login",
    status_code=302,
    response_class=RedirectResponse,
    response_description="`Location` is the page of the identity provider.",
)
def oidc_login(request: Request, platform: PlatformDep) -> RedirectResponse:
    """Go to the identity provider."""
    begun = platform.oidc.begin(_redirect_uri(request, platform))
    answer = RedirectResponse(begun.address, 302, {"cache-control": "no-store"})
    answer.set_cookie(
        LOGIN_COOKIE,
        begun.cookie,
        max_age=LOGIN_SECONDS,
        path=_PATH,
        httponly=True,
        samesite="lax",  # the provider sends the browser back from another site
        secure=request.url.scheme == "https",
    )
    return answer


@router.get(
    "/callback",
    response_class=HTMLResponse,
    response_description="A page that goes on to the console, with the session as a cookie.",
)
def oidc_callback(request: Request, platform: PlatformDep) -> HTMLResponse:
    """Where the provider sends the browser: opens a session and goes on to the console."""
    failures, address = rates_of(request)[1], asked_of(request).address
    failures.refuse(address)
    try:
        user_id = platform.oidc.finish(
            dict(request.query_params), request.cookies.get(LOGIN_COOKIE, "")
        )
    except NotAuthenticated:
        failures.take(address)
        raise
    _, secret, end = platform.people.open_session(user_id)
    answer = HTMLResponse(_PAGE, headers={"cache-control": "no-store"})
    set_cookie(answer, request, secret, end)
    answer.delete_cookie(LOGIN_COOKIE, path=_PATH)
    return answer


def _redirect_uri(request: Request, platform: PlatformDep) -> str:
    base = platform.settings.public_url or str(request.base_url)
    return f"{base.rstrip('/')}{_PATH}/callback"
