"""Projects and who is in them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.listed import listed
from tunesmith.schemas.common import Listed
from tunesmith.schemas.people import (
    CandidateRead,
    MemberRead,
    MemberSet,
    ProjectCreate,
    ProjectRead,
    ProjectUpdate,
)
from tunesmith.server.access import Role

router = APIRouter(prefix="/projects", tags=["people"], route_class=CallerFirst)


@router.post("", status_code=201)
def create_project(body: ProjectCreate, caller: CallerDep, platform: PlatformDep) -> ProjectRead:
    return ProjectRead.model_validate(platform.projects.create(caller, **body.model_dump()))


@router.get("")
def list_projects(
    caller: CallerDep, platform: PlatformDep, after: After = None, limit: Limit = 100
) -> Listed[ProjectRead]:
    """The projects that the caller is in."""
    return listed(platform.projects.list(caller, after=after, limit=limit), ProjectRead)


@router.get("/{project_id}")
def get_project(project_id: str, caller: CallerDep, platform: PlatformDep) -> ProjectRead:
    return ProjectRead.model_validate(platform.projects.get(caller, project_id))


@router.patch("/{project_id}")
def update_project(
    project_id: str, body: ProjectUpdate, caller: CallerDep, platform: PlatformDep
) -> ProjectRead:
    changes = body.model_dump(exclude_none=True)
    return ProjectRead.model_validate(platform.projects.update(caller, project_id, **changes))


@router.get("/{project_id}/members")
def list_members(project_id: str, caller: CallerDep, platform: PlatformDep) -> Listed[MemberRead]:
    """Everybody in the project, by name."""
    rows = platform.projects.members(caller, project_id)
    return Listed(data=[_member(*row) for row in rows], has_more=False)


@router.get("/{project_id}/candidates")
def find_candidates(
    project_id: str,
    caller: CallerDep,
    platform: PlatformDep,
    text: Annotated[
        str, Query(min_length=1, max_length=100, description="A part of the name; in any case.")
    ],
) -> Listed[CandidateRead]:
    """Users who are not in the project, by a part of their name: for those who let members in.

    The first twenty, with their names and nothing else.
    """
    found = platform.projects.candidates(caller, project_id, text)
    rows = [CandidateRead(user_id=user.id, name=user.name) for user in found]
    return Listed(data=rows, has_more=False)


@router.put("/{project_id}/members/{user_id}")
def set_member(
    project_id: str, user_id: str, body: MemberSet, caller: CallerDep, platform: PlatformDep
) -> MemberRead:
    """Let a user in, or change their role."""
    role = Role.of(body.role)
    return _member(*platform.projects.set_member(caller, project_id, user_id, role))


@router.delete("/{project_id}/members/{user_id}", status_code=204)
def remove_member(project_id: str, user_id: str, caller: CallerDep, platform: PlatformDep) -> None:
    """What the user made in the project stays."""
    platform.projects.remove_member(caller, project_id, user_id)


def _member(user: Any, membership: Any) -> MemberRead:
    return MemberRead(
        user_id=user.id, name=user.name, role=membership.role, created_at=membership.created_at
    )
