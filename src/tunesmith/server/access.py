"""Who asks, and what they may do: each service asks `Caller.require` before it does anything.

A viewer of a project looks, a member works, an admin of it also manages its members. What belongs
to a project that the caller is not in does not exist for them: NotFound, never "not allowed".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from sqlalchemy.orm import Session

from tunesmith.server import ids
from tunesmith.server.clock import Moment
from tunesmith.server.errors import NotFound, PermissionDenied
from tunesmith.server.tables import AuditEntry

SCOPES: Final = frozenset({"read", "write", "admin"})


class Role(IntEnum):
    """What a member may do in a project; each role may all that the ones before it may."""

    VIEWER = 1
    MEMBER = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role:
        return cls[word.upper()]


_SCOPE_OF: Final = {Role.VIEWER: "read", Role.MEMBER: "write", Role.ADMIN: "admin"}


@dataclass(frozen=True)
class Caller:
    """A user as seen in one request. `roles` has every project that the request may touch."""

    user_id: str
    user_name: str
    is_admin: bool = False  # of the whole installation
    roles: Mapping[str, Role] = field(default_factory=dict[str, Role])
    project_id: str = ""  # what is meant when a request names no project
    token_id: str | None = None
    scopes: frozenset[str] = SCOPES
    language: str = "en"
    request_id: str = ""
    address: str = ""

    def projects(self, role: Role = Role.VIEWER) -> list[str]:
        """The projects in which the caller has at least this role."""
        return [project for project, has in self.roles.items() if has >= role]

    def require(self, project_id: str | None, role: Role, missing: NotFound | None = None) -> None:
        """Nothing, or NotFound (`missing`) for a foreign project, or PermissionDenied."""
        has = self.roles.get(project_id or "")
        if has is None:
            raise missing or NotFound(
                f"There is no project {project_id}.", code="project_not_found", id=project_id
            )
        if has < role:
            raise PermissionDenied(
                f"This needs the role {role.word} in project {project_id}; yours is {has.word}.",
                hint="Ask an admin of the project.",
                code="role_too_low",
                project_id=project_id,
                needed=role.word,
                has=has.word,
            )
        self.require_scope(_SCOPE_OF[role])

    def require_admin(self) -> None:
        """PermissionDenied unless the caller administrates the installation."""
        if not self.is_admin:
            raise PermissionDenied(
                "Only an administrator of this installation may do this.", code="admins_only"
            )
        self.require_scope("admin")

    def require_scope(self, scope: str) -> None:
        if scope not in self.scopes:
            raise PermissionDenied(
                f"This token does not have the scope {scope}.",
                hint="Make a token with that scope.",
                code="scope_missing",
                scope=scope,
            )

    def viewed(self, project_id: str | None) -> list[str]:
        """The projects that a list covers: the one that is named, or all of the caller's."""
        if project_id is None:
            return self.projects()
        self.require(project_id, Role.VIEWER)
        return [project_id]

    def chosen(self, project_id: str | None, role: Role) -> str:
        """The project that a request means, once it is allowed."""
        project_id = project_id or self.project_id
        self.require(project_id, role)
        return project_id


def audit(
    session: Session,
    moment: Moment,
    caller: Caller,
    action: str,
    target: str,
    *,
    project_id: str | None = None,
    **details: Any,
) -> None:
    """Write down who did what, in the transaction that did it."""
    session.add(
        AuditEntry(
            id=ids.new(ids.AUDIT, moment.wall),
            time=moment.wall,
            user_id=caller.user_id,
            token_id=caller.token_id,
            project_id=project_id,
            action=action,
            target=target,
            request_id=caller.request_id,
            address=caller.address,
            details=details,
        )
    )
