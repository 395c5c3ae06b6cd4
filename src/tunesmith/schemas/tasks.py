"""Background tasks: imports, checks, exports, downloads."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from tunesmith.schemas.common import Answer

TaskState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class TaskRead(Answer):
    """`result` is there once it succeeded, `error` (code, message, hint) once it failed."""

    id: str
    project_id: str | None
    user_id: str
    kind: str
    target: str = Field(description="Id of what it is about.")
    state: TaskState
    progress: dict[str, Any] = Field(
        description="done, total, unit, activity, rate (a second), eta_seconds"
    )
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
