"""Background tasks: wait for them, with their progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from tunesmith.schemas.tasks import TaskRead
from tunesmith.sdk.connection import ApiError, Connection

OnProgress = Callable[[TaskRead], None]
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0


class Tasks:
    """Imports, checks, exports, downloads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, task_id: str) -> TaskRead:
        return self._connection.get(f"/api/v1/tasks/{task_id}", TaskRead)

    def list(self, *, target: str | None = None, state: str | None = None) -> Iterator[TaskRead]:
        return self._connection.all("/api/v1/tasks", TaskRead, target=target, state=state)

    def cancel(self, task_id: str) -> TaskRead:
        return self._connection.send("POST", f"/api/v1/tasks/{task_id}/cancel", TaskRead)

    def wait(self, task: TaskRead, on_progress: OnProgress | None = None) -> TaskRead:
        """The task when it has succeeded; ApiError with its own words when it has not."""
        pause = _FIRST_PAUSE
        if on_progress is not None:
            on_progress(task)
        while task.state in ("queued", "running"):
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            task = self.get(task.id)
            if on_progress is not None:
                on_progress(task)
        if task.state != "succeeded":
            error = task.error or {"code": "task_cancelled", "message": "The task was cancelled."}
            raise ApiError(
                str(error.get("message")),
                hint=str(error.get("hint") or ""),
                code=str(error.get("code")),
                status=400,
            )
        return task
