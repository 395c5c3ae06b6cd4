"""Weights & Biases: what a request says of it, and what is refused without its package."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
from tests.unit.api.conftest import Server

from tunesmith.schemas.openai.jobs import JobCreate
from tunesmith.server import workers
from tunesmith.server.services.openai.draft import recipe_of
from tunesmith.server.workers import DeviceInfo

WITHOUT = pytest.mark.skipif(find_spec("wandb") is not None, reason="the package is installed here")


def works_on(server: Server, host: str) -> None:
    devices = [DeviceInfo(0, flavour="local-cpu")]
    workers.register(server.platform.database, f"w-{host}", devices, host=host)


@WITHOUT
def test_a_job_is_refused_where_every_worker_lacks_the_package(server: Server) -> None:
    works_on(server, os.uname().nodename)
    body = {"recipe": {"model": "starter", "data": {"train": ["builtin:shop"]}}}
    body["recipe"]["report"] = {"wandb": True}
    error = server.member.post("/api/v1/jobs", json=body).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_recipe", "report.wandb")
    assert "wandb is not installed" in error["message"]
    chosen = {"Accept-Language": "zh"}
    checked = server.member.post("/api/v1/recipes/validate", json=body, headers=chosen).json()
    assert [each["code"] for each in checked["problems"]] == ["tracker_missing"]
    assert "没有安装 wandb" in checked["problems"][0]["message"]


def test_a_worker_elsewhere_may_have_the_package(server: Server) -> None:
    works_on(server, os.uname().nodename)
    works_on(server, "another-machine")
    body = {"recipe": {"model": "starter", "data": {"train": ["builtin:shop"]}}}
    body["recipe"]["report"] = {"wandb": True}
    assert server.member.post("/api/v1/jobs", json=body).status_code == 201


def test_integrations_are_the_fields_of_the_recipe() -> None:
    wandb = {"project": "shop", "entity": "team", "name": "first", "tags": ["a", "b"]}
    body = JobCreate.model_validate(
        {
            "model": "starter",
            "training_file": "file-x",
            "integrations": [{"type": "wandb", "wandb": wandb}],
        }
    )
    recipe = recipe_of(body, base="starter", seed=1, train="file-x", validation=None).recipe
    report = recipe.report
    assert (report.wandb, report.wandb_project, report.wandb_entity) == (True, "shop", "team")
    assert (report.wandb_name, report.wandb_tags) == ("first", ["a", "b"])
