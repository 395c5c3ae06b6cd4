"""Who may come in, and what they may do: users, projects, tokens, sessions, audit."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.unit.api.conftest import ADMIN_TOKEN, Server

GOOD = "a long enough password"


def with_token(server: Server, secret: str) -> TestClient:
    client = server.client("nobody")
    client.headers["Authorization"] = f"Bearer {secret}"
    return client


def code(answer: Any) -> str:
    return answer.json()["error"]["code"]


def test_the_admin_token_of_the_settings_opens_the_door_and_another_does_not(
    server_on_both: Server,
) -> None:
    me = with_token(server_on_both, ADMIN_TOKEN).get("/api/v1/me")
    assert me.json()["user"]["name"] == "admin"
    wrong = with_token(server_on_both, "tsk-wrong").get("/api/v1/me")
    assert (wrong.status_code, code(wrong)) == (401, "invalid_token")


def test_a_first_start_prints_one_token_once(server: Server) -> None:
    assert server.platform.people.first_start() is None


def test_a_user_signs_in_with_a_password_and_the_cookie_alone_lets_them_look(
    server: Server,
) -> None:
    server.admin.post("/api/v1/users", json={"name": "li", "password": GOOD})
    browser = server.client("nobody")
    answer = browser.post("/api/v1/session", json={"name": "li", "password": GOOD})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert browser.get("/api/v1/me").json()["user"]["name"] == "li"


def test_a_change_with_a_cookie_must_come_from_our_own_page(server: Server) -> None:
    server.admin.post("/api/v1/users", json={"name": "li", "password": GOOD})
    browser = server.client("nobody")
    browser.post("/api/v1/session", json={"name": "li", "password": GOOD})
    body = {"name": "t"}
    assert code(browser.post("/api/v1/tokens", json=body)) == "origin_not_allowed"
    foreign = {"Origin": "http://evil.example"}
    assert browser.post("/api/v1/tokens", json=body, headers=foreign).status_code == 403
    ours = {"Origin": "http://localhost"}
    assert browser.post("/api/v1/tokens", json=body, headers=ours).status_code == 201


def test_wrong_name_and_wrong_password_get_the_same_answer(server: Server) -> None:
    server.admin.post("/api/v1/users", json={"name": "li", "password": GOOD})
    nobody = server.client("nobody")
    one = nobody.post("/api/v1/session", json={"name": "li", "password": "wrong"})
    other = nobody.post("/api/v1/session", json={"name": "who", "password": "wrong"})
    assert one.status_code == other.status_code == 401
    assert code(one) == code(other) == "wrong_password"


def stop_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a guess takes here, none waits long enough."""
    monkeypatch.setattr(server.app.state.backoff, "_clock", lambda: 0.0)


