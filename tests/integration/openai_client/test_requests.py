"""Doubled and refused requests, retries, graders and webhooks by the stock openai client."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import openai
import pytest
from tests.integration.openai_client.live import (
    ADMIN_TOKEN,
    BASE,
    Driver,
    Live,
    cancel,
    cancelled,
    create,
    cutting_proxy,
    live_server,
    wait_for,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_create_whose_answer_was_lost_makes_one_job(live: Live, driver: Driver) -> None:
    """T19: the connection is cut after the commit, and the client sends it again by itself."""
    mark = {"lost": driver.kind}
    with cutting_proxy(live) as (url, cut):
        client = driver.client(url=url)
        job = driver(
            client.fine_tuning.jobs.create(
                model=BASE, training_file=live.made["training"], metadata=mark
            )
        )
    assert cut
    found = driver.all(driver.c.fine_tuning.jobs.list(metadata=mark))
    assert [each.id for each in found] == [job.id]
    cancel(driver, job.id)


def test_a_key_makes_one_job_and_is_refused_with_another_body(live: Live, driver: Driver) -> None:
    """T18 for 409: `x-should-retry: false`, so it is sent once."""
    key = {"Idempotency-Key": f"key-{driver.kind}"}
    first = create(driver, live, extra_headers=key)
    assert create(driver, live, extra_headers=key).id == first.id
    driver.sent.clear()
    with pytest.raises(openai.ConflictError) as reused:
        create(driver, live, extra_headers=key, seed=1)
    assert reused.value.response.headers["x-should-retry"] == "false"
    assert len(driver.sent) == 1
    cancel(driver, first.id)


def test_unknown_ids_of_every_kind_are_not_found(driver: Driver) -> None:
    """T16."""
    c = driver.c
    calls = {
        "job_not_found": lambda: c.fine_tuning.jobs.retrieve("ftjob-none"),
        "file_not_found": lambda: c.files.retrieve("file-none"),
        "model_not_found": lambda: c.models.retrieve("no/such:model"),
        "upload_not_found": lambda: c.uploads.cancel("upload-none"),
        "checkpoint_not_found": lambda: c.models.retrieve("ft:a:b::01234567:ckpt-step-1"),
    }
    for code, call in calls.items():
        with pytest.raises(openai.NotFoundError) as missing:
            driver(call())
        assert missing.value.code == code
        assert missing.value.type == "invalid_request_error"
        assert set(missing.value.body) == {"message", "type", "param", "code"}


def test_a_wrong_key_is_refused(driver: Driver) -> None:
    """T17."""
    with pytest.raises(openai.AuthenticationError) as refused:
        driver(driver.client("tsk-wrong").models.list())
    assert refused.value.type == "authentication_error"


def test_requests_have_an_id_that_the_log_has_too(live: Live, driver: Driver) -> None:
    """T27."""
    job_page = driver(driver.c.fine_tuning.jobs.list(limit=1))
    with pytest.raises(openai.NotFoundError) as missing:
        driver(driver.c.files.retrieve("file-none"))
    assert missing.value.request_id == missing.value.response.headers["x-request-id"]
    wait_for(lambda: job_page._request_id in live.log and missing.value.request_id in live.log)


def test_what_is_not_offered_says_so_once(driver: Driver) -> None:
    """T23."""
    c = driver.c
    calls = (
        lambda: c.embeddings.create(model=BASE, input="x"),
        lambda: c.responses.create(model=BASE, input="x"),
    )
    for call in calls:
        driver.sent.clear()
        with pytest.raises(openai.InternalServerError) as refused:
            driver(call())
        assert (refused.value.status_code, refused.value.code) == (501, "not_offered")
        assert len(driver.sent) == 1


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A second installation, with a low limit of requests and little patience for its database."""
    folder = tmp_path_factory.mktemp("strict")
    with live_server(folder, worker=False, rate_limit=20, database_timeout=0.3) as live:
        yield live


@pytest.fixture(params=["sync", "async"])
def strict_driver(request: pytest.FixtureRequest, strict: Live) -> Iterator[Driver]:
    driver = Driver(request.param, strict)
    yield driver
    driver.close()


