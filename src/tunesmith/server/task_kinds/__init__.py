"""What background tasks do: one module a noun, one function a kind: run(context) -> result.

Read `datasets.py` first. `KINDS` is the table; a function is imported only in the process that
runs it. A task may be run again after a crash, so each function leaves what it did either whole or
not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tunesmith.server.task_context import TaskContext

_HERE: Final = "tunesmith.server.task_kinds"
# kind -> module:function
KINDS: Final[dict[str, str]] = {
    "dataset.import": "datasets:import_files",
    "dataset.edit": "datasets:edit",
    "dataset.check": "datasets:check",
    "dataset.stats": "datasets:stats",
    "dataset.near": "datasets:near",
    "dataset.splits": "datasets:splits",
    "dataset.verify": "datasets:verify",
    "dataset.export": "datasets:export_version",
    "evaluation": "evaluations:evaluate",
    "evaluation.retrain": "tracing:retrain",
    "evaluation.trace": "tracing:look",
    "job.plan": "jobs:plan",
    "model.import": "models:import_model",
    "openai.validate": "openai:validate_files",
}

# Ended with the job that they belong to, never alone: it would wait for them.
OF_JOBS: Final = frozenset({"openai.validate"})


def function_of(kind: str) -> Callable[[TaskContext], dict[str, Any]]:
    """The code of a kind; KeyError for one that does not exist."""
    module, _, name = KINDS[kind].partition(":")
    return getattr(import_module(f"{_HERE}.{module}"), name)
