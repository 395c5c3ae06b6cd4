"""Deployments: models that people may ask, under /v1/chat/completions of the same server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from tunesmith.schemas.deployments import AskedRead, DeploymentRead
from tunesmith.sdk.connection import Connection

_PLACE: Final = "/api/v1/deployments"
_LOOK_SECONDS: Final = 0.5


class Deployments:
    """Create, start, stop, look, delete. Asking is what the `openai` client is for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, model: str, **options: Any) -> DeploymentRead:
        """Deploy a model, checkpoint or adapter.

        options: name, idle_seconds, autostart, keeps_requests, starts, project_id; overrides_gate
        and override_reason, for admins of the project, where its verdict keeps it out.
        """
        body = {"model": model, **options}
        return self._connection.send("POST", _PLACE, DeploymentRead, body)

    def list(self, **query: str | int | None) -> Iterator[DeploymentRead]:
        """Newest first; `project_id` and `status` narrow it."""
        return self._connection.all(_PLACE, DeploymentRead, **query)

    def get(self, deployment_id: str) -> DeploymentRead:
        return self._connection.get(f"{_PLACE}/{deployment_id}", DeploymentRead)

    def update(self, deployment_id: str, **changes: Any) -> DeploymentRead:
        """autostart, idle_seconds, keeps_requests."""
        place = f"{_PLACE}/{deployment_id}"
        return self._connection.send("PATCH", place, DeploymentRead, changes)

    def start(self, deployment_id: str) -> DeploymentRead:
        return self._connection.send("POST", f"{_PLACE}/{deployment_id}/start", DeploymentRead)

    def stop(self, deployment_id: str) -> DeploymentRead:
        return self._connection.send("POST", f"{_PLACE}/{deployment_id}/stop", DeploymentRead)

    def delete(self, deployment_id: str) -> None:
        self._connection.request("DELETE", f"{_PLACE}/{deployment_id}")

    def requests(self, deployment_id: str) -> Iterator[AskedRead]:
        """What was asked and answered, newest first."""
        return self._connection.all(f"{_PLACE}/{deployment_id}/requests", AskedRead)

    def wait(self, deployment_id: str, seconds: float = 300.0) -> DeploymentRead:
        """Until it is no longer starting; as it is then, or when the time is up."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.get(deployment_id)
            if found.status != "starting" or time.monotonic() > deadline:
                return found
            time.sleep(_LOOK_SECONDS)
