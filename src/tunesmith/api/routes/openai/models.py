"""Models: what jobs can start from, and what they made. Names may hold `/` and `:`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from tunesmith.api.dependencies import CallerDep, CallerFirst
from tunesmith.api.routes.openai.dependencies import OpenAIDep, ProjectDep
from tunesmith.schemas.openai.jobs import ModelDeleted, ModelList, ModelObject

router = APIRouter(prefix="/models", tags=["models"], route_class=CallerFirst)
Name = Annotated[str, Path(max_length=300)]


@router.get("")
def list_models(caller: CallerDep, openai: OpenAIDep, project_id: ProjectDep) -> ModelList:
    return ModelList(data=openai.models.list(caller, project_id))


@router.get("/{model:path}")
def get_model(model: Name, caller: CallerDep, openai: OpenAIDep) -> ModelObject:
    """A model, a preset, or a checkpoint."""
    return openai.models.get(caller, model)


@router.delete("/{model:path}")
def delete_model(model: Name, caller: CallerDep, openai: OpenAIDep) -> ModelDeleted:
    """No longer listed or used; 400 while a job or another model needs it."""
    openai.models.delete(caller, model)
    return ModelDeleted(id=model)
