"""Evaluations: scores of a model, and the verdict beside its base."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tunesmith.schemas.evaluations import EvaluationRead
from tunesmith.schemas.tasks import TaskRead
from tunesmith.schemas.tracing import TraceRead
from tunesmith.sdk.connection import Connection
from tunesmith.sdk.tasks import OnProgress, Tasks

_PLACE: Final = "/api/v1/evaluations"


class Evaluations:
    """Begin, wait, look, fetch the report, delete."""

    def __init__(self, connection: Connection, tasks: Tasks) -> None:
        self._connection, self._tasks = connection, tasks

    def create(self, model: str, **order: Any) -> EvaluationRead:
        """Begin one; order: dataset or job_id, base, compares, split, scores, max_rows, gate."""
        return self._connection.send("POST", _PLACE, EvaluationRead, {"model": model, **order})

    def list(self, **query: str | int | None) -> Iterator[EvaluationRead]:
        """Newest first; `project_id`, `model_id` and `job_id` narrow it."""
        return self._connection.all(_PLACE, EvaluationRead, **query)

    def get(self, evaluation_id: str) -> EvaluationRead:
        return self._connection.get(f"{_PLACE}/{evaluation_id}", EvaluationRead)

    def wait(self, evaluation_id: str, on_progress: OnProgress | None = None) -> EvaluationRead:
        """Until it has ended; ApiError with the reason where it failed or was cancelled."""
        self._tasks.wait(self._tasks.get(self.get(evaluation_id).task_id), on_progress)
        return self.get(evaluation_id)

    def document(self, evaluation_id: str) -> dict[str, Any]:
        """All that was found: every score with its interval, the rows won and lost."""
        return self._connection.request("GET", f"{_PLACE}/{evaluation_id}/document").json()

    def report(self, evaluation_id: str, to: Path, language: str = "") -> Path:
        """Write the report, one HTML page, to a file; by default in the client's language."""
        headers = {"Accept-Language": language} if language else {}
        place = f"{_PLACE}/{evaluation_id}/report"
        answer = self._connection.request("GET", place, headers=headers)
        to.write_bytes(answer.content)
        return to

    def trace(
        self, evaluation_id: str, on_progress: OnProgress | None = None, **order: Any
    ) -> TraceRead:
        """The training rows behind the wrong answers, looked for anew.

        order: score, below, failures, neighbours, measure.
        """
        place = f"{_PLACE}/{evaluation_id}/trace"
        self._tasks.wait(self._connection.send("POST", place, TaskRead, order), on_progress)
        return self._connection.get(place, TraceRead)

    def retrain(
        self, evaluation_id: str, on_progress: OnProgress | None = None, **order: Any
    ) -> str:
        """Publish the data with changes and go on training from the result; the id of the job.

        order: changes, each {"dataset_id", "row", "fields"}; removals, each {"dataset_id", "row"};
        name.
        """
        place = f"{_PLACE}/{evaluation_id}/retrain"
        task = self._connection.send("POST", place, TaskRead, order)
        ended = self._tasks.wait(task, on_progress)
        return str((ended.result or {})["job_id"])

    def delete(self, evaluation_id: str) -> None:
        """Its verdict counts no more."""
        self._connection.request("DELETE", f"{_PLACE}/{evaluation_id}")
