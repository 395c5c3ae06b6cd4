"""Background tasks: how far they are, what came of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.listed import listed
from tunesmith.api.texts import stored
from tunesmith.schemas.common import Listed
from tunesmith.schemas.tasks import TaskRead, TaskState
from tunesmith.server.access import Caller

router = APIRouter(prefix="/tasks", tags=["tasks"], route_class=CallerFirst)


@router.get("")
def list_tasks(
    caller: CallerDep,
    platform: PlatformDep,
    project_id: Annotated[str | None, Query(max_length=100)] = None,
    target: Annotated[str | None, Query(max_length=100, description="Id of a thing.")] = None,
    state: TaskState | None = None,
    after: After = None,
    limit: Limit = 20,
) -> Listed[TaskRead]:
    page = platform.tasks.list(
        caller, project_id=project_id, target=target, state=state, after=after, limit=limit
    )
    return listed(page, TaskRead, lambda task: _shown(task, caller))


@router.get("/{task_id}")
def get_task(task_id: str, caller: CallerDep, platform: PlatformDep) -> TaskRead:
    return _shown(platform.tasks.get(caller, task_id), caller)


@router.post("/{task_id}/cancel")
def cancel_task(task_id: str, caller: CallerDep, platform: PlatformDep) -> TaskRead:
    """A waiting task ends at once, a running one at its next step; nothing half done is left."""
    return _shown(platform.tasks.cancel(caller, task_id), caller)


def _shown(task: Any, caller: Caller) -> TaskRead:
    read = TaskRead.model_validate(task)
    return read.model_copy(update={"error": stored(read.error, caller.language)})
