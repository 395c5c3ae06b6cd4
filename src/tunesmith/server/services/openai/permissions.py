"""Which other projects may use a checkpoint; an administrator says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, audit
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.errors import NotFound
from tunesmith.server.paging import Page, page
from tunesmith.server.services.openai.named import Saved, find_checkpoint
from tunesmith.server.tables import CheckpointPermission, Project


class Permissions:
    """Grant, list, take back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, caller: Caller, checkpoint: str, project_ids: Sequence[str]
    ) -> Sequence[CheckpointPermission]:
        """One for each project, all or none; those that are there already stay as they are."""
        caller.require_admin()
        with self._database.write() as session:
            moment = clock.read(session)
            saved = find_checkpoint(session, caller, checkpoint)
            granted = [
                _grant(session, saved, project, moment) for project in dict.fromkeys(project_ids)
            ]
            audit(
                session,
                moment,
                caller,
                "checkpoint.share",
                saved.checkpoint.id,
                project_id=saved.job.project_id,
                projects=list(project_ids),
            )
            return granted

    def list(
        self,
        caller: Caller,
        checkpoint: str,
        *,
        project_id: str | None,
        after: str | None,
        limit: int,
        newest_first: bool,
    ) -> Page[CheckpointPermission]:
        caller.require_admin()
        with self._database.read() as session:
            saved = find_checkpoint(session, caller, checkpoint)
            query = select(CheckpointPermission).where(
                CheckpointPermission.checkpoint_id == saved.checkpoint.id
            )
            if project_id is not None:
                query = query.where(CheckpointPermission.project_id == project_id)
            return page(
                session,
                query,
                CheckpointPermission.id,
                after=after,
                limit=limit,
                newest_first=newest_first,
            )

    def delete(self, caller: Caller, checkpoint: str, permission_id: str) -> None:
        caller.require_admin()
        with self._database.write() as session:
            moment = clock.read(session)
            saved = find_checkpoint(session, caller, checkpoint)
            found = session.get(CheckpointPermission, permission_id)
            if found is None or found.checkpoint_id != saved.checkpoint.id:
                raise NotFound(
                    f"There is no permission {permission_id[:100]} of this checkpoint.",
                    code="permission_not_found",
                    id=permission_id[:100],
                )
            session.delete(found)
            audit(
                session,
                moment,
                caller,
                "checkpoint.unshare",
                saved.checkpoint.id,
                project_id=saved.job.project_id,
                project=found.project_id,
            )


def _grant(session: Session, saved: Saved, project_id: str, moment: Moment) -> CheckpointPermission:
    known: Any = session.scalars(
        select(CheckpointPermission).where(
            CheckpointPermission.checkpoint_id == saved.checkpoint.id,
            CheckpointPermission.project_id == project_id,
        )
    ).one_or_none()
    if known is not None:
        return known
    if session.get(Project, project_id) is None:
        raise NotFound(
            f"There is no project {project_id}; nothing was shared.",
            code="project_not_found",
            param="project_ids",
            id=project_id,
        )
    permission = CheckpointPermission(
        id=ids.new(ids.PERMISSION, moment.wall),
        checkpoint_id=saved.checkpoint.id,
        project_id=project_id,
        created_at=moment.wall,
    )
    session.add(permission)
    session.flush()
    return permission
