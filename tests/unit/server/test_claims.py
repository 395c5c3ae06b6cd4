"""A worker gets a job, keeps it, ends it; and what happens when it falls silent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from tunesmith.server import claims, ids, journal, workers
from tunesmith.server.claims import Claim
from tunesmith.server.errors import EventsMissing, NotFound, StaleAttempt
from tunesmith.server.quotas import Limits
from tunesmith.server.states import MAX_TRIES
from tunesmith.server.tables import Attempt, Checkpoint, Device, Model
from tunesmith.server.workers import LEASE_SECONDS, DeviceInfo


def claim(world: Any, worker: str, **options: Any) -> Claim:
    claimed = claims.claim(world.database, worker, **options)
    assert claimed is not None
    return claimed


def test_a_claim_takes_devices_and_carries_the_recipe(world: Any) -> None:
    job = world.submit("a", num_devices=2)
    worker = world.worker(num_devices=4)
    claimed = claim(world, worker)
    assert (claimed.job_id, claimed.attempt, claimed.devices) == (job.id, 1, (0, 1))
    assert claimed.recipe == {"name": "a"}
    held = {device.index for device in world.all(Device) if device.job_id == job.id}
    assert held == {0, 1}
    assert claims.held(world.database, worker) == [claimed]


def test_a_job_is_claimed_once(world: Any) -> None:
    world.submit()
    claim(world, world.worker("a"))
    assert claims.claim(world.database, world.worker("b")) is None


def test_devices_that_the_worker_sees_busy_are_left_alone(world: Any) -> None:
    world.submit()
    worker = world.worker(num_devices=3)
    assert claims.claim(world.database, worker, free=[]) is None
    assert claim(world, worker, free=[2, 7]).devices == (2,)


def test_a_device_that_vanished_is_not_given_out(world: Any) -> None:
    world.submit("a")
    world.submit("b")
    worker = world.worker(num_devices=2)
    workers.register(world.database, "gpu-1", [DeviceInfo(1)])
    assert claim(world, worker).devices == (1,)
    assert claims.claim(world.database, worker) is None
    workers.register(world.database, "gpu-1", [DeviceInfo(0), DeviceInfo(1)])
    assert claim(world, worker).devices == (0,)


def test_a_worker_that_drains_gets_nothing_until_it_registers_again(world: Any) -> None:
    world.submit()
    worker = world.worker()
    workers.drain(world.database, worker)
    assert claims.claim(world.database, worker) is None
    assert world.worker() == worker
    claim(world, worker)


def test_an_unknown_worker_is_told_so(world: Any) -> None:
    with pytest.raises(NotFound, match="wk-none"):
        claims.claim(world.database, "wk-none")


def test_the_limit_of_running_jobs_of_a_user_holds_over_workers(world: Any) -> None:
    for name in "abc":
        world.submit(name)
    limits = Limits(running_jobs=2)
    taken = [claims.claim(world.database, world.worker(name), limits=limits) for name in "xyz"]
    assert [claimed is not None for claimed in taken] == [True, True, False]


def test_success_registers_the_model_with_its_lineage_once(world: Any, result: Any) -> None:
    claimed = world.running()
    model = claims.succeed(world.database, claimed, result, trained_tokens=7)
    assert claims.succeed(world.database, claimed, result) == model  # the reply was lost
    (row,) = world.all(Model)
    assert (row.name, row.base, row.job_id, row.recipe) == (
        result.name,
        "starter",
        claimed.job_id,
        {"name": "job"},
    )
    job = world.job(claimed.job_id)
    assert (job.status, job.trained_tokens, job.worker_id) == ("succeeded", 7, None)
    assert all(device.job_id is None for device in world.all(Device))
    last = world.jobs.events(job.id)[-2:]
    assert [event.message for event in last] == [
        f"New fine-tuned model created: {result.name}",
        "The job has successfully completed",
    ]


def test_the_database_refuses_a_second_result_of_a_job(world: Any, result: Any) -> None:
    claimed = world.running()
    claims.succeed(world.database, claimed, result)
    second = Model(
        id="m",
        name="other",
        kind="adapter",
        source="job",
        base="b",
        job_id=claimed.job_id,
        created_at=world.clock.now,
    )
    with pytest.raises(IntegrityError), world.database.write() as session:
        session.add(second)


def test_a_lost_worker_loses_the_job_and_its_late_writes_are_refused(
    world: Any, result: Any, one_step: Any
) -> None:
    old = world.running()
    (change,) = world.wait(LEASE_SECONDS + 6)
    assert (change.job_id, change.status, change.reason) == (old.job_id, "queued", "worker_lost")
    assert "Worker gpu-1 lost 3" in world.jobs.events(old.job_id)[-1].message
    assert world.jobs.events(old.job_id)[-1].message.endswith("job requeued")
    new = claim(world, world.worker("gpu-2"))
    assert (new.job_id, new.attempt) == (old.job_id, 2)
    writes = [
        lambda: claims.started(world.database, old),
        lambda: claims.record(world.database, old, [one_step(1, 2)]),
        lambda: claims.add_checkpoint(world.database, old, 5),
        lambda: claims.succeed(world.database, old, result),
        lambda: claims.fail(world.database, old, {"code": "x"}),
        lambda: claims.paused(world.database, old),
        lambda: claims.confirm_cancel(world.database, old),
        lambda: claims.release(world.database, old),
    ]
    before = world.jobs.events(old.job_id)
    for write in writes:
        with pytest.raises(StaleAttempt, match="Attempt 1"):
            write()
    assert world.jobs.events(old.job_id) == before
    (order,) = claims.renew(world.database, old.worker_id, [old])
    assert order.intent == "abandon"
    claims.started(world.database, new)
    claims.succeed(world.database, new, result)
    assert len(world.all(Model)) == 1


def test_heartbeats_keep_a_job_that_says_something_now_and_then(world: Any, one_step: Any) -> None:
    claimed = world.running()
    for seq in range(2, 5):
        assert world.wait(700, keep=[claimed]) == []
        claims.record(world.database, claimed, [one_step(1, seq)])
    assert world.job(claimed.job_id).status == "running"


def test_a_job_that_says_nothing_is_given_up_though_its_worker_lives(world: Any) -> None:
    claimed = world.running()
    changes = world.wait(1810, keep=[claimed])
    assert [(change.status, change.reason) for change in changes] == [("queued", "silent")]
    assert "No progress for 18" in world.jobs.events(claimed.job_id)[-1].message


def test_a_start_may_be_silent_for_three_minutes(world: Any) -> None:
    world.submit()
    claimed = claim(world, world.worker())
    assert world.wait(175, keep=[claimed]) == []
    assert [change.reason for change in world.wait(15, keep=[claimed])] == ["silent"]


def test_waiting_jobs_wait_for_ever(world: Any) -> None:
    claimed = world.running()
    world.jobs.pause(claimed.job_id, "me")
    claims.paused(world.database, claimed)
    queued = world.submit("b")
    assert world.wait(1900) == []  # more than the longest silence of any other status
    assert world.job(claimed.job_id).status == "paused"
    assert world.job(queued.id).status == "queued"


def test_a_check_of_files_that_falls_silent_fails_the_job(world: Any) -> None:
    job = world.submit(needs_validation=True)
    changes = world.wait(1810)
    assert [(change.job_id, change.status) for change in changes] == [(job.id, "failed")]


def test_after_three_lost_attempts_the_job_fails_and_says_why(world: Any) -> None:
    job = world.submit()
    for _ in range(MAX_TRIES):
        claim(world, world.worker())
        changes = world.wait(LEASE_SECONDS + 6)
    assert [(change.status, change.reason) for change in changes] == [
        ("failed", "attempts_used_up")
    ]
    job = world.job(job.id)
    assert job.attempt == MAX_TRIES
    assert job.error["code"] == "server_error"
    assert "gave up after 3 attempts" in job.error["message"]
    assert [attempt.outcome for attempt in world.all(Attempt)] == ["queued", "queued", "failed"]
    assert world.all(Device)[0].job_id is None


def test_a_cancelled_job_of_a_lost_worker_is_cancelled_not_queued(world: Any) -> None:
    claimed = world.running()
    world.jobs.cancel(claimed.job_id, "me")
    assert [change.status for change in world.wait(LEASE_SECONDS + 6)] == ["cancelled"]


def test_a_pause_outlives_the_loss_of_the_worker(world: Any) -> None:
    old = world.running()
    world.jobs.pause(old.job_id, "me")
    assert [change.status for change in world.wait(LEASE_SECONDS + 6)] == ["queued"]
    new = claim(world, world.worker())
    claims.started(world.database, new)
    assert world.job(new.job_id).status == "pausing"
    assert claims.renew(world.database, new.worker_id, [new])[0].intent == "pause"


def test_a_worker_that_stops_gives_the_job_back_without_using_up_a_try(world: Any) -> None:
    world.submit()
    for number in range(1, 6):
        claimed = claim(world, world.worker())
        assert claimed.attempt == number
        claims.started(world.database, claimed)
        claims.release(world.database, claimed)
    assert world.job(claimed.job_id).tries == 0


def test_a_restarted_worker_adopts_its_claims(world: Any, one_step: Any) -> None:
    claimed = world.running()
    claims.record(world.database, claimed, [one_step(1, 2)], span=(0, 77))
    assert world.worker() == claimed.worker_id  # registers again under its name
    (adopted,) = claims.held(world.database, claimed.worker_id)
    assert adopted == claimed
    assert adopted.offset == 77
    claims.record(world.database, adopted, [one_step(1, 3)])


@pytest.mark.parametrize("jump", [timedelta(days=1), -timedelta(days=1), timedelta(days=400)])
def test_a_clock_that_jumps_ends_no_lease(world: Any, jump: timedelta) -> None:
    claimed = world.running()
    world.clock.now += jump
    assert world.wait(20) == []
    claims.renew(world.database, claimed.worker_id, [claimed])
    assert world.wait(20) == []
    assert [change.reason for change in world.wait(30)] == [
        "worker_lost"
    ]  # and a real loss is seen


def test_a_clock_that_goes_back_by_a_day_makes_no_time_negative(
    world: Any, one_step: Any, result: Any
) -> None:
    """FAULTS 14: what people see of a job that runs meanwhile."""
    claimed = world.running()
    begun = world.clock.now
    world.clock.now -= timedelta(days=1)
    world.wait(10, keep=[claimed])
    claims.record(world.database, claimed, [one_step(claimed.attempt, 2, eta_seconds=30.0)])
    claims.succeed(world.database, claimed, result)
    job = world.job(claimed.job_id)
    assert job.created_at <= job.started_at <= job.finished_at == begun
    (attempt,) = world.all(Attempt)
    assert 0 <= attempt.device_seconds < 60
    assert attempt.charged_cents >= 0
    with world.database.read() as session:
        events = journal.after(session, job.id, 0, 100)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert events[-1].data["to"] == "succeeded"


def test_events_are_shipped_once_in_order_and_numbered_without_a_gap(
    world: Any, one_step: Any
) -> None:
    claimed = world.running()
    batch = [
        one_step(1, 2),
        {"attempt": 1, "seq": 3, "type": "warning", "code": "c", "message": "careful \x00 now"},
        one_step(1, 4, loss=None),
    ]
    assert claims.record(world.database, claimed, batch) == 3
    assert claims.record(world.database, claimed, batch) == 0
    assert claims.record(world.database, claimed, [*batch[1:], one_step(1, 5)]) == 1
    with pytest.raises(EventsMissing) as found:
        claims.record(world.database, claimed, [one_step(1, 7)])
    assert found.value.details == {"attempt": 1, "seq": 5, "offset": 0}
    with pytest.raises(EventsMissing):
        claims.record(world.database, claimed, [one_step(2, 2)])
    claims.record(world.database, claimed, [one_step(2, 1)])
    events = world.jobs.events(claimed.job_id, limit=1000)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    shipped = [(event.attempt, event.seq) for event in events if event.seq]
    assert shipped == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 1)]
    warning = next(event for event in events if event.type == "warning")
    assert (warning.level, warning.message) == ("warn", "careful \N{REPLACEMENT CHARACTER} now")
    assert world.job(claimed.job_id).step == 1


def test_a_reader_goes_on_after_the_last_number_it_saw(world: Any, one_step: Any) -> None:
    claimed = world.running()
    claims.record(world.database, claimed, [one_step(1, seq) for seq in range(2, 30)])
    seen: list[int] = []
    while True:
        found = world.jobs.events(claimed.job_id, after=seen[-1] if seen else 0, limit=7)
        if not found:
            break
        seen += [event.number for event in found]
    assert seen == list(range(1, world.job(claimed.job_id).event_count + 1))


def test_a_batch_that_is_refused_leaves_nothing(world: Any, one_step: Any) -> None:
    claimed = world.running()
    before = world.jobs.events(claimed.job_id)
    with pytest.raises(EventsMissing):
        claims.record(world.database, claimed, [one_step(1, 2), one_step(1, 4)], span=(0, 9))
    assert world.jobs.events(claimed.job_id) == before
    assert claims.held(world.database, claimed.worker_id)[0].offset == 0


def test_the_end_of_an_earlier_attempt_cannot_be_left_out(world: Any, one_step: Any) -> None:
    """(1, 2) was not shipped when attempt 2 begins: only the bytes of the file show it."""
    claimed = world.running()
    claims.record(world.database, claimed, [], span=(0, 100))
    with pytest.raises(EventsMissing, match="bytes 100 to 200"):
        claims.record(world.database, claimed, [one_step(2, 1)], span=(200, 300))
    claims.record(world.database, claimed, [one_step(1, 2), one_step(2, 1)], span=(100, 300))


def test_a_checkpoint_is_indexed_once_a_step(world: Any) -> None:
    claimed = world.running()
    first = claims.add_checkpoint(world.database, claimed, 10, num_bytes=5)
    again = claims.add_checkpoint(world.database, claimed, 10, num_bytes=6, metrics={"a": 1})
    assert first == again
    (row,) = world.all(Checkpoint)
    assert (row.bytes, row.metrics) == (6, {"a": 1})


def test_device_seconds_are_counted_for_each_attempt(world: Any) -> None:
    world.submit(num_devices=2)
    claimed = claim(world, world.worker(num_devices=2))
    claims.started(world.database, claimed)
    world.wait(20, keep=[claimed])
    world.clock.now += timedelta(days=3)  # the clock was set: nobody trained for three days
    world.wait(5, keep=[claimed])
    claims.fail(world.database, claimed, {"code": "x", "message": "y"})
    (attempt,) = world.all(Attempt)
    assert 50 <= attempt.device_seconds <= 80


def test_the_ids_of_events_name_their_job_and_place(world: Any) -> None:
    job = world.submit()
    made = [ids.event_id(job.id, event.number) for event in world.jobs.events(job.id)]
    assert made == sorted(set(made))
    assert [ids.event_number(event, job.id) for event in made] == [1, 2]
    assert ids.event_number("ftevent-other-000000001", job.id) is None
    assert ids.event_number(made[0] + "x", job.id) is None
