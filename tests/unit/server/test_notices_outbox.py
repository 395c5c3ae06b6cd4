"""Notices are written with what they tell: to whom, and not at all if it did not happen."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.server.subscribers import join, subscribe

from tunesmith.server import claims, clock, states
from tunesmith.server.claims import Result
from tunesmith.server.notices import outbox
from tunesmith.server.notices.outbox import EVENTS, Subject
from tunesmith.server.states import EDGES, Status
from tunesmith.server.tables import Membership, Notice, User


def told(world: Any, subscription: str = "sub-a") -> list[str]:
    notices = [row for row in world.all(Notice) if row.subscription_id == subscription]
    return [row.event for row in sorted(notices, key=lambda row: row.id)]


def test_the_life_of_a_job_is_told(world: Any, result: Result) -> None:
    subscribe(world)
    claimed = world.running("mine")
    claims.succeed(world.database, claimed, result)
    assert sorted(told(world)) == ["job.queued", "job.started", "job.succeeded"]
    last = next(row for row in world.all(Notice) if row.event == "job.succeeded")
    assert (last.job_id, last.state, last.num_tries) == (claimed.job_id, "pending", 0)
    event = last.body["event"]
    assert event["id"].startswith("evt_")
    assert event == {
        "id": event["id"],
        "object": "event",
        "type": "fine_tuning.job.succeeded",
        "created_at": int(world.clock.now.timestamp()),
        "data": {"id": claimed.job_id},
    }
    facts = last.body["facts"]
    assert (facts["name"], facts["model"], facts["step"]) == ("mine", result.name, 1)


def test_a_failure_is_told_with_its_error(world: Any) -> None:
    subscribe(world, events=["job.failed"])
    claims.fail(world.database, world.running(), {"code": "bad_rows", "message": "Row 3 is empty"})
    (notice,) = world.all(Notice)
    assert notice.body["facts"]["error"] == "Row 3 is empty"
    assert notice.body["facts"]["reason"] == "bad_rows"


def test_a_lost_worker_is_told_as_an_interruption(world: Any) -> None:
    subscribe(world, events=["job.requeued"])
    world.running()
    world.wait(60)
    assert told(world) == ["job.requeued"]


def test_pause_and_cancel_are_told(world: Any) -> None:
    subscribe(world)
    claimed = world.running()
    world.jobs.pause(claimed.job_id, "ada")
    claims.paused(world.database, claimed)
    world.jobs.cancel(claimed.job_id, "ada")
    assert sorted(told(world)) == ["job.cancelled", "job.paused", "job.queued", "job.started"]


def test_every_edge_of_the_machine_is_told_or_left_out_on_purpose() -> None:
    silent = {Status.STARTING, Status.PAUSING}
    for before, after in EDGES.items():
        for to in after:
            event = outbox.event_of(before.value, to.value)
            assert (event is None) == (to in silent)
            assert event is None or event in EVENTS


def test_a_transition_that_is_rolled_back_leaves_no_notice(world: Any) -> None:
    subscribe(world)
    job = world.submit()
    before = len(world.all(Notice))

    def cancel_and_fail() -> None:
        with world.database.write() as session:
            moment = clock.read(session)
            held = states.lock(session, job.id)
            states.transition(session, held, Status.CANCELLED, moment)
            assert session.query(Notice).count() == before + 1
            raise RuntimeError("after the transition")

    with pytest.raises(RuntimeError, match="after the transition"):
        cancel_and_fail()
    assert world.job(job.id).status == "queued"
    assert len(world.all(Notice)) == before


def test_only_the_chosen_events_of_the_chosen_job_are_told(world: Any) -> None:
    mine, other = world.submit("mine"), world.submit("other")
    subscribe(world, "sub-job", job_id=mine.id, events=["job.cancelled"])
    subscribe(world, "sub-project", events=["job.cancelled"])
    subscribe(world, "sub-off", disabled_at=world.clock.now)
    subscribe(world, "sub-failed", events=["job.failed"])
    world.add_project("proj-b")
    subscribe(world, "sub-elsewhere", project_id="proj-b")
    for job in (mine, other):
        world.jobs.cancel(job.id, "ada")
    assert told(world, "sub-job") == ["job.cancelled"]
    assert told(world, "sub-project") == ["job.cancelled"] * 2
    for name in ("sub-off", "sub-failed", "sub-elsewhere"):
        assert told(world, name) == []


def test_two_who_are_told_of_one_event_see_the_same_id(world: Any) -> None:
    subscribe(world, "sub-a", events=["job.cancelled"])
    subscribe(world, "sub-b", events=["job.cancelled"])
    world.jobs.cancel(world.submit().id, "ada")
    first, second = world.all(Notice)
    assert first.id != second.id
    assert first.body["event"] == second.body["event"]


def test_who_left_the_project_is_told_nothing_more(world: Any) -> None:
    for user in ("left", "off", "root"):
        world.add_user(user, is_admin=user == "root")
        if user != "root":
            join(world, user)
        subscribe(world, f"sub-{user}", user_id=user, events=["job.cancelled"])
    with world.database.write() as session:
        session.delete(session.get_one(Membership, ("left", world.project)))
        session.get_one(User, "off").disabled_at = world.clock.now
    world.jobs.cancel(world.submit().id, "ada")
    assert [row.subscription_id for row in world.all(Notice)] == ["sub-root"]


def test_a_deployment_is_told_to_its_project_and_to_the_job_it_came_from(world: Any) -> None:
    job, other = world.submit("mine"), world.submit("other")
    subscribe(world, "sub-a", events=["deployment.failed"])
    subscribe(world, "sub-job", job_id=job.id, events=["deployment.failed"])
    subscribe(world, "sub-other", job_id=other.id, events=["deployment.failed"])
    subject = Subject("dep-1", world.project, "chat", job.id, {"reason": "out_of_memory"})
    with world.database.write() as session:
        told_num = outbox.notify_about(session, subject, "deployment.failed", clock.read(session))
    assert told_num == 2
    notices = world.all(Notice)
    assert {notice.subscription_id for notice in notices} == {"sub-a", "sub-job"}
    assert notices[0].body["event"]["type"] == "deployment.failed"
    assert notices[0].body["event"]["data"] == {"id": "dep-1"}
