"""A job that is begun again, or goes on, is checked and priced as of today. E6."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update
from tests.unit.api.conftest import Server, serving
from tests.unit.api.openai.making import create
from tests.unit.api.training import JOB, started, steps, submit, worker

from tunesmith.server import claims
from tunesmith.server.settings import FlavourSetting, Settings
from tunesmith.server.tables import Device, Job, User, Worker

JOBS = "/api/v1/jobs"


def priced(settings: Settings, cents: int) -> Settings:
    flavour = FlavourSetting(name="one-h200", device="h200", devices=1, price=cents)
    return settings.model_copy(update={"flavours": [flavour]})


def set_credit(server: Server, cents: int) -> None:
    with server.platform.database.write() as session:
        session.execute(
            update(User).where(User.id == server.users["member"]).values(credit_cents=cents)
        )


def remember_price(server: Server, job: str, cents: float) -> None:
    """The row as an order of last month left it."""
    with server.platform.database.write() as session:
        session.execute(update(Job).where(Job.id == job).values(price_cents_per_hour=cents))


@pytest.mark.parametrize("action", ["retry", "clone"])
def test_a_job_that_is_begun_again_has_the_price_of_today(settings: Settings, action: str) -> None:
    with serving(priced(settings, 500)) as server:
        worker(server)
        set_credit(server, 1_000_000)
        job = submit(server)["id"]
        server.member.post(f"{JOBS}/{job}/cancel")
        remember_price(server, job, 1)
        path, body = f"{JOBS}/{job}/{action}", {} if action == "clone" else None
        made = server.member.post(path, json=body)
        assert made.status_code == 201, made.text
        assert made.json()["price_cents_per_hour"] == 500
        assert (made.json()["flavour"], made.json()["parent_id"]) == ("one-h200", job)
        for credit in (-1, 0):
            set_credit(server, credit)
            refused = server.member.post(path, json=body)
            error = refused.json()["error"]
            assert (refused.status_code, error["code"]) == (403, "insufficient_credit")
            assert error["details"]["price_cents_per_hour"] == 500


def test_a_retry_needs_credit_for_all_of_it(settings: Settings) -> None:
    """Not only an account without arrears."""
    with serving(priced(settings, 360_000)) as server:
        worker(server)
        set_credit(server, 1_000_000)
        job = submit(server)["id"]
        server.member.post(f"{JOBS}/{job}/cancel")
        set_credit(server, 1)
        error = server.member.post(f"{JOBS}/{job}/retry").json()["error"]
        assert error["code"] == "insufficient_credit"
        assert error["details"]["price_cents"] > 1
        bulk = {"action": "retry", "job_ids": [job]}
        done = server.member.post(f"{JOBS}/bulk", json=bulk).json()["data"][0]
        assert done["error"]["code"] == "insufficient_credit"


def test_a_job_of_v1_is_priced_once_its_rows_are_known(settings: Settings) -> None:
    with serving(priced(settings, 360_000)) as server:
        worker(server)
        set_credit(server, 1)
        job = create(server)
        assert job["status"] == "validating_files"
        server.finish_tasks()
        ended = server.member.get(f"/v1/fine_tuning/jobs/{job['id']}").json()
        assert ended["status"] == "failed"
        assert "is expected to cost" in ended["error"]["message"]
        assert "its files are kept" in ended["error"]["message"]
        set_credit(server, -1)
        refused = server.member.post("/v1/fine_tuning/jobs", json=body_of(job))
        assert "this job costs 3600.00 an hour" in refused.json()["error"]["message"]


def body_of(job: dict[str, Any]) -> dict[str, Any]:
    return {"model": job["model"], "training_file": job["training_file"], "suffix": "other"}


def paused(server: Server, **changes: Any) -> str:
    job = submit(server, **changes)["id"]
    devices = changes.get("num_devices", 1)
    claimed = started(server, job, num_devices=devices)
    steps(server, claimed, [50])  # of 100
    assert server.member.post(f"{JOBS}/{job}/pause").status_code == 200
    claims.paused(server.platform.database, claimed)
    return job


def test_a_job_that_goes_on_has_the_price_of_today_for_what_is_left(settings: Settings) -> None:
    with serving(priced(settings, 360_000)) as server:
        worker(server)
        set_credit(server, 1_000_000)
        told = server.member.post(f"{JOBS}/estimate", json=JOB).json()
        whole = told["estimate"]["price_cents"]
        job = paused(server)
        remember_price(server, job, 1)
        set_credit(server, 1)
        refused = server.member.post(f"{JOBS}/{job}/resume")
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (403, "insufficient_credit")
        assert error["details"]["price_cents"] == pytest.approx(whole / 2, abs=2)
        assert "stays paused" in error["message"]
        assert server.member.get(f"{JOBS}/{job}").json()["status"] == "paused"
        set_credit(server, whole)  # twice what is left
        resumed = server.member.post(f"{JOBS}/{job}/resume").json()
        assert (resumed["status"], resumed["price_cents_per_hour"]) == ("queued", 360_000)


def test_a_job_goes_on_while_its_worker_is_away(settings: Settings) -> None:
    with serving(priced(settings, 500)) as server:
        worker(server)
        set_credit(server, 1_000_000)
        job = paused(server)
        with server.platform.database.write() as session:
            session.execute(update(Worker).values(lease_until=0.0))
        resumed = server.member.post(f"{JOBS}/{job}/resume")
        assert resumed.status_code == 200, resumed.text


@pytest.mark.parametrize("action", ["resume", "retry"])
def test_devices_that_no_worker_has_any_more_are_refused(server: Server, action: str) -> None:
    worker(server, num_devices=4)
    job = paused(server, num_devices=4)
    if action == "retry":
        server.member.post(f"{JOBS}/{job}/cancel")
    with server.platform.database.write() as session:
        session.query(Device).filter(Device.index > 1).delete()
    refused = server.member.post(f"{JOBS}/{job}/{action}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "too_many_devices")
    resized = server.member.post(f"{JOBS}/{job}/resume", json={"num_devices": 2})
    assert resized.status_code == (200 if action == "resume" else 409)


def test_a_retry_keeps_what_the_job_was_ordered_with(server: Server) -> None:
    worker(server, num_devices=2)
    labels = {"team": "a"}
    job = submit(server, num_devices=2, labels=labels, description="d", priority=3)["id"]
    assert server.member.post(f"{JOBS}/{job}/retry").json()["error"]["code"] == "not_finished"
    server.member.post(f"{JOBS}/{job}/cancel")
    key = {"Idempotency-Key": "again"}
    first = server.member.post(f"{JOBS}/{job}/retry", headers=key).json()
    second = server.member.post(f"{JOBS}/{job}/retry", headers=key).json()
    assert (first["id"], second["is_new"]) == (second["id"], False)
    kept = ("name", "labels", "description", "priority", "num_devices", "base")
    old = server.member.get(f"{JOBS}/{job}").json()
    assert {name: first[name] for name in kept} == {name: old[name] for name in kept}
    new = server.member.get(f"{JOBS}/{first['id']}").json()
    assert new["datasets"] == old["datasets"]


def held(server: Server) -> int:
    return server.member.get("/api/v1/me/usage").json()["held_cents"]


def test_two_jobs_that_together_cost_more_than_the_credit_are_not_both_accepted(
    settings: Settings,
) -> None:
    with serving(priced(settings, 360_000)) as server:
        worker(server)
        set_credit(server, 1_000_000)
        price = server.member.post(f"{JOBS}/estimate", json=JOB).json()["estimate"]["price_cents"]
        set_credit(server, price * 3 // 2)
        first = submit(server)["id"]
        assert held(server) == price
        told = server.member.post(f"{JOBS}/estimate", json=JOB).json()
        assert (told["affordable"], told["held_cents"]) == (False, price)
        refused = server.member.post(JOBS, json=JOB)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (403, "insufficient_credit")
        assert error["details"]["held_cents"] == price
        assert "is held for other jobs" in error["message"]
        server.member.post(f"{JOBS}/{first}/cancel")
        assert held(server) == 0
        assert submit(server)["status"] == "queued"


def test_a_paused_job_holds_nothing_and_holds_what_is_left_when_it_goes_on(
    settings: Settings,
) -> None:
    with serving(priced(settings, 360_000)) as server:
        worker(server)
        set_credit(server, 1_000_000)
        whole = server.member.post(f"{JOBS}/estimate", json=JOB).json()["estimate"]["price_cents"]
        job = paused(server)
        assert held(server) == 0
        server.member.post(f"{JOBS}/{job}/resume")
        assert held(server) == pytest.approx(whole / 2, abs=2)


def test_a_job_of_v1_holds_its_price_once_its_rows_are_known(settings: Settings) -> None:
    with serving(priced(settings, 360_000)) as server:
        worker(server)
        set_credit(server, 1_000_000)
        first = create(server)
        assert held(server) == 0
        server.finish_tasks()
        price = held(server)
        assert price > 0
        set_credit(server, price + 1)
        second = server.member.post("/v1/fine_tuning/jobs", json=body_of(first)).json()
        server.finish_tasks()
        ended = server.member.get(f"/v1/fine_tuning/jobs/{second['id']}").json()
        assert (ended["status"], held(server)) == ("failed", price)
        assert "is held for other jobs" in ended["error"]["message"]