def test_the_client_waits_as_long_as_it_is_told(strict: Live, strict_driver: Driver) -> None:
    """T18 for 429 and 503."""
    driver, c = strict_driver, strict_driver.c

    def waited() -> bool:
        """A request made when none was left; on a busy machine one may be free again by then."""
        with strict.native(strict.member_token) as native:
            while native.get("/me").status_code != 429:
                pass
        driver.sent.clear()
        driver.told_to_wait = 0.0
        began = time.monotonic()
        assert driver(c.models.list()).data
        assert time.monotonic() - began >= driver.told_to_wait
        return len(driver.sent) == 2 and driver.told_to_wait > 0

    wait_for(waited)

    busy = strict.log.count(" 503 ")
    with closing(sqlite3.connect(strict.data_dir / "tunesmith.db", check_same_thread=False)) as db:
        db.execute("BEGIN IMMEDIATE")

        def unlock() -> None:
            wait_for(lambda: strict.log.count(" 503 ") > busy)
            db.rollback()

        unlocking = threading.Thread(target=unlock)
        unlocking.start()
        driver.sent.clear()
        began = time.monotonic()
        admin = driver.client(ADMIN_TOKEN)  # whose requests are not used up
        file = driver(admin.files.create(file=("x.txt", b"x"), purpose="user_data"))
        unlocking.join()
    assert file.bytes == 1
    assert len(driver.sent) >= 2
    assert time.monotonic() - began >= driver.told_to_wait > 0


def test_graders_are_run_and_validated(driver: Driver) -> None:
    """T25; each kind of failure has tests of its own (tests/unit/evaluation/graders)."""
    graders = driver.c.fine_tuning.alpha.graders
    same: dict[str, Any] = {
        "type": "string_check",
        "name": "same",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "operation": "eq",
    }
    alike = {**same, "type": "text_similarity", "name": "alike", "evaluation_metric": "rouge_l"}
    del alike["operation"]
    multi = {
        "type": "multi",
        "name": "both",
        "graders": {"same": same, "alike": alike},
        "calculate_output": "0.5 * same + 0.5 * alike",
    }
    program = {"type": "python", "name": "p", "source": "def grade(s, i):\n    return 1"}
    asked = {"type": "score_model", "name": "m", "model": "x", "input": [
        {"role": "user", "content": "?"}]}  # fmt: skip
    row = {"answer": "it is two"}

    def run(grader: Any, sample: str = "it is two") -> Any:
        return driver(graders.run(grader=grader, model_sample=sample, item=row))

    assert run(same).reward == 1
    assert run(alike, "it is").reward == pytest.approx(0.8)
    both = run(multi, "it is")
    assert both.reward == pytest.approx(0.4)
    assert both.sub_rewards == {"same": 0.0, "alike": pytest.approx(0.8)}
    refused = run(program).metadata
    assert refused.errors.python_grader_server_error
    assert refused.errors.python_grader_server_error_type == "python_graders_not_allowed"
    assert run(asked).metadata.errors.api_model_grader_server_error
    wrong = {**multi, "calculate_output": "same +"}
    assert run(wrong).metadata.errors.formula_parse_error
    for grader in (same, alike, program, asked):
        assert driver(graders.validate(grader=grader)).grader.name == grader["name"]
    with pytest.raises(openai.BadRequestError) as faulty:
        driver(graders.validate(grader=wrong))
    assert faulty.value.param == "grader.calculate_output"


@pytest.fixture
def receiver() -> Generator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """An HTTP server that keeps what comes."""
    received: list[tuple[dict[str, str], bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not to the terminal of the tests."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_webhooks_are_signed_as_the_client_checks_them(
    live: Live, driver: Driver, receiver: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    """T26."""
    url, received = receiver
    secret = subscribe(live, url)
    job_id = cancelled(driver, live, None)
    headers, body = wait_for(lambda: next(
        (each for each in received if job_id.encode() in each[1]), None))  # fmt: skip
    hooks = driver.client().with_options(webhook_secret=secret).webhooks
    event = hooks.unwrap(body.decode(), headers)
    assert event.type == "fine_tuning.job.cancelled"
    assert event.data.id == job_id
    assert event.id.startswith("evt_")
    changed = json.dumps({**json.loads(body), "type": "fine_tuning.job.succeeded"})
    with pytest.raises(openai.InvalidWebhookSignatureError):
        hooks.unwrap(changed, headers)
    old = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 301)}
    with pytest.raises(openai.InvalidWebhookSignatureError):
        hooks.unwrap(body.decode(), old)


def subscribe(live: Live, url: str) -> str:
    """A subscription to what happens to jobs; the secret of its webhook."""
    body = {"channel": "webhook", "address": url, "events": ["job.cancelled"]}
    with live.native(live.member_token) as native:
        made = native.post("/subscriptions", json=body)
    assert made.status_code == 201, made.text
    return made.json()["secret"]
