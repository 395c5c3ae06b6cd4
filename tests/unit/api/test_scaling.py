"""A choice of the number of devices only where the job can use it. E5."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.training import submit, worker

JOBS = "/api/v1/jobs"


@pytest.fixture
def small() -> dict[str, Any]:
    """Two rows a step."""
    recipe = {"model": "starter", "data": {"train": ["builtin:shop"]}}
    return {"recipe": recipe | {"training": {"batch_size": 2}}}


def test_flavours_list_the_numbers_that_there_are(server: Server) -> None:
    worker(server, num_devices=4)
    found = server.member.get("/api/v1/flavours").json()["data"]
    assert {each["name"]: each["counts"] for each in found} == {
        name: [1, 2, 4] for name in ("h200", "h200-x2", "h200-x4")
    }


def test_the_estimate_says_for_each_flavour_what_makes_sense(
    server: Server, small: dict[str, Any]
) -> None:
    worker(server, num_devices=4)
    english = server.member.post(f"{JOBS}/estimate", json=small)
    assert english.status_code == 200, english.text
    found = {each["flavour"]: each for each in english.json()["scalings"]}
    sensible = {name: each["is_sensible"] for name, each in found.items()}
    assert sensible == {"h200": True, "h200-x2": True, "h200-x4": False}
    assert found["h200-x4"]["counts"] == [1, 2]
    assert found["h200-x4"]["why"]["code"] == "few_rows_a_step"
    assert "2 rows" in found["h200-x4"]["why"]["message"]
    asked = {"Accept-Language": "zh"}
    chinese = server.member.post(f"{JOBS}/estimate", json=small, headers=asked).json()
    assert "设备" in chinese["scalings"][0]["why"]["message"]


def test_devices_that_would_idle_are_refused_with_the_reason(
    server: Server, small: dict[str, Any]
) -> None:
    worker(server, num_devices=4)
    body = small | {"num_devices": 4}
    refused = server.member.post(JOBS, json=body)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (
        400,
        "idle_devices",
        "num_devices",
    )
    assert "2 rows" in error["message"]
    zh = server.member.post(JOBS, json=body, headers={"Accept-Language": "zh"}).json()["error"]
    assert "4 个设备" in zh["message"]
    by_name = server.member.post(JOBS, json=small | {"flavour": "h200-x4"}).json()["error"]
    assert by_name["code"] == "idle_devices"
    assert submit(server, num_devices=4)["num_devices"] == 4  # its steps have rows for all
