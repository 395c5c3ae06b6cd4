"""One installation for all tests of the stock client, and one training that several look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import openai
import pytest
from tests.integration.openai_client.live import (
    BASE,
    LONG,
    QUICK,
    Driver,
    Live,
    chats,
    create,
    live_server,
    upload_once,
    wait_for,
)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One installation, with a worker that runs two jobs beside each other."""
    folder = tmp_path_factory.mktemp("live")
    settings = {"rate_limit": 0, "cpu_devices": 2, "allowed_networks": "127.0.0.0/8"}
    with live_server(folder, **settings) as live:
        live.made["training"] = upload_once(live, chats(20))
        live.made["validation"] = upload_once(live, chats(10, start=100))
        yield live


@pytest.fixture(scope="session", params=["sync", "async"])
def driver(request: pytest.FixtureRequest, live: Live) -> Iterator[Driver]:
    driver = Driver(request.param, live)
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def plain_run(live: Live) -> str:
    """A training that nobody interrupts, like those below; begun at once, finished meanwhile."""
    with closing(openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.member_token)) as client:
        return client.fine_tuning.jobs.create(
            model=BASE,
            training_file=live.made["training"],
            validation_file=live.made["validation"],
            seed=7,
            hyperparameters=LONG,
            extra_body=QUICK,
        ).id


@pytest.fixture(scope="session")
def paused_run(driver: Driver, live: Live, plain_run: str) -> tuple[Any, list[str]]:
    """The same training, paused and resumed: the job, and its statuses on the way (T7, T14)."""
    jobs = driver.c.fine_tuning.jobs
    job = create(
        driver,
        live,
        validation_file=live.made["validation"],
        seed=7,
        hyperparameters=LONG,
        suffix=f"paused {driver.kind}",
        metadata={"run": driver.kind},
    )
    assert job.id != plain_run
    assert job.status == "validating_files"
    driver.finished(job.id, "running")
    wait_for(lambda: _has_step(driver, job.id))
    seen = [driver(jobs.pause(job.id)).status]
    seen.append(driver.finished(job.id, "paused").status)
    seen.append(driver(jobs.resume(job.id)).status)
    job = driver.finished(job.id)
    return job, [*seen, job.status]


def _has_step(driver: Driver, job_id: str) -> bool:
    events = driver(driver.c.fine_tuning.jobs.list_events(job_id, limit=20)).data
    return any(event.type == "metrics" and event.data["step"] > 0 for event in events)
