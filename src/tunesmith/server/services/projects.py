"""Projects and their members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.database import Database
from tunesmith.server.errors import Conflict, NotFound
from tunesmith.server.known import Known
from tunesmith.server.paging import Page, page
from tunesmith.server.tables import Membership, Project, User

_MOST_CANDIDATES: Final = 20


class Projects:
    """What a team shares; an installation starts with one called `default`."""

    def __init__(self, database: Database, known: Known) -> None:
        self._database = database
        self._known = known

    def create(self, caller: Caller, name: str, **columns: Any) -> Project:
        """A new project, whose admin the caller becomes."""
        caller.require_admin()
        with self._database.write() as session:
            moment = clock.read(session)
            _refuse_taken(session, name)
            project = Project(
                id=ids.new(ids.PROJECT, moment.wall), name=name, created_at=moment.wall, **columns
            )
            session.add(project)
            session.flush()
            session.add(
                Membership(
                    user_id=caller.user_id,
                    project_id=project.id,
                    role=Role.ADMIN.word,
                    created_at=moment.wall,
                )
            )
            audit(session, moment, caller, "project.create", project.id, project_id=project.id)
        self._known.clear()
        return project

    def list(self, caller: Caller, *, after: str | None, limit: int) -> Page[Project]:
        query = select(Project).where(Project.id.in_(caller.projects()))
        with self._database.read() as session:
            return page(session, query, Project.id, after=after, limit=limit)

    def get(self, caller: Caller, project_id: str) -> Project:
        caller.require(project_id, Role.VIEWER)
        with self._database.read() as session:
            return session.get_one(Project, project_id)

    def update(self, caller: Caller, project_id: str, **changes: Any) -> Project:
        """Name and description, by its admins; the weight in the queue, by administrators."""
        caller.require(project_id, Role.ADMIN)
        if "weight" in changes:
            caller.require_admin()
        with self._database.write() as session:
            moment = clock.read(session)
            project = session.get_one(Project, project_id)
            if changes.get("name", project.name) != project.name:
                _refuse_taken(session, changes["name"])
            if "archived" in changes:
                changes["archived_at"] = moment.wall if changes.pop("archived") else None
            for column, value in changes.items():
                setattr(project, column, value)
            audit(session, moment, caller, "project.update", project_id, project_id=project_id)
        self._known.clear()
        return project

    def members(self, caller: Caller, project_id: str) -> Sequence[tuple[User, Membership]]:
        caller.require(project_id, Role.VIEWER)
        with self._database.read() as session:
            rows = session.execute(
                select(User, Membership)
                .join(Membership, Membership.user_id == User.id)
                .where(Membership.project_id == project_id)
                .order_by(User.name)
            )
            return [(user, membership) for user, membership in rows]

    def candidates(self, caller: Caller, project_id: str, text: str) -> Sequence[User]:
        """Users not in the project with this in their name: for admins of the project, who let
        others in. A few at a time, so that nobody reads off the whole list.
        """
        caller.require(project_id, Role.ADMIN)
        inside = select(Membership.user_id).where(Membership.project_id == project_id)
        with self._database.read() as session:
            found = session.scalars(
                select(User)
                .where(
                    User.name.icontains(text, autoescape=True),
                    User.disabled_at.is_(None),
                    User.id.not_in(inside),
                )
                .order_by(User.name)
                .limit(_MOST_CANDIDATES)
            )
            return found.all()

    def set_member(
        self, caller: Caller, project_id: str, user_id: str, role: Role
    ) -> tuple[User, Membership]:
        """Let a user in, or change their role. The same again changes nothing."""
        caller.require(project_id, Role.ADMIN)
        with self._database.write() as session:
            moment = clock.read(session)
            user = session.get(User, user_id)
            if user is None:
                raise NotFound(f"There is no user {user_id}.", code="user_not_found", id=user_id)
            membership = session.get(Membership, (user_id, project_id))
            if membership is None:
                membership = Membership(
                    user_id=user_id, project_id=project_id, created_at=moment.wall
                )
                session.add(membership)
            membership.role = role.word
            audit(
                session,
                moment,
                caller,
                "project.member",
                project_id,
                project_id=project_id,
                user=user_id,
                role=role.word,
            )
            session.flush()
        self._known.clear()
        return user, membership

    def remove_member(self, caller: Caller, project_id: str, user_id: str) -> None:
        """What the user made in the project stays."""
        caller.require(project_id, Role.ADMIN)
        with self._database.write() as session:
            moment = clock.read(session)
            membership = session.get(Membership, (user_id, project_id))
            if membership is None:
                raise NotFound(
                    f"User {user_id} is not in project {project_id}.",
                    code="member_not_found",
                    id=user_id,
                )
            session.delete(membership)
            audit(
                session,
                moment,
                caller,
                "project.remove_member",
                project_id,
                project_id=project_id,
                user=user_id,
            )
        self._known.clear()


def _refuse_taken(session: Session, name: str) -> None:
    if session.scalar(select(Project.id).where(Project.name == name)):
        raise Conflict(f"There is a project {name} already.", code="name_taken", name=name)
