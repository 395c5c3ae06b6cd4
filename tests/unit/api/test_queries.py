"""A misspelt filter or a cursor of nowhere is told, not ignored; the OpenAI API ignores filters."""

from __future__ import annotations

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.training import submit


@pytest.mark.parametrize(
    ("path", "wrong", "near"),
    [
        ("/api/v1/jobs?projectid=x", "projectid", "project_id"),
        ("/api/v1/jobs?stat=queued", "stat", "status"),
        ("/api/v1/models?limti=3", "limti", "limit"),
        ("/api/v1/me?color=red", "color", "Parameters: none"),
    ],
)
def test_an_unknown_parameter_is_refused_with_the_nearest_name(
    server: Server, path: str, wrong: str, near: str
) -> None:
    answer = server.member.get(path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "unknown_parameter")
    assert error["param"] == wrong
    assert near in error["hint"]
    told = server.member.get(path, headers={"accept-language": "zh"}).json()["error"]["message"]
    assert wrong in told
    assert "参数" in told


def test_the_openai_api_ignores_parameters_that_it_does_not_know(server: Server) -> None:
    assert server.member.get("/v1/fine_tuning/jobs?projectid=x").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/jobs",
        "/api/v1/models",
        "/api/v1/files",
        "/api/v1/datasets",
        "/api/v1/tasks",
        "/api/v1/projects",
        "/api/v1/tokens",
        "/api/v1/subscriptions",
        "/v1/fine_tuning/jobs",
        "/v1/files",
    ],
)
def test_a_cursor_that_can_be_of_no_item_is_refused(server: Server, path: str) -> None:
    answer = server.member.get(path, params={"after": "zzz"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "bad_cursor", "after")


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/api/v1/jobs", "ftjob-"),
        ("/api/v1/models", "model-"),
        ("/api/v1/files", "file-"),
        ("/api/v1/tasks", "task-"),
        ("/api/v1/projects", "proj-"),
        ("/api/v1/evaluations", "eval-"),
        ("/api/v1/deployments", "dep-"),
        ("/v1/fine_tuning/jobs", "ftjob-"),
        ("/v1/files", "file-"),
    ],
)
@pytest.mark.parametrize("end", ["zzz", "01kat3v9m0b6x1r5q8wz2c7d4e"])
def test_a_cursor_of_the_right_kind_that_names_nothing_is_refused(
    server: Server, path: str, prefix: str, end: str
) -> None:
    answer = server.member.get(path, params={"after": prefix + end})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "bad_cursor", "after")


def test_lists_of_what_is_deleted_without_a_trace_take_only_what_can_be_an_id(
    server: Server,
) -> None:
    body = {"channel": "webhook", "address": "https://1.1.1.1/hook"}
    made = server.member.post("/api/v1/subscriptions", json=body)
    assert made.status_code == 201, made.text
    gone = made.json()["id"]
    assert server.member.delete(f"/api/v1/subscriptions/{gone}").status_code == 204
    for after, status in ((gone, 200), ("sub-zzz", 400)):
        answer = server.member.get("/api/v1/subscriptions", params={"after": after})
        assert answer.status_code == status


def test_events_and_checkpoints_of_a_job_begin_behind_one_of_theirs(server: Server) -> None:
    job = submit(server)["id"]
    place = f"/v1/fine_tuning/jobs/{job}"
    newest = server.member.get(f"{place}/events").json()["data"][0]["id"]
    beyond = f"{newest[:-9]}999999999"
    assert server.member.get(f"{place}/events", params={"after": newest}).status_code == 200
    for path, after, code in (
        ("events", beyond, "unknown_event"),
        ("events", f"{newest[:-9]}000000000", "unknown_event"),
        ("checkpoints", "ftckpt_01kat3v9m0b6x1r5q8wz2c7d4e", "bad_cursor"),
    ):
        answer = server.member.get(f"{place}/{path}", params={"after": after})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, code, "after")


def test_the_id_of_a_deleted_item_still_has_a_place(server: Server) -> None:
    first, second = submit(server)["id"], submit(server, name="other")["id"]
    server.member.post(f"/api/v1/jobs/{second}/cancel")
    assert server.member.delete(f"/api/v1/jobs/{second}").status_code == 204
    found = server.member.get("/api/v1/jobs", params={"after": second}).json()["data"]
    assert [job["id"] for job in found] == [first]
