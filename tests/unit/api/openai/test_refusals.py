"""What is refused under /v1: its status, shape, code and field."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.api.conftest import Server, serving
from tests.unit.api.openai.making import chats, create, get, refused, upload
from tests.unit.api.openai.test_methods import reinforcement
from tests.unit.api.training import worker

from tunesmith.server.settings import Settings


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    """One installation for all bodies that change nothing in it."""
    folder = tmp_path_factory.mktemp("unchanged") / "data"
    shutil.copytree(migrated, folder)
    with serving(Settings.load(data_dir=folder, rate_limit=0)) as server:
        yield server


def test_the_framework_speaks_in_the_same_shape(unchanged: Server) -> None:
    client = unchanged.member
    for language in ("en", "zh"):
        client.headers["accept-language"] = language
        nowhere = refused(client.get("/v1/nowhere"), 404, "no_such_route")
        wrong = refused(client.patch("/v1/files"), 405, "method_not_allowed")
        for error in (nowhere, wrong):  # the list of this API, not that of the native one
            assert "/v1/openapi.json" in error["message"]
            assert "/api/v1/" not in error["message"]
    assert client.get("/v1/openapi.json").status_code == 200
    no_json = client.post("/v1/fine_tuning/jobs", content=b"{")
    refused(no_json, 400, "invalid_body")
    refused(client.post("/v1/fine_tuning/jobs", json=[]), 400, "invalid_body")
    refused(client.post("/v1/files", content=b"x"), 400, "invalid_form")
    answer = unchanged.client("nobody").get("/v1/models")
    error = refused(answer, 401, "no_token")
    assert error["type"] == "authentication_error"
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("path", ["/embeddings", "/responses"])
def test_what_is_not_offered_is_not_asked_for_again(unchanged: Server, path: str) -> None:
    answer = unchanged.member.post(f"/v1{path}", json={"model": "starter"})
    assert refused(answer, 501, "not_offered")["type"] == "server_error"
    assert answer.headers["x-should-retry"] == "false"
    refused(unchanged.client("nobody").post(f"/v1{path}"), 401, "no_token")


def test_others_know_nothing_of_a_job(server: Server) -> None:
    job = create(server)
    client = server.foreigner
    for path in ("", "/events", "/checkpoints"):
        answer = client.get(f"/v1/fine_tuning/jobs/{job['id']}{path}")
        refused(answer, 404, "job_not_found")
    refused(client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel"), 404, "job_not_found")
    refused(client.get(f"/v1/files/{job['training_file']}"), 404, "file_not_found")
    body = {"model": "starter", "training_file": job["training_file"]}
    refused(client.post("/v1/fine_tuning/jobs", json=body), 400, "file_not_found", "training_file")
    assert get(server, "/fine_tuning/jobs", "foreigner")["data"] == []
    viewer = server.viewer.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
    assert refused(viewer, 403, "role_too_low")["type"] == "permission_error"


judged = reinforcement(
    {
        "type": "score_model",
        "name": "j",
        "model": "m",
        "input": [{"role": "user", "content": "{{item.a}}"}],
    }
)
programmed = reinforcement({"type": "python", "name": "p", "source": "def grade(s, i): return 1"})


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"hyperparameters": {"n_epochs": "many"}}, "invalid_body", "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": True}}, "invalid_body", "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": 1.5}}, "invalid_body", "hyperparameters.n_epochs"),
        ({"hyperparameters": {"beta": 1}}, "invalid_body", "hyperparameters.beta"),
        ({"method": {"type": "supervised", "dpo": {}}}, "invalid_body", "method"),
        ({"method": {"type": "reinforcement"}}, "invalid_body", "method"),
        (
            {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}}},
            "invalid_body",
            "method.dpo.hyperparameters.beta",
        ),
        ({"method": {"type": "dpo"}, "loss": "kto"}, "invalid_recipe", "stage.loss"),
        ({"method": judged}, "invalid_recipe", "stage.rewards"),
        ({"method": programmed}, "invalid_recipe", "stage.rewards"),
        (
            {"method": {"type": "supervised"}, "hyperparameters": {}},
            "hyperparameters_given_twice",
            "hyperparameters",
        ),
        ({"integrations": [{"type": "wandb"}]}, "invalid_body", "integrations.0.wandb"),
        ({"seed": "1"}, "invalid_body", "seed"),
        ({"suffix": ""}, "invalid_body", "suffix"),
        ({"suffix": "a\u0000b"}, "invalid_body", "suffix"),
        ({"model": "/etc/passwd"}, "model_not_found", "model"),
        ({"model": "model-none"}, "model_not_found", "model"),
        ({"validation_file": "file-none"}, "file_not_found", "validation_file"),
        ({"n_epoch": 3}, "invalid_recipe", "n_epoch"),
        ({"training.epochs": -1}, "invalid_recipe", "training.epochs"),
        ({"data": {"train": ["builtin:shop"]}}, "data_given_twice", "data.train"),
        ({"model.base": "x/y"}, "model_given_twice", "model.base"),
        ({"chat_template": "/etc/passwd"}, "invalid_recipe", "data.chat_template"),
        ({"datasets": [{"dataset": "../x"}]}, "invalid_recipe", "data.train.1.dataset"),
        ({"flavour": "h900"}, "unknown_flavour", "flavour"),
    ],
)
def test_a_body_that_is_not_right_names_its_field(
    unchanged: Server, body: dict[str, Any], code: str, param: str
) -> None:
    file = upload(unchanged, chats(10))["id"]
    whole = {"model": "starter", "training_file": file, **body}
    refused(unchanged.member.post("/v1/fine_tuning/jobs", json=whole), 400, code, param)
    assert get(unchanged, "/fine_tuning/jobs")["data"] == []


def test_a_file_for_something_else_is_no_training_file(server: Server) -> None:
    file = upload(server, chats(10), purpose="evals")["id"]
    body = {"model": "starter", "training_file": file}
    answer = server.member.post("/v1/fine_tuning/jobs", json=body)
    refused(answer, 400, "wrong_purpose", "training_file")


def test_files_of_two_projects_do_not_go_together(server: Server) -> None:
    ours = upload(server, chats(10))["id"]
    theirs = upload(server, chats(10), "foreigner")["id"]
    body = {"model": "starter", "training_file": ours, "validation_file": theirs}
    answer = server.admin.post("/v1/fine_tuning/jobs", json=body)
    refused(answer, 400, "file_of_other_project", "validation_file")


def test_a_dataset_that_is_mixed_in_has_to_be_there(server: Server) -> None:
    job = create(server, datasets=[{"dataset": "nowhere"}])
    server.finish_tasks()
    job = get(server, f"/fine_tuning/jobs/{job['id']}")
    assert job["status"] == "failed"
    assert "nowhere" in job["error"]["message"]
    assert job["error"]["param"] == "data.train.1.dataset"


def test_events_go_on_after_events_of_the_same_job_only(server: Server) -> None:
    job = create(server)
    path = f"/v1/fine_tuning/jobs/{job['id']}/events"
    answer = server.member.get(path, params={"after": "ftevent-other-1"})
    refused(answer, 400, "unknown_event", "after")
    refused(server.member.get(path, params={"limit": 0}), 400, "invalid_body", "limit")


def test_models_that_are_needed_are_not_deleted(unchanged: Server) -> None:
    refused(unchanged.member.delete("/v1/models/starter"), 400, "model_is_preset")
    refused(unchanged.member.delete("/v1/models/nothing"), 404, "model_not_found")
    assert get(unchanged, "/models/Qwen/Qwen3-0.6B")["owned_by"] == "tunesmith"
    names = [model["id"] for model in get(unchanged, "/models")["data"]]
    assert names[0] == "starter"
    assert len(names) == len(set(names))


def test_the_document_describes_every_route(unchanged: Server) -> None:
    document = unchanged.member.get("/v1/openapi.json").json()
    assert "/fine_tuning/jobs/{job_id}/pause" in document["paths"]
    assert document["servers"] == [{"url": "/v1"}]


@pytest.mark.parametrize("path", ["", "/estimate"])
def test_devices_that_would_idle_are_refused_before_there_is_a_job(
    server: Server, path: str
) -> None:
    """20 rows make steps of 2 rows; a fourth device would have nothing to do."""
    worker(server, num_devices=4)
    file = upload(server, chats(20))["id"]
    body = {"model": "starter", "training_file": file, "num_devices": 4}
    answer = server.member.post(f"/v1/fine_tuning/jobs{path}", json=body)
    refused(answer, 400, "idle_devices", "num_devices")
    assert server.member.get("/v1/fine_tuning/jobs").json()["data"] == []
    assert server.finish_tasks() == 0
    body["num_devices"] = 2
    assert server.member.post(f"/v1/fine_tuning/jobs{path}", json=body).status_code == 200


def test_two_values_of_one_field_are_told_as_parts_of_the_request(unchanged: Server) -> None:
    file = upload(unchanged, chats(10))["id"]
    whole = {"model": "starter", "training_file": file, "rank": 8, "lora_rank": 16}
    answer = unchanged.member.post("/v1/fine_tuning/jobs", json=whole)
    message = refused(answer, 400, "invalid_recipe", "adapter.rank")["message"]
    assert "rank in the request" in message
    assert "command line" not in message
