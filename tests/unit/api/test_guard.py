"""What every request meets: hosts, sizes, ids, headers, limits, and errors that nobody foresaw."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.unit.api.conftest import ADMIN_TOKEN, Server, serving

from tunesmith.api.guard import MOST_BODY_BYTES
from tunesmith.api.rates import Rates
from tunesmith.server import clock, workers
from tunesmith.server.errors import RateLimited
from tunesmith.server.settings import Settings
from tunesmith.server.tables import Worker


def code(answer: Any) -> str:
    return answer.json()["error"]["code"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_a_host_that_is_not_ours_is_refused(server: Server, host: str) -> None:
    answer = server.admin.get("/api/v1/health", headers={"Host": host})
    assert (answer.status_code, code(answer)) == (400, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8400", "127.0.0.1:1", "[::1]:8400"])
def test_this_machine_is_ours_by_any_name(server: Server, host: str) -> None:
    assert server.admin.get("/api/v1/health", headers={"Host": host}).status_code == 200


def test_hosts_of_the_settings_are_ours(settings: Settings) -> None:
    changed = settings.model_copy(
        update={"allowed_hosts": ["tune.corp"], "public_url": "https://tunesmith.corp:8443"}
    )
    with serving(changed) as server:
        for host in ("tune.corp", "tunesmith.corp:8443"):
            answer = server.client("nobody").get("/api/v1/health", headers={"Host": host})
            assert answer.status_code == 200


def test_a_body_above_the_limit_is_refused_whether_it_says_its_size_or_not(server: Server) -> None:
    big = b" " * (MOST_BODY_BYTES + 1)
    kind = {"content-type": "application/json"}
    announced = server.admin.post("/api/v1/users", content=big, headers=kind)
    chunks = (big[start : start + 1_000_000] for start in range(0, len(big), 1_000_000))
    streamed = server.admin.post("/api/v1/users", content=chunks, headers=kind)
    for answer in (announced, streamed):
        assert (answer.status_code, code(answer)) == (413, "body_too_large")


def test_wrong_bodies_are_told_in_chinese_field_by_field(server: Server) -> None:
    body = {
        "name": 7,
        "email": "nobody",
        "is_admin": "perhaps",
        "language": "fr",
        "project_ids": "x",
        "quota_running_jobs": -1,
        "quota_storage_bytes": 2**63,
        "credit_cents": "many",
        "quota_device_hours": [],
        "nmae": "li",
    }
    chinese = {"Accept-Language": "zh"}
    answer = server.admin.post("/api/v1/users", json=body, headers=chinese).json()["error"]
    problems = {each["param"]: each["message"] for each in answer["details"]["problems"]}
    assert problems.keys() == body.keys()
    assert problems["nmae"] == "没有这个字段（您是否想写 name？）"
    assert problems["quota_running_jobs"] == "应不小于 0，现为 -1"
    assert problems["language"] == "应为下列之一：en、zh，现为 'fr'"
    told = answer["message"] + "".join(problems.values())
    assert answer["message"].startswith("请求内容有误：")
    for english in ("Input", "should", "valid", "Field", "String", "permitted"):
        assert english not in told
    english = server.admin.post("/api/v1/users", json=body).json()["error"]
    assert "nmae: there is no such field (did you mean name?)" in english["message"]
    assert english["message"].isascii()


def test_an_unknown_field_is_told_with_those_that_there_are(server: Server) -> None:
    body = {"name": "t", "days": 3}
    told = server.admin.post("/api/v1/tokens", json=body).json()["error"]["message"]
    assert "days: there is no such field; there are name, scopes, project_id, lifetime_days" in told
    method = {"type": "supervised", "supervised": {"hyperparameters": {"nepochs": 1}}}
    job = {"model": "starter", "training_file": "file-1", "method": method}
    told = server.member.post("/v1/fine_tuning/jobs", json=job).json()["error"]["message"]
    assert "hyperparameters.nepochs: there is no such field (did you mean n_epochs?)" in told


@pytest.mark.parametrize(("language", "told"), [("en", "no valid JSON"), ("zh", "不是有效的 JSON")])
def test_broken_json_is_a_problem_of_the_body(server: Server, language: str, told: str) -> None:
    headers = {"content-type": "application/json", "Accept-Language": language}
    for path, status in (("/api/v1/users", 422), ("/v1/fine_tuning/jobs", 400)):
        answer = server.admin.post(path, content=b'{"name":', headers=headers)
        assert answer.status_code == status
        assert answer.json()["error"]["param"] == "body"
        assert told in answer.json()["error"]["message"]


def test_a_body_that_cannot_be_read_comes_with_a_hint(server: Server) -> None:
    headers = {"content-type": "application/json"}
    for body, expected in ((b"[" * 100_000, "body_too_deep"), (b'"\xff"', "body_not_utf8")):
        answer = server.admin.post("/api/v1/users", content=body, headers=headers)
        assert (answer.status_code, code(answer)) == (400, expected)
        assert answer.json()["error"]["hint"]


def test_the_health_of_a_server_may_be_asked_for_without_a_body(server: Server) -> None:
    get, head = (server.client("nobody").request(m, "/api/v1/health") for m in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_what_nobody_foresaw_under_v1_has_the_shape_of_v1(server: Server) -> None:
    mounted: Any = next(each for each in server.app.routes if getattr(each, "path", "") == "/v1")

    @mounted.app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    answer = server.admin.get("/v1/broken")
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret detail" not in answer.text


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/nothing", "/v1/nothing", "/metrics"])
def test_every_answer_has_an_id_and_the_headers_of_safety(server: Server, path: str) -> None:
    answer = server.client("nobody").get(path)
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_an_unknown_address_and_a_wrong_method_are_told_in_the_shape_of_the_api(
    server: Server,
) -> None:
    missing, method = server.admin.get("/api/v1/none"), server.admin.put("/api/v1/health")
    assert (missing.status_code, code(missing)) == (404, "no_such_route")
    assert (method.status_code, code(method)) == (405, "method_not_allowed")


def test_json_that_does_not_parse_is_the_callers_mistake(server: Server) -> None:
    kind = {"content-type": "application/json"}
    for body in (b"{", b"[1]", b"\xff\xfe", b'"text"', b"null"):
        answer = server.admin.post("/api/v1/users", content=body, headers=kind)
        assert (answer.status_code, code(answer)) == (422, "invalid_body"), body


def test_what_nobody_foresaw_is_a_plain_500_with_its_id_and_the_log_has_the_rest(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    @server.app.get("/api/v1/broken")
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    with caplog.at_level(logging.ERROR):
        answer = server.admin.get("/api/v1/broken")
    assert (answer.status_code, code(answer)) == (500, "server_error")
    assert "secret detail" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_tokens_never_reach_the_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        server.admin.get("/api/v1/me")
        server.admin.get("/api/v1/me", params={"token": "x"})
        server.token("member")
    assert caplog.text
    assert ADMIN_TOKEN not in caplog.text
    assert "tsk-" not in caplog.text


def test_a_caller_who_asks_too_often_is_told_when_to_come_back(settings: Settings) -> None:
    with serving(settings.model_copy(update={"rate_limit": 30})) as server:
        viewer = server.viewer
        answers = [viewer.get("/api/v1/me") for _ in range(35)]
        assert answers[0].status_code == 200
        assert answers[-1].status_code == 429
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert server.member.get("/api/v1/me").status_code == 200  # others are not touched


def test_a_bucket_fills_again_with_time() -> None:
    now = 0.0
    rates = Rates(60, clock=lambda: now)
    for _ in range(60):
        rates.take("a")
    with pytest.raises(RateLimited) as stopped:
        rates.take("a")
    assert stopped.value.details["retry_after"] == 1
    now = 1.1
    rates.take("a")
    with pytest.raises(RateLimited):
        rates.take("a")


def test_metrics_count_routes_and_never_ids(server: Server) -> None:
    server.admin.get("/api/v1/users/user-1234")
    text = server.admin.get("/metrics").text
    assert 'route="/api/v1/users/{user_id}",status="404"' in text
    assert "user-1234" not in text
    assert server.member.get("/metrics").status_code == 403


def test_the_health_tells_of_workers_without_their_names(server: Server) -> None:
    def told(language: str = "en") -> dict[str, Any]:
        headers = {"Accept-Language": language}
        return server.client("nobody").get("/api/v1/health", headers=headers).json()

    assert (told()["status"], told()["workers_running"]) == ("ok", 0)
    (warning,) = told("zh")["warnings"]
    assert warning["code"] == "no_worker_running"
    assert warning["message"].startswith("没有正在运行")
    workers.register(server.platform.database, "secret-host", [])
    assert (told()["workers_running"], told()["warnings"]) == (1, [])
    with server.platform.database.write() as session:
        old = clock.read(session).wall - timedelta(minutes=7)
        session.execute(update(Worker).values(seen_at=old))
    found = told()
    assert (found["workers_running"], found["workers_silent"]) == (0, 1)
    assert {each["code"] for each in found["warnings"]} == {"no_worker_running", "worker_silent"}
    assert "secret-host" not in str(found)