def test_guessing_passwords_is_stopped(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_time(server, monkeypatch)
    nobody = server.client("nobody")
    body = {"name": "Admin", "password": "guess"}
    answers = [nobody.post("/api/v1/session", json=body).status_code for _ in range(6)]
    assert answers == [401, 401, 401, 401, 401, 429]
    chinese = {"Accept-Language": "zh"}
    blocked = nobody.post("/api/v1/session", json=body, headers=chinese)
    assert code(blocked) == "sign_in_paused"
    assert int(blocked.headers["retry-after"]) >= 1
    assert blocked.json()["error"]["message"].startswith("登录失败次数过多")
    assert server.admin.get("/api/v1/me").status_code == 200  # a token is no guess
    (told,) = [
        entry
        for entry in server.admin.get("/api/v1/audit").json()["data"]
        if entry["action"] == "session.paused"
    ]
    assert told["details"]["name"] == "admin"
    assert told["details"]["failures"] == 5
    assert told["target"] == server.users["admin"]
    counted = server.admin.get("/metrics").text
    assert "tunesmith_sign_in_pauses_total 1.0" in counted
    assert 'tunesmith_sign_ins_failed_total{kind="password"} 5.0' in counted


def test_wrong_tokens_are_counted(server: Server) -> None:
    assert with_token(server, "tsk-unknown").get("/api/v1/me").status_code == 401
    counted = server.admin.get("/metrics").text
    assert 'tunesmith_sign_ins_failed_total{kind="token"} 1.0' in counted


def test_guesses_of_the_old_password_are_slowed_too(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_time(server, monkeypatch)
    server.admin.put("/api/v1/me/password", json={"password": GOOD})
    body = {"password": GOOD + "x", "old_password": "guess"}
    answers = [server.admin.put("/api/v1/me/password", json=body).status_code for _ in range(6)]
    assert answers == [401, 401, 401, 401, 401, 429]


def test_a_revoked_an_expired_and_a_disabled_token_say_so(server: Server) -> None:
    secret = server.token("member")
    mine = with_token(server, secret)
    token = next(t for t in mine.get("/api/v1/tokens").json()["data"] if t["name"] == "extra")
    assert secret.startswith(token["prefix"])
    assert "secret" not in token
    assert mine.delete(f"/api/v1/tokens/{token['id']}").status_code == 204
    assert code(mine.get("/api/v1/me")) == "token_revoked"
    user = server.users["viewer"]
    server.admin.patch(f"/api/v1/users/{user}", json={"disabled": True})
    assert code(server.viewer.get("/api/v1/me")) == "user_disabled"


def test_a_token_for_reading_does_not_write(server: Server) -> None:
    reading = with_token(server, server.token("manager", scopes=["read"]))
    assert reading.get("/api/v1/projects").status_code == 200
    member = f"/api/v1/projects/{server.project}/members/{server.users['viewer']}"
    refused = reading.put(member, json={"role": "member"})
    assert (refused.status_code, code(refused)) == (403, "scope_missing")
    assert reading.post("/api/v1/tokens", json={"name": "more"}).status_code == 403


def test_a_token_of_a_project_sees_only_that_project(server: Server) -> None:
    bound = with_token(server, server.token("admin", project_id=server.their_project))
    seen = [project["id"] for project in bound.get("/api/v1/projects").json()["data"]]
    assert seen == [server.their_project]
    assert bound.get("/api/v1/users").status_code == 403


def test_a_foreign_project_does_not_exist(server: Server) -> None:
    answer = server.foreigner.get(f"/api/v1/projects/{server.project}")
    assert (answer.status_code, code(answer)) == (404, "project_not_found")
    assert server.viewer.get(f"/api/v1/projects/{server.project}").status_code == 200


def test_members_work_and_only_admins_of_a_project_let_others_in(server: Server) -> None:
    path = f"/api/v1/projects/{server.project}/members/{server.users['foreigner']}"
    assert code(server.member.put(path, json={"role": "viewer"})) == "role_too_low"
    assert server.client("manager").put(path, json={"role": "viewer"}).status_code == 200
    assert server.foreigner.get(f"/api/v1/projects/{server.project}").status_code == 200
    assert server.client("manager").delete(path).status_code == 204
    assert server.foreigner.get(f"/api/v1/projects/{server.project}").status_code == 404


def test_admins_of_a_project_find_whom_to_let_in_by_name(server_on_both: Server) -> None:
    server = server_on_both
    path = f"/api/v1/projects/{server.project}/candidates"
    manager = server.client("manager")
    found = manager.get(path, params={"text": "FOREIGN"}).json()["data"]
    assert found == [{"user_id": server.users["foreigner"], "name": "foreigner"}]
    assert manager.get(path, params={"text": "member"}).json()["data"] == []  # is in already
    assert manager.get(path, params={"text": "%"}).json()["data"] == []
    assert manager.get(path, params={"text": ""}).status_code == 422
    assert code(server.member.get(path, params={"text": "f"})) == "role_too_low"
    assert code(server.foreigner.get(path, params={"text": "f"})) == "project_not_found"
    server.admin.patch(f"/api/v1/users/{server.users['foreigner']}", json={"disabled": True})
    assert manager.get(path, params={"text": "foreign"}).json()["data"] == []


def test_users_are_for_administrators_and_oneself(server: Server) -> None:
    assert server.member.get("/api/v1/users").status_code == 403
    assert server.member.get("/api/v1/users/me").status_code == 200
    assert server.member.get(f"/api/v1/users/{server.users['viewer']}").status_code == 404


def test_the_last_administrator_stays(server: Server) -> None:
    me = server.users["admin"]
    assert code(server.admin.patch(f"/api/v1/users/{me}", json={"is_admin": False})) == "last_admin"
    assert server.admin.get("/api/v1/users").status_code == 200


def test_a_name_is_taken_once(server_on_both: Server) -> None:
    body = {"name": "li"}
    assert server_on_both.admin.post("/api/v1/users", json=body).status_code == 201
    again = server_on_both.admin.post("/api/v1/users", json=body)
    assert (again.status_code, code(again)) == (409, "name_taken")


def test_a_new_user_joins_the_default_project_and_no_other_unasked(server: Server) -> None:
    def projects(name: str, **fields: Any) -> list[str]:
        answer = server.admin.post("/api/v1/users", json={"name": name, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()["project_ids"]

    assert projects("one") == [server.project]
    assert projects("two", project_ids=[]) == []
    assert projects("three", project_ids=[server.their_project]) == [server.their_project]
    changed = server.admin.patch(f"/api/v1/projects/{server.project}", json={"name": "ours"})
    assert changed.status_code == 200
    assert projects("four") == []


def test_a_short_password_is_a_mistake_of_the_request(server: Server) -> None:
    answer = server.admin.post("/api/v1/users", json={"name": "li", "password": "short"})
    assert (answer.status_code, code(answer)) == (400, "password_too_short")
    assert answer.json()["error"]["param"] == "password"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("li.na", 201),
        ("\u674e\u5a1c", 201),
        ("Jos\u00e9_1@example.com", 201),
        ("a/b", 422),
        ("../etc", 422),
        (".hidden", 422),
        ("-admin", 422),
        ("li na", 422),
        ("li\u200bna", 422),
    ],
)
def test_names_of_users_fit_into_addresses(server: Server, name: str, status: int) -> None:
    answer = server.admin.post("/api/v1/users", json={"name": name})
    assert answer.status_code == status, answer.text


def test_a_new_password_ends_the_other_sessions(server: Server) -> None:
    server.admin.post("/api/v1/users", json={"name": "li", "password": GOOD})
    first, second = server.client("nobody"), server.client("nobody")
    for browser in (first, second):
        browser.post("/api/v1/session", json={"name": "li", "password": GOOD})
    change = {"password": GOOD + "2", "old_password": GOOD}
    ours = {"Origin": "http://localhost"}
    assert first.put("/api/v1/me/password", json=change, headers=ours).status_code == 200
    assert first.get("/api/v1/me").status_code == 200
    assert second.get("/api/v1/me").status_code == 401


def test_lists_come_in_parts_without_a_gap(server: Server) -> None:
    for number in range(5):
        server.admin.post("/api/v1/users", json={"name": f"user-{number}"})
    names, after = [], None
    while True:
        query = {"limit": 3} | ({"after": after} if after else {})
        part = server.admin.get("/api/v1/users", params=query).json()
        names += [user["name"] for user in part["data"]]
        after = part["last_id"]
        if not part["has_more"]:
            break
    assert len(names) == len(set(names)) == 10
    assert names[:5] == [f"user-{number}" for number in (4, 3, 2, 1, 0)]


def test_what_was_done_is_written_down(server: Server) -> None:
    made = server.admin.post("/api/v1/users", json={"name": "li"}).json()
    entries = server.admin.get("/api/v1/audit", params={"target": made["id"]}).json()["data"]
    assert [entry["action"] for entry in entries] == ["user.create"]
    assert entries[0]["user_id"] == server.users["admin"]
    assert entries[0]["request_id"].startswith("req_")
    assert server.member.get("/api/v1/audit").status_code == 403


@pytest.mark.parametrize("language", ["zh-CN,zh;q=0.9", "en;q=0.2, zh;q=0.8"])
def test_errors_are_chinese_where_that_is_asked_for(server: Server, language: str) -> None:
    headers = {"Accept-Language": language}
    answer = server.member.get("/api/v1/users/user-none", headers=headers)
    assert answer.json()["error"]["message"] == "没有用户 user-none。"


def test_all_errors_of_a_body_come_at_once(server: Server) -> None:
    answer = server.admin.post("/api/v1/users", json={"name": "", "emial": "x", "is_admin": "?"})
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert {each["param"] for each in error["details"]["problems"]} == {"name", "emial", "is_admin"}
    assert error["request_id"] == answer.headers["x-request-id"]
