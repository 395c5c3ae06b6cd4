"""Deployments: models that answer under /v1/chat/completions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.listed import listed
from tunesmith.schemas.common import Listed
from tunesmith.schemas.deployments import (
    AskedRead,
    DeploymentCreate,
    DeploymentRead,
    DeploymentStatus,
    DeploymentUpdate,
)
from tunesmith.server.services.deployments import DeploymentOrder

router = APIRouter(prefix="/deployments", tags=["deployments"], route_class=CallerFirst)


@router.post("", status_code=201)
def create_deployment(
    body: DeploymentCreate, caller: CallerDep, platform: PlatformDep
) -> DeploymentRead:
    """Deploy a model, a checkpoint or an adapter; it starts at once unless `starts` is false."""
    order = DeploymentOrder(**body.model_dump(exclude={"project_id", "name"}), name=body.name or "")
    made = platform.deployments.create(caller, order, body.project_id)
    return DeploymentRead.model_validate(made)


@router.get("")
def list_deployments(
    caller: CallerDep,
    platform: PlatformDep,
    project_id: Annotated[str | None, Query(max_length=100)] = None,
    status: DeploymentStatus | None = None,
    after: After = None,
    limit: Limit = 100,
) -> Listed[DeploymentRead]:
    found = platform.deployments.list(caller, project_id, status=status, after=after, limit=limit)
    return listed(found, DeploymentRead)


@router.get("/{deployment_id}")
def get_deployment(deployment_id: str, caller: CallerDep, platform: PlatformDep) -> DeploymentRead:
    return DeploymentRead.model_validate(platform.deployments.get(caller, deployment_id))


@router.patch("/{deployment_id}")
def update_deployment(
    deployment_id: str, body: DeploymentUpdate, caller: CallerDep, platform: PlatformDep
) -> DeploymentRead:
    changes = body.model_dump(exclude_none=True)
    return DeploymentRead.model_validate(
        platform.deployments.update(caller, deployment_id, **changes)
    )


@router.post("/{deployment_id}/start")
def start_deployment(
    deployment_id: str, caller: CallerDep, platform: PlatformDep
) -> DeploymentRead:
    """The same again changes nothing."""
    return DeploymentRead.model_validate(platform.deployments.start(caller, deployment_id))


@router.post("/{deployment_id}/stop")
def stop_deployment(deployment_id: str, caller: CallerDep, platform: PlatformDep) -> DeploymentRead:
    """Gives its memory back; the next question starts it again where `autostart` is set."""
    return DeploymentRead.model_validate(platform.deployments.stop(caller, deployment_id))


@router.delete("/{deployment_id}", status_code=204)
def delete_deployment(deployment_id: str, caller: CallerDep, platform: PlatformDep) -> None:
    """The model stays; the log of requests goes."""
    platform.deployments.delete(caller, deployment_id)


@router.get("/{deployment_id}/requests")
def list_requests(
    deployment_id: str,
    caller: CallerDep,
    platform: PlatformDep,
    after: After = None,
    limit: Limit = 100,
) -> Listed[AskedRead]:
    """What was asked and answered, newest first."""
    found = platform.deployments.requests(caller, deployment_id, after=after, limit=limit)
    return listed(found, AskedRead)
