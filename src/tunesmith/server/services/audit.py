"""Who did what, as administrators read it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import or_, select

from tunesmith.server.access import Caller, Role
from tunesmith.server.database import Database
from tunesmith.server.paging import Page, page
from tunesmith.server.tables import AuditEntry


class Audit:
    """Who did what: for administrators, or the admins of a project."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self,
        caller: Caller,
        *,
        project_id: str | None = None,
        target: str | None = None,
        user_id: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page[AuditEntry]:
        """What is named narrows; `action` is a whole one, or its beginning up to a dot: `job`."""
        query = select(AuditEntry)
        if project_id is None:
            caller.require_admin()
        else:
            caller.require(project_id, Role.ADMIN)
            query = query.where(AuditEntry.project_id == project_id)
        if target:
            query = query.where(AuditEntry.target == target)
        if user_id:
            query = query.where(AuditEntry.user_id == user_id)
        if action:
            parts = AuditEntry.action.startswith(f"{action}.", autoescape=True)
            query = query.where(or_(AuditEntry.action == action, parts))
        if since:
            query = query.where(AuditEntry.time >= since)
        if until:
            query = query.where(AuditEntry.time < until)
        with self._database.read() as session:
            return page(session, query, AuditEntry.id, after=after, limit=limit)
