"""Background tasks as users see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role, audit
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.errors import Conflict, NotFound
from tunesmith.server.paging import Page, page
from tunesmith.server.tables import Task
from tunesmith.server.task_kinds import KINDS, OF_JOBS
from tunesmith.server.tasks import FINAL


class Tasks:
    """Submit, look, cancel. `on_submit` wakes a runner in the same process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.on_submit: Callable[[], None] = lambda: None

    def submit(
        self,
        caller: Caller,
        kind: str,
        params: dict[str, Any],
        *,
        project_id: str | None = None,
        target: str = "",
    ) -> Task:
        """Queue a task. `target` is the id of what it is about, to find it again."""
        with self._database.write() as session:
            task = self.add(
                session,
                clock.read(session),
                caller,
                kind,
                params,
                project_id=project_id,
                target=target,
            )
        self.on_submit()
        return task

    @staticmethod
    def add(
        session: Session,
        moment: Moment,
        caller: Caller,
        kind: str,
        params: dict[str, Any],
        *,
        project_id: str | None = None,
        target: str = "",
    ) -> Task:
        """The same inside a transaction of the caller's; call `on_submit` after it."""
        assert kind in KINDS, kind
        task = Task(
            id=ids.new(ids.TASK, moment.wall),
            project_id=project_id,
            user_id=caller.user_id,
            kind=kind,
            target=target,
            params=params,
            state="queued",
            progress={},
            cancel_asked=False,
            tries=0,
            created_at=moment.wall,
        )
        session.add(task)
        session.flush()
        return task

    def get(self, caller: Caller, task_id: str) -> Task:
        with self._database.read() as session:
            return _visible(session, caller, task_id, Role.VIEWER)

    def list(
        self,
        caller: Caller,
        *,
        project_id: str | None = None,
        target: str | None = None,
        state: str | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> Page[Task]:
        """Those of the caller's projects, newest first."""
        if project_id is not None:
            caller.require(project_id, Role.VIEWER)
        projects = [project_id] if project_id else caller.projects()
        mine = Task.project_id.is_(None) & (Task.user_id == caller.user_id)
        query = select(Task).where(Task.project_id.in_(projects) | mine)
        if target:
            query = query.where(Task.target == target)
        if state:
            query = query.where(Task.state == state)
        with self._database.read() as session:
            return page(session, query, Task.id, after=after, limit=limit)

    def cancel(self, caller: Caller, task_id: str) -> Task:
        """At once while it waits; a running one ends at its next step and leaves nothing behind."""
        with self._database.write() as session:
            moment = clock.read(session)
            task = _visible(session, caller, task_id, Role.MEMBER)
            if task.state in FINAL:
                raise Conflict(
                    f"Task {task_id} is {task.state} already.",
                    code="task_finished",
                    status=task.state,
                )
            _refuse_part_of_job(task)
            task.cancel_asked = True
            if task.state == "queued":
                task.state, task.finished_at = "cancelled", moment.wall
            audit(session, moment, caller, "task.cancel", task_id, project_id=task.project_id)
            return task


def _refuse_part_of_job(task: Task) -> None:
    if task.kind in OF_JOBS:
        raise Conflict(
            f"Task {task.id} is a part of job {task.target}, which would wait for it.",
            hint="Cancel the job.",
            code="task_of_job",
            job_id=task.target,
        )


def _visible(session: Session, caller: Caller, task_id: str, role: Role) -> Task:
    missing = NotFound(f"There is no task {task_id}.", code="task_not_found", id=task_id)
    query = select(Task).where(Task.id == task_id)
    if role > Role.VIEWER:  # it will be changed
        query = query.with_for_update()
    task = session.scalars(query).one_or_none()
    if task is None or (task.project_id is None and task.user_id != caller.user_id):
        raise missing
    if task.project_id is not None:
        caller.require(task.project_id, role, missing)
    return task
