"""Files of a fine-tuning job: checked, then made into dataset versions."""

from __future__ import annotations

from typing import Any

from tunesmith.server.services.openai import validation
from tunesmith.server.task_context import TaskContext


def validate_files(context: TaskContext) -> dict[str, Any]:
    """From `validating_files` to `queued` or `failed`."""
    return validation.validate(context)
