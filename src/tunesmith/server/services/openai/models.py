"""Models as the OpenAI API lists them: what jobs can start from, and what they made."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from tunesmith.models.presets import STARTER, find_preset, presets
from tunesmith.schemas.openai.jobs import ModelObject
from tunesmith.server.access import Caller
from tunesmith.server.platform import Platform
from tunesmith.server.services.models.finding import visible
from tunesmith.server.services.openai.named import find_checkpoint, is_checkpoint
from tunesmith.server.tables import Model, Project

_OURS: Final = "tunesmith"


class Models:
    """List, look, delete."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def list(self, caller: Caller, project_id: str | None) -> list[ModelObject]:
        """The starter model and presets, then rows, newest first."""
        projects = caller.viewed(project_id)
        caller.require_scope("read")
        with self._platform.database.read() as session:
            rows = session.scalars(
                select(Model).where(visible(caller, projects)).order_by(Model.id.desc())
            ).all()
        mine = {row.name: _shown(row) for row in reversed(rows)}
        since = self._since()
        known = {
            name: _preset(name, since)
            for name in presets()
            if name not in mine and self._is_offered(name)
        }
        return [*known.values(), *reversed(mine.values())]

    def get(self, caller: Caller, name: str) -> ModelObject:
        """By name, or by id; names of checkpoints and of presets that nobody imported too."""
        caller.require_scope("read")
        if is_checkpoint(name):
            with self._platform.database.read() as session:
                saved = find_checkpoint(session, caller, name)
            return _object(saved.name, saved.checkpoint.created_at, saved.job.project_id)
        preset = find_preset(name)
        if preset is not None and self._is_offered(preset.name):
            return _preset(name, self._since())
        return _shown(self._platform.models.get(caller, name), name)

    def delete(self, caller: Caller, name: str) -> None:
        """Conflict while a job or another model needs it."""
        self._platform.models.delete(caller, name)

    def _is_offered(self, preset: str) -> bool:
        return preset == STARTER or self._platform.settings.hub_downloads

    def _since(self) -> datetime:
        """Since when presets are here: as long as the installation."""
        with self._platform.database.read() as session:
            return session.scalars(select(func.min(Project.created_at))).one()


def _shown(row: Model, name: str | None = None) -> ModelObject:
    return _object(name or row.name, row.created_at, row.project_id or _OURS)


def _preset(name: str, since: datetime) -> ModelObject:
    return _object(name, since, _OURS)


def _object(name: str, created: datetime, owner: str) -> ModelObject:
    return ModelObject.model_validate({"id": name, "created": created, "owned_by": owner})
