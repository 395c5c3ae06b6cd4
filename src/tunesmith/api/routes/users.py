"""Users, by administrators; oneself, by everybody."""

from __future__ import annotations

from fastapi import APIRouter

from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.listed import listed
from tunesmith.schemas.common import Listed
from tunesmith.schemas.people import UserCreate, UserCreated, UserRead, UserUpdate

router = APIRouter(prefix="/users", tags=["people"], route_class=CallerFirst)


@router.post("", status_code=201)
def create_user(body: UserCreate, caller: CallerDep, platform: PlatformDep) -> UserCreated:
    made = platform.people.create(caller, **body.model_dump())
    projects = platform.people.as_user(made.id, None).projects()
    return UserCreated(**UserRead.model_validate(made).model_dump(), project_ids=projects)


@router.get("")
def list_users(
    caller: CallerDep, platform: PlatformDep, after: After = None, limit: Limit = 20
) -> Listed[UserRead]:
    return listed(platform.people.list(caller, after=after, limit=limit), UserRead)


@router.get("/{user_id}")
def get_user(user_id: str, caller: CallerDep, platform: PlatformDep) -> UserRead:
    """One user; `me` is oneself."""
    return UserRead.model_validate(platform.people.get(caller, user_id))


@router.patch("/{user_id}")
def update_user(
    user_id: str, body: UserUpdate, caller: CallerDep, platform: PlatformDep
) -> UserRead:
    changes = body.model_dump(exclude_unset=True)
    return UserRead.model_validate(platform.people.update(caller, user_id, **changes))
