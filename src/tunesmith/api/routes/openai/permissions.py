"""Permissions of checkpoints: which other projects may use one. For administrators."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path

from tunesmith.api.dependencies import CallerDep, CallerFirst
from tunesmith.api.routes.openai.dependencies import OpenAIDep
from tunesmith.api.routes.openai.jobs import Cursor, PageSize
from tunesmith.schemas.openai.common import page_of
from tunesmith.schemas.openai.jobs import (
    PermissionCreate,
    PermissionDeleted,
    PermissionObject,
    PermissionPage,
)

router = APIRouter(
    prefix="/fine_tuning/checkpoints", tags=["checkpoint permissions"], route_class=CallerFirst
)
Name = Annotated[str, Path(max_length=300, description="Name or id of a checkpoint.")]
PermissionId = Annotated[str, Path(max_length=100)]


@router.post("/{checkpoint:path}/permissions")
def create_permissions(
    checkpoint: Name, body: PermissionCreate, caller: CallerDep, openai: OpenAIDep
) -> PermissionPage:
    granted = openai.permissions.create(caller, checkpoint, body.project_ids)
    return page_of([PermissionObject.model_validate(each) for each in granted], has_more=False)


@router.get("/{checkpoint:path}/permissions")
def list_permissions(
    checkpoint: Name,
    caller: CallerDep,
    openai: OpenAIDep,
    project_id: Cursor = None,
    after: Cursor = None,
    limit: PageSize = 10,
    order: Literal["ascending", "descending"] = "descending",
) -> PermissionPage:
    found = openai.permissions.list(
        caller,
        checkpoint,
        project_id=project_id,
        after=after,
        limit=limit,
        newest_first=order == "descending",
    )
    shown = [PermissionObject.model_validate(each) for each in found.items]
    return page_of(shown, has_more=found.has_more)


@router.delete("/{checkpoint:path}/permissions/{permission_id}")
def delete_permission(
    checkpoint: Name, permission_id: PermissionId, caller: CallerDep, openai: OpenAIDep
) -> PermissionDeleted:
    openai.permissions.delete(caller, checkpoint, permission_id)
    return PermissionDeleted(id=permission_id)
