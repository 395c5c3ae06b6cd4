"""Permissions of checkpoints: an administrator shares them with other projects."""

from __future__ import annotations

from urllib.parse import quote

from tests.unit.api.conftest import Server
from tests.unit.api.openai.making import create, get, refused
from tests.unit.api.training import started, steps

from tunesmith.server import claims


def checkpoint(server: Server) -> str:
    """The name of a checkpoint of a job of the member."""
    job = create(server)
    server.finish_tasks()
    claimed = started(server, job["id"])
    steps(server, claimed, [1])
    claims.add_checkpoint(server.platform.database, claimed, 1)
    (saved,) = get(server, f"/fine_tuning/jobs/{job['id']}/checkpoints")["data"]
    return saved["fine_tuned_model_checkpoint"]


def test_a_shared_checkpoint_can_be_used_by_the_other_project(server_on_both: Server) -> None:
    server = server_on_both
    name = checkpoint(server)
    path = f"/v1/fine_tuning/checkpoints/{quote(name, safe='')}/permissions"
    body = {"project_ids": [server.their_project]}
    refused(server.member.post(path, json=body), 403, "admins_only")
    refused(server.client("manager").get(path), 403, "admins_only")
    refused(server.foreigner.get(f"/v1/models/{name}"), 404, "checkpoint_not_found")

    made = server.admin.post(path, json=body).json()
    assert server.admin.post(path, json=body).json() == made  # twice is once
    (permission,) = made["data"]
    assert permission["object"] == "checkpoint.permission"
    assert get(server, f"/models/{name}", "foreigner")["id"] == name
    onward = create(server, "foreigner", model=name)
    assert onward["organization_id"] == server.their_project

    listed = server.admin.get(path, params={"project_id": server.their_project}).json()
    assert listed["last_id"] == permission["id"]
    assert server.admin.get(path, params={"project_id": server.project}).json()["data"] == []
    gone = server.admin.delete(f"{path}/{permission['id']}").json()
    assert gone == {
        "id": permission["id"],
        "object": "checkpoint.permission",
        "deleted": True,
    }
    refused(server.admin.delete(f"{path}/{permission['id']}"), 404, "permission_not_found")
    refused(server.foreigner.get(f"/v1/models/{name}"), 404, "checkpoint_not_found")


def test_a_project_that_is_not_there_shares_nothing(server: Server) -> None:
    path = f"/v1/fine_tuning/checkpoints/{checkpoint(server)}/permissions"
    body = {"project_ids": [server.their_project, "proj-none"]}
    refused(server.admin.post(path, json=body), 404, "project_not_found", "project_ids")
    assert server.admin.get(path).json()["data"] == []
    none = "/v1/fine_tuning/checkpoints/ft:a:b::01234567:ckpt-step-1/permissions"
    refused(server.admin.get(none), 404, "checkpoint_not_found")
