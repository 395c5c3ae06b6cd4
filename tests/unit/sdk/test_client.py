"""The client against a server: what it sends, what it gives, how it complains."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.unit.sdk.living import ADMIN_TOKEN, Live

from tunesmith.errors import InputError
from tunesmith.sdk import ApiError, Client, NotReachable
from tunesmith.sdk import login as logins
from tunesmith.sdk.connection import checked_address
from tunesmith.sdk.login import Login, sign_in, store

pytestmark = pytest.mark.slow
BODY: dict[str, Any] = {"base": "starter", "datasets": ["builtin:shop"]}


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of its own, and nothing in the environment."""
    for name in ("TUNESMITH_URL", "TUNESMITH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "tunesmith" / "login.json"


def test_a_dataset_is_sent_looked_at_edited_and_taken_back(
    client: Client, rows: Path, tmp_path: Path
) -> None:
    made = client.datasets.upload("sums", rows, description="Small sums", tags=["maths"])
    assert made.newest is not None
    assert (made.newest.number, made.newest.rows, made.description) == (1, 9, "Small sums")
    assert client.datasets.get("sums") == client.datasets.get(made.id) == made
    page = client.datasets.rows("sums", 1, search="8 plus 8")
    assert [row["id"] for row in page.data] == [9]
    edited = client.datasets.edit("sums", {"operation": "remove", "rows": [9]}, base=1)
    assert edited.version is not None
    assert (edited.version.number, edited.version.rows) == (2, 8)
    assert client.datasets.newest("sums") == 2
    assert client.datasets.export("sums", 1, tmp_path / "back.jsonl") > 0
    back = [json.loads(line) for line in (tmp_path / "back.jsonl").read_text().splitlines()]
    assert len(back) == 9
    assert client.datasets.add("sums", rows, append=False) == 3
    assert client.datasets.check("sums", 3)["rows_read"] == 9
    shown = client.datasets.preview("sums", 1, 1)
    assert any(token.supervised for token in shown.rows[0].tokens)
    assert client.datasets.statistics("sums", 1)["rows_read"] == 9
    last = client.datasets.rows("sums", 3).data[-1]["id"]
    removal = {"operation": "remove", "where": f"id == {last}"}
    looked = client.datasets.edit("sums", removal, preview=True)
    assert looked.version is None
    assert (looked.diff or {})["counts"]["removed"] == 1
    scored = client.datasets.edit("sums", {"operation": "score"})
    assert (scored.details or {})["version"] == "sums@4"
    assert client.datasets.diff("sums", 1, 2)["counts"]["removed"] == 1
    assert client.datasets.near("sums", 1).rows == 9
    assert client.datasets.splits("sums", 1, test={"fraction": 0.2}).test.rows == 2
    assert client.datasets.verify("sums", 1) == 1
    assert client.datasets.rejected("sums", 1).total == 0
    assert client.datasets.report("sums", 1)["rows_read"] == 9
    client.datasets.delete_version("sums", 2)
    client.datasets.delete("sums")
    assert client.datasets.find("sums") is None
    with pytest.raises(InputError, match="no dataset sums"):
        client.datasets.get("sums")


def test_a_job_is_queued_moved_changed_and_cancelled(client: Client) -> None:
    first = client.jobs.create(**BODY, name="first", labels={"team": "desk"})
    second = client.jobs.create(**BODY, name="second")
    assert (first.status, first.is_new) == ("queued", True)
    client.jobs.reorder(second.id, first.id)
    assert client.jobs.get(second.id).position < client.jobs.get(first.id).position
    assert client.jobs.update(first.id, name="renamed").name == "renamed"
    assert [job.id for job in client.jobs.list(label="team=desk")] == [first.id]
    clone = client.jobs.clone(first.id, {"training.epochs": 2}, name="clone")
    assert client.jobs.recipe(clone.id).recipe["training"]["epochs"] == 2
    for job in (first, second, clone):
        assert client.jobs.cancel(job.id).status == "cancelled"
    again = client.jobs.retry(first.id)
    assert again.parent_id == first.id
    done = client.jobs.bulk("cancel", [again.id, first.id])
    assert [one.ok for one in done.data] == [True, False]
    client.jobs.delete(first.id)
    with pytest.raises(ApiError) as error:
        client.jobs.get(first.id)
    assert (error.value.code, error.value.status, error.value.exit_code) == (
        "job_not_found",
        404,
        2,
    )
    assert error.value.request_id


def test_the_events_of_a_job_that_ended_come_to_an_end(client: Client) -> None:
    job = client.jobs.create(**BODY)
    client.jobs.cancel(job.id)
    events = list(client.jobs.follow(job.id))
    assert events == list(client.jobs.events(job.id))
    assert events[-1].data["to"] == "cancelled"
    assert list(client.jobs.follow(job.id, after=1)) == events[1:]
    assert list(client.jobs.follow(job.id, after=len(events))) == []


def test_lists_are_whole_however_small_their_pages(client: Client) -> None:
    made = [client.jobs.create(**BODY, name="paged").id for _ in range(5)]
    assert [job.id for job in client.jobs.list(text="paged", limit=2)] == made[::-1]
    behind = client.jobs.list(text="paged", after=made[3], limit=2)
    assert [job.id for job in behind] == made[2::-1]


def test_an_estimate_submits_nothing(client: Client) -> None:
    before = len(list(client.jobs.list()))
    assert client.jobs.estimate(**BODY).estimate.tokens > 0
    assert len(list(client.jobs.list())) == before


def test_all_problems_of_a_recipe_come_at_once(client: Client) -> None:
    recipe = {"training": {"epochs": -1, "learning_rate": 7}}
    with pytest.raises(ApiError) as error:
        client.jobs.create(**BODY, recipe=recipe)
    assert error.value.code == "invalid_recipe"
    assert {"training.epochs", "training.learning_rate"} <= {
        problem["field"] for problem in error.value.details["problems"]
    }


def test_people_projects_and_tokens(client: Client, live: Live) -> None:
    user = client.users.create("li.na", password="a long enough password", project_ids=[])
    project = client.projects.create("desk")
    client.projects.set_member(project.id, user.id, "viewer")
    assert [(one.name, one.role) for one in client.projects.members(project.id)
            if one.user_id == user.id] == [("li.na", "viewer")]  # fmt: skip
    login = sign_in(live.url, "li.na", "a long enough password")
    with Client(login.url, login.token) as other:
        assert other.me().roles == {project.id: "viewer"}
        with pytest.raises(ApiError) as error:
            other.jobs.create(**BODY)
        assert error.value.status == 403
        assert [token.id for token in other.tokens.list()] == [login.token_id]
        other.tokens.revoke(login.token_id)
        with pytest.raises(ApiError, match="revoked") as revoked:
            other.me()
        assert revoked.value.status == 401
    client.projects.remove_member(project.id, user.id)
    assert client.users.update(user.id, disabled=True).disabled_at is not None


def test_a_wrong_password_signs_nobody_in(live: Live) -> None:
    with pytest.raises(ApiError) as error:
        sign_in(live.url, "admin", "wrong")
    assert error.value.code == "wrong_password"


def test_notices_are_subscribed_to(client: Client) -> None:
    made = client.notices.subscribe("webhook", "https://1.1.1.1/hook", language="zh")
    assert made.secret is not None
    assert client.notices.get(made.id).language == "zh"
    assert client.notices.rotate_secret(made.id).secret not in (None, made.secret)
    assert client.notices.update(made.id, enabled=False).disabled_at is not None
    assert [one.id for one in client.notices.list()] == [made.id]
    assert list(client.notices.sent(made.id)) == []
    client.notices.delete(made.id)
    assert list(client.notices.list()) == []


def test_a_token_goes_only_to_the_address_it_is_stored_with(
    live: Live, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(Login(live.url, ADMIN_TOKEN))
    assert stat.S_IMODE(os.stat(config).st_mode) == 0o600
    with Client() as client:
        assert client.base_url == live.url
        assert client.me().user.name == "admin"
    monkeypatch.setenv("TUNESMITH_URL", "http://elsewhere.example")
    with pytest.raises(InputError) as error:
        Client()
    assert error.value.code == "no_token"
    monkeypatch.setenv("TUNESMITH_TOKEN", "tsk-other")
    assert logins.find() == Login("http://elsewhere.example", "tsk-other")
    assert logins.find(live.url, "tsk-given") == Login(live.url, "tsk-given")


def test_a_token_without_an_address_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    store(Login("http://stored.example", "tsk-stored"))
    monkeypatch.setenv("TUNESMITH_TOKEN", "tsk-of-another-server")
    with pytest.raises(InputError) as error:
        Client()
    assert error.value.code == "no_address"
    assert "TUNESMITH_URL" in (error.value.hint or "")


def test_a_damaged_login_counts_as_none(config: Path) -> None:
    store(Login("http://127.0.0.1:8400", "tsk-x"))
    config.write_text("{")
    assert logins.read() is None
    assert logins.forget() is True
    assert logins.forget() is False


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:8400", "ftp://host", "http://", "ht tp://x", "http://[::1"]
)
def test_what_is_no_address_is_refused_before_anything_is_sent(address: str) -> None:
    with pytest.raises(InputError) as error:
        checked_address(address)
    assert error.value.code == "bad_address"


@pytest.mark.parametrize("token", ["tsk with spaces", "tsk-中文", "tsk-\nline"])
def test_a_token_that_no_header_takes_is_refused(token: str) -> None:
    with pytest.raises(InputError) as error:
        Client("http://127.0.0.1:1", token)
    assert error.value.code == "bad_token"


def test_nobody_there_is_told_in_words() -> None:
    with (
        Client("http://127.0.0.1:1", "tsk-x", retries=0) as client,
        pytest.raises(NotReachable) as error,
    ):
        client.me()
    assert "tunesmith serve" in error.value.hint


def test_an_answer_of_another_program_is_told_in_words() -> None:
    import threading
    from http.server import HTTPServer, SimpleHTTPRequestHandler

    class Page(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with (
            Client(f"http://127.0.0.1:{server.server_port}", "tsk-x") as client,
            pytest.raises(ApiError) as error,
        ):
            client.me()
    finally:
        server.shutdown()
        server.server_close()
    assert error.value.code == "strange_answer"
    assert "tunesmith server" in error.value.hint
