"""Subscriptions and their log over HTTP, with a web server that is really called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.unit.api.conftest import Server, serving
from tests.unit.server.receivers import Receiver, receiving

from tunesmith.server.settings import Settings

PLACE = "/api/v1/subscriptions"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"allowed_networks": ["127.0.0.0/8"]})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    with serving(settings) as running:
        yield running


def subscribed(server: Server, receiver: Receiver, **changes: Any) -> dict[str, Any]:
    body = {"channel": "webhook", "address": receiver.url("/hook?key=s3cret")} | changes
    made = server.member.post(PLACE, json=body)
    assert made.status_code == 201, made.text
    return made.json()


def refused(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert "s3cret" not in answer.text


def test_the_secret_of_a_webhook_is_shown_once_and_its_address_never(
    server: Server, receiver: Receiver
) -> None:
    made = subscribed(server, receiver)
    assert made["secret"].startswith("whsec_")
    assert made["address"] == f"http://127.0.0.1:{receiver.port}/***"
    assert made["events"] == ["job.succeeded", "job.failed"]
    listed = server.member.get(PLACE)
    one = server.member.get(f"{PLACE}/{made['id']}")
    assert listed.json()["data"] == [one.json()]
    for answer in (listed, one):
        assert made["secret"] not in answer.text
        assert "s3cret" not in answer.text


def test_a_test_calls_the_address_and_the_log_says_what_came_of_it(
    server: Server, receiver: Receiver
) -> None:
    made = subscribed(server, receiver)
    sent = server.member.post(f"{PLACE}/{made['id']}/test")
    assert sent.status_code == 200, sent.text
    assert sent.json()["state"] == "sent"
    assert [one["status_code"] for one in sent.json()["tries"]] == [200]
    [call] = receiver.seen
    verified = openai.OpenAI(api_key="-", webhook_secret=made["secret"]).webhooks
    verified.verify_signature(call.body.decode(), call.headers)
    log = server.member.get("/api/v1/notices", params={"subscription_id": made["id"]})
    assert log.json()["data"] == [sent.json()]
    refused(server.member.post(f"{PLACE}/{made['id']}/test"), 429, "rate_limited")
    assert len(receiver.seen) == 1


def test_a_job_that_ends_is_told_to_its_subscriber(server: Server, receiver: Receiver) -> None:
    recipe = {"data": {"train": [{"dataset": "builtin:shop"}]}, "model": {"base": "starter"}}
    job = server.member.post("/api/v1/jobs", json={"recipe": recipe, "name": "mine"})
    assert job.status_code == 201, job.text
    subscribed(server, receiver, job_id=job.json()["id"], events=["job.cancelled"])
    assert server.member.post(f"/api/v1/jobs/{job.json()['id']}/cancel").status_code == 200
    assert server.platform.notices.deliver() == 1
    [call] = receiver.seen
    told = json.loads(call.body)
    assert told["type"] == "fine_tuning.job.cancelled"
    assert told["data"]["id"] == job.json()["id"]


def test_a_new_secret_replaces_the_old_one_which_signs_for_a_day(
    server: Server, receiver: Receiver
) -> None:
    made = subscribed(server, receiver)
    rotated = server.member.post(f"{PLACE}/{made['id']}/secret").json()
    assert rotated["secret"] not in ("", None, made["secret"])
    server.member.post(f"{PLACE}/{made['id']}/test")
    [call] = receiver.seen
    for secret in (made["secret"], rotated["secret"]):
        client = openai.OpenAI(api_key="-", webhook_secret=secret)
        client.webhooks.verify_signature(call.body.decode(), call.headers)


def test_turned_off_it_sends_nothing_and_turned_on_it_does(
    server: Server, receiver: Receiver
) -> None:
    place = f"{PLACE}/{subscribed(server, receiver)['id']}"
    off = server.member.patch(place, json={"enabled": False}).json()
    assert off["disabled_at"]
    assert off["disabled_reason"] == "user"
    refused(server.member.post(f"{place}/test"), 409, "subscription_disabled")
    on = server.member.patch(place, json={"enabled": True, "events": ["job.paused"]}).json()
    assert on["disabled_at"] is None
    assert on["events"] == ["job.paused"]
    assert server.member.post(f"{place}/test").json()["state"] == "sent"


def test_a_deleted_subscription_is_gone_with_its_log(server: Server, receiver: Receiver) -> None:
    made = subscribed(server, receiver)
    assert server.member.delete(f"{PLACE}/{made['id']}").status_code == 204
    refused(server.member.get(f"{PLACE}/{made['id']}"), 404, "subscription_not_found")
    log = server.member.get("/api/v1/notices", params={"subscription_id": made["id"]})
    refused(log, 404, "subscription_not_found")
    assert server.member.get(PLACE).json()["data"] == []


def test_those_of_others_do_not_exist_and_admins_of_the_project_see_all(
    server: Server, receiver: Receiver
) -> None:
    made = subscribed(server, receiver)
    for who, refusals in (("viewer", (403, 404)), ("foreigner", (404,))):
        client = server.client(who)
        for answer in (
            client.get(f"{PLACE}/{made['id']}"),
            client.delete(f"{PLACE}/{made['id']}"),
            client.post(f"{PLACE}/{made['id']}/secret"),
            client.get("/api/v1/notices", params={"subscription_id": made["id"]}),
        ):
            assert answer.status_code in refusals, (who, answer.text)
    shown = server.client("manager").get(PLACE, params={"project_id": server.project})
    assert [one["id"] for one in shown.json()["data"]] == [made["id"]]


def test_lists_come_in_pages(server: Server, receiver: Receiver) -> None:
    made = [subscribed(server, receiver)["id"] for _ in range(3)]
    first = server.member.get(PLACE, params={"limit": 2}).json()
    rest = server.member.get(PLACE, params={"limit": 2, "after": first["last_id"]}).json()
    assert [one["id"] for one in [*first["data"], *rest["data"]]] == made[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"channel": "pigeon", "address": "s3cret"}, 400, "unknown_channel"),
        ({"channel": "mail", "address": "a@example.com"}, 409, "channel_not_set_up"),
        ({"channel": "webhook", "address": "http://10.1.2.3/s3cret"}, 400, "address_not_allowed"),
        ({"channel": "slack", "address": "https://evil.example/s3cret"}, 400, "bad_notice_address"),
        ({"channel": "webhook", "address": "http://127.0.0.1:9000/", "events": ["x"]}, 400,
         "unknown_event"),
        ({"channel": "webhook", "address": "http://127.0.0.1:9000/", "events": []}, 422,
         "invalid_body"),
        ({"channel": "webhook", "address": "http://127.0.0.1:9000/", "language": "de"}, 400,
         "unknown_language"),
        ({"channel": "webhook", "address": "http://127.0.0.1:9000/", "job_id": "ftjob-none"}, 404,
         "job_not_found"),
        ({"channel": "webhook"}, 422, "invalid_body"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused(
    server: Server, body: dict[str, Any], status: int, code: str
) -> None:
    refused(server.member.post(PLACE, json=body), status, code)
    assert server.member.get(PLACE).json()["data"] == []


def test_a_viewer_subscribes_to_nothing(server: Server, receiver: Receiver) -> None:
    body = {"channel": "webhook", "address": receiver.url()}
    assert server.viewer.post(PLACE, json=body).status_code in (403, 404)
