"""Signing in and out of a browser session, and who one is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from tunesmith.api.dependencies import (
    COOKIE,
    CallerDep,
    CallerFirst,
    PlatformDep,
    asked_of,
    backoff_of,
    refuse_other_origin,
)
from tunesmith.schemas.people import (
    Me,
    MeUpdate,
    PasswordChange,
    Session,
    SignIn,
    UsageRead,
    UserRead,
)

router = APIRouter(tags=["people"], route_class=CallerFirst)


@router.post("/session")
def sign_in(body: SignIn, request: Request, response: Response, platform: PlatformDep) -> Session:
    """Sign in with name and password; the answer sets the cookie of the session."""
    if request.headers.get("origin"):
        refuse_other_origin(request)
    with backoff_of(request).guess(body.name, asked_of(request).address):
        user, secret, end = platform.people.sign_in(body.name, body.password)
    set_cookie(response, request, secret, end)
    return Session(user=UserRead.model_validate(user), expires_at=end)


@router.post("/session/token")
def sign_in_with_token(
    caller: CallerDep, request: Request, response: Response, platform: PlatformDep
) -> Session:
    """Turn a token into a browser session, as on the first start, before there is a password."""
    user, secret, end = platform.people.open_session(caller.user_id)
    set_cookie(response, request, secret, end)
    return Session(user=UserRead.model_validate(user), expires_at=end)


@router.delete("/session", status_code=204)
def sign_out(caller: CallerDep, response: Response, platform: PlatformDep) -> None:
    """End the session, or revoke the token, of this request."""
    platform.people.sign_out(caller)
    response.delete_cookie(COOKIE, path="/")


@router.get("/me")
def me(caller: CallerDep, platform: PlatformDep) -> Me:
    """Who this token belongs to, and what it may do where."""
    return Me(
        user=UserRead.model_validate(platform.people.get(caller, "me")),
        roles={project: role.word for project, role in caller.roles.items()},
        project_id=caller.project_id,
        scopes=sorted(caller.scopes),
    )


@router.patch("/me")
def update_me(body: MeUpdate, caller: CallerDep, platform: PlatformDep) -> UserRead:
    """The language that one is written to in."""
    return UserRead.model_validate(platform.people.set_language(caller, body.language))


@router.get("/me/usage")
def usage(caller: CallerDep, platform: PlatformDep) -> UsageRead:
    """What one has of each limit, and the credit that is left."""
    return UsageRead.model_validate(platform.usage.of_oneself(caller))


@router.put("/me/password")
def change_password(
    body: PasswordChange, request: Request, caller: CallerDep, platform: PlatformDep
) -> UserRead:
    """Set one's own password; other sessions end."""
    with backoff_of(request).guess(caller.user_name, caller.address):
        user = platform.people.set_password(caller, body.password, body.old_password)
    return UserRead.model_validate(user)


def set_cookie(response: Response, request: Request, secret: str, end: Any) -> None:
    """The session as a cookie that scripts cannot read and other sites cannot send."""
    response.set_cookie(
        COOKIE,
        secret,
        expires=end,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
