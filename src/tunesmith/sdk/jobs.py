"""Jobs: submit, look, steer, follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tunesmith.schemas.flavours import FlavourList
from tunesmith.schemas.jobs import (
    AdviceRead,
    BulkAnswer,
    CheckpointRead,
    EventPage,
    EventRead,
    JobDetails,
    JobRead,
    JobRecipe,
    JobSubmitted,
    LogRead,
    MetricsRead,
    ModelMade,
    Preflight,
)
from tunesmith.sdk.connection import Connection
from tunesmith.sdk.follow import follow

FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})
_PLACE = "/api/v1/jobs"


class Jobs:
    """Trainings on the server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, **body: Any) -> JobSubmitted:
        """Queue a training: recipe (object or YAML text), name, base, datasets, flavour, ...

        A connection that breaks does not make a second job.
        """
        return self._connection.send("POST", _PLACE, JobSubmitted, body)

    def estimate(self, **body: Any) -> Preflight:
        """Time, memory and price of what `create` would queue."""
        return self._connection.send("POST", f"{_PLACE}/estimate", Preflight, body)

    def list(self, **query: Any) -> Iterator[JobRead]:
        """Newest first; `status`, `text`, `project_id` ... narrow it."""
        return self._connection.all(_PLACE, JobRead, **query)

    def get(self, job_id: str) -> JobDetails:
        return self._connection.get(f"{_PLACE}/{job_id}", JobDetails)

    def recipe(self, job_id: str) -> JobRecipe:
        return self._connection.get(f"{_PLACE}/{job_id}/recipe", JobRecipe)

    def cancel(self, job_id: str) -> JobRead:
        return self._do(job_id, "cancel")

    def pause(self, job_id: str) -> JobRead:
        return self._do(job_id, "pause")

    def resume(self, job_id: str, num_devices: int | None = None) -> JobRead:
        return self._do(job_id, "resume", {"num_devices": num_devices})

    def stop(self, job_id: str) -> JobRead:
        """Finish now and keep the result."""
        return self._do(job_id, "stop")

    def reorder(self, job_id: str, before: str | None) -> JobRead:
        return self._do(job_id, "reorder", {"before": before})

    def retry(self, job_id: str) -> JobSubmitted:
        """A new job like one that ended, from its beginning, at the price of today."""
        return self._connection.send("POST", f"{_PLACE}/{job_id}/retry", JobSubmitted)

    def clone(
        self, job_id: str, changes: Mapping[str, Any] | None = None, **about: Any
    ) -> JobSubmitted:
        """A new job like this one; `changes`: fields of the recipe by path; `about`: name, ..."""
        body = {"changes": dict(changes or {}), **about}
        return self._connection.send("POST", f"{_PLACE}/{job_id}/clone", JobSubmitted, body)

    def update(self, job_id: str, **changes: Any) -> JobRead:
        """Name, description, labels, priority."""
        return self._connection.send("PATCH", f"{_PLACE}/{job_id}", JobRead, changes)

    def bulk(self, action: str, job_ids: Sequence[str]) -> BulkAnswer:
        """One action on several jobs; each has its own outcome."""
        body = {"action": action, "job_ids": job_ids}
        return self._connection.send("POST", f"{_PLACE}/bulk", BulkAnswer, body)

    def delete(self, job_id: str) -> None:
        """The model that it made stays."""
        self._connection.request("DELETE", f"{_PLACE}/{job_id}")

    def follow(self, job_id: str, after: int = 0) -> Iterator[EventRead]:
        """Every event behind a number, as they happen, to the last; breaks are gone over."""
        return follow(self._connection, job_id, after)

    def events(self, job_id: str, after: int = 0) -> Iterator[EventRead]:
        """What has happened so far, oldest first."""
        while True:
            page = self._connection.get(f"{_PLACE}/{job_id}/events", EventPage, after=after)
            yield from page.data
            if not page.has_more or page.last_number is None:
                return
            after = page.last_number

    def metrics(self, job_id: str, **query: Any) -> MetricsRead:
        return self._connection.get(f"{_PLACE}/{job_id}/metrics", MetricsRead, **query)

    def advice(self, job_id: str) -> AdviceRead:
        """What the curves say, and what to do."""
        return self._connection.get(f"{_PLACE}/{job_id}/advice", AdviceRead)

    def log(self, job_id: str, **query: Any) -> LogRead:
        return self._connection.get(f"{_PLACE}/{job_id}/log", LogRead, **query)

    def download_log(self, job_id: str, to: str | Path) -> int:
        return self._connection.download(f"{_PLACE}/{job_id}/log/download", Path(to))

    def download_metrics(self, job_id: str, to: str | Path) -> int:
        """All points of all curves, as CSV."""
        return self._connection.download(f"{_PLACE}/{job_id}/metrics.csv", Path(to))

    def checkpoints(self, job_id: str) -> Iterator[CheckpointRead]:
        return self._connection.all(f"{_PLACE}/{job_id}/checkpoints", CheckpointRead)

    def use_checkpoint(self, checkpoint_id: str, name: str | None = None) -> ModelMade:
        """A checkpoint as a model; again is the same model."""
        place = f"/api/v1/checkpoints/{checkpoint_id}/model"
        return self._connection.send("POST", place, ModelMade, {"name": name})

    def branch(
        self, checkpoint_id: str, changes: Mapping[str, Any] | None = None, **about: Any
    ) -> JobSubmitted:
        """A new job that goes on from a checkpoint with changed fields of its recipe."""
        place = f"/api/v1/checkpoints/{checkpoint_id}/branch"
        body = {"changes": dict(changes or {}), **about}
        return self._connection.send("POST", place, JobSubmitted, body)

    def flavours(self) -> FlavourList:
        """What there is to compute on."""
        return self._connection.get("/api/v1/flavours", FlavourList)

    def _do(self, job_id: str, action: str, body: Any = None) -> JobRead:
        return self._connection.send("POST", f"{_PLACE}/{job_id}/{action}", JobRead, body)
