"""Jobs that the tests of the console look at: as short as a training can be."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from tests.e2e.console_browser import WAIT_MS


def submit(
    client: httpx.Client, name: str, datasets: Sequence[str] = ("builtin:shop",), **training: Any
) -> dict[str, Any]:
    """A job on the starter model."""
    body = {
        "name": name,
        "base": "starter",
        "datasets": list(datasets),
        "recipe": {"adapter": {"kind": "lora"}, "training": training},
    }
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def until(look: Callable[[], dict[str, Any]], field: str, *wanted: Any) -> dict[str, Any]:
    """What `look` answers once its field has one of the values."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while time.monotonic() < deadline:
        found = look()
        if found[field] in wanted:
            return found
        assert found[field] != "failed", found
        time.sleep(0.2)
    raise AssertionError(f"{field} is none of {wanted}")


def trained(
    client: httpx.Client, name: str, datasets: Sequence[str] = ("builtin:shop",), **training: Any
) -> dict[str, Any]:
    """A job that has succeeded; its model under `model`."""
    job = submit(client, name, datasets, **training)
    done = until(lambda: client.get(f"/jobs/{job['id']}").json(), "status", "succeeded")
    return done | {"model": client.get(f"/models/{done['model_id']}").json()["name"]}
