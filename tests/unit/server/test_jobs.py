"""What users ask for: submit, look, pause, resume, stop, cancel, retry, reorder."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from tunesmith.server import claims
from tunesmith.server.errors import (
    Conflict,
    IllegalTransition,
    KeyReused,
    NotFound,
    QuotaExceeded,
)
from tunesmith.server.queue import JobFilter, Submitted, body_hash, refuse_retry
from tunesmith.server.quotas import Limits
from tunesmith.server.states import Status
from tunesmith.server.tables import Dataset, DatasetVersion, File, Job, Model

BODY = Submitted(body_hash({"a": 1, "b": 2}))


def statuses(world: Any, job_id: str) -> list[str]:
    events = world.jobs.events(job_id, limit=1000)
    return [event.data["to"] for event in events if event.type == "status"]


def test_a_submitted_job_waits_in_the_queue(world: Any) -> None:
    job, is_new = world.jobs.create(world.new("first", labels={"team": "a"}), BODY)
    assert is_new
    assert job.id.startswith("ftjob-")
    assert job.status == "queued"
    found = world.jobs.get(job.id)
    assert (found.name, found.labels, found.recipe) == ("first", {"team": "a"}, {"name": "first"})
    assert [event.message for event in world.jobs.events(job.id)] == [
        "Created fine-tuning job",
        "Waits for a worker",
    ]


def test_equal_bodies_have_one_hash_whatever_the_order_of_their_keys() -> None:
    assert BODY.body_sha256 == body_hash({"b": 2, "a": 1}) != body_hash({"b": 2, "a": 2})


def test_a_job_with_files_to_check_waits_for_the_check(world: Any) -> None:
    good, bad = (
        world.submit("good", needs_validation=True),
        world.submit("bad", needs_validation=True),
    )
    assert good.status == "validating_files"
    assert claims.claim(world.database, world.worker()) is None
    assert world.jobs.validated(good.id).status == "queued"
    error = {
        "code": "invalid_n_examples",
        "message": "Training file has 3 example(s), but must have at least 10 examples",
        "param": "training_file",
    }
    failed = world.jobs.refuse(bad.id, error)
    assert (failed.status, failed.error) == ("failed", error)


def test_the_same_key_and_body_is_one_job(world: Any) -> None:
    sent = Submitted(BODY.body_sha256, key="k")
    first, _ = world.jobs.create(world.new(), sent)
    again, is_new = world.jobs.create(world.new(), sent)
    assert (again.id, is_new) == (first.id, False)
    with pytest.raises(KeyReused) as found:
        world.jobs.create(world.new(), Submitted(body_hash("other"), key="k"))
    assert found.value.details["job_id"] == first.id
    other_user = world.add_user("user-b")  # a key belongs to its user
    assert world.jobs.create(world.new(user_id=other_user), sent)[1]


def test_a_request_that_says_it_is_sent_again_finds_the_first_one_for_a_minute(world: Any) -> None:
    first, _ = world.jobs.create(world.new(), BODY)
    again = Submitted(BODY.body_sha256, is_retry=True)
    world.clock.now += timedelta(seconds=59)
    assert world.jobs.create(world.new(), again)[0].id == first.id
    assert world.jobs.create(world.new(), BODY)[1]  # not said: a second job
    world.clock.now += timedelta(seconds=61)
    assert world.jobs.create(world.new(), again)[1]


def test_twenty_requests_at_once_with_one_key_are_one_job(world: Any) -> None:
    sent = Submitted(BODY.body_sha256, key="double click")
    barrier, made = threading.Barrier(8), list[str]()

    def click() -> None:
        barrier.wait()
        made.extend(world.jobs.create(world.new(), sent)[0].id for _ in range(3))

    threads = [threading.Thread(target=click) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 24
    assert len(set(made)) == 1 == len(world.all(Job))


def test_a_retry_that_comes_before_its_original_is_the_same_job(world: Any) -> None:
    early, is_new = world.jobs.create(world.new(), Submitted(BODY.body_sha256, is_retry=True))
    assert is_new
    again = world.jobs.create(world.new(), Submitted(BODY.body_sha256, is_retry=True))
    assert (again[0].id, again[1]) == (early.id, False)
    late, is_new = world.jobs.create(world.new(), BODY)
    assert (late.id, is_new) == (early.id, False)
    assert world.jobs.create(world.new(), BODY)[1]  # the next one is meant: a second job


def test_a_retry_whose_original_never_came_is_forgotten_after_a_minute(world: Any) -> None:
    world.jobs.create(world.new(), Submitted(BODY.body_sha256, is_retry=True))
    world.clock.now += timedelta(seconds=61)
    assert world.jobs.create(world.new(), BODY)[1]


@pytest.mark.parametrize("key", [None, "k"])
def test_a_request_and_its_retries_at_once_are_one_job(world: Any, key: str | None) -> None:
    """Whichever of them is first, in whatever order they are handled."""
    for turn in range(6):
        body, made = body_hash({"turn": turn}), list[str]()
        name = None if key is None else f"{key}{turn}"
        barrier = threading.Barrier(4)

        def send(is_retry: bool, body: str = body, name: str | None = name, made: list[str] = made,
                 barrier: threading.Barrier = barrier) -> None:  # fmt: skip
            barrier.wait()
            made.append(world.jobs.create(world.new(), Submitted(body, name, is_retry))[0].id)

        threads = [threading.Thread(target=send, args=(number > 0,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 4
        assert len(set(made)) == 1
    assert len(world.all(Job)) == 6


def test_unknown_things_are_not_found(world: Any) -> None:
    with pytest.raises(NotFound, match="ftjob-none"):
        world.jobs.get("ftjob-none")
    with pytest.raises(NotFound):
        world.jobs.cancel("ftjob-none", "me")
    with pytest.raises(NotFound, match="nobody"):
        world.submit(user_id="nobody")
    with pytest.raises(NotFound, match="dsv-none"):
        world.submit(datasets=[("dsv-none", "train")])
    assert world.all(Job) == []


def test_a_list_has_every_job_once_newest_first_by_any_page_size(world: Any) -> None:
    made = []
    for number in range(7):
        world.clock.now += timedelta(milliseconds=1)
        made.append(world.submit(f"job {number}").id)
    wanted = JobFilter([world.project])
    for size in (1, 2, 3, 7, 20):
        seen: list[str] = []
        while True:
            page = world.jobs.list(wanted, after=seen[-1] if seen else None, limit=size)
            seen += [job.id for job in page.items]
            if not page.has_more:
                break
        assert seen == made[::-1]


def test_a_job_that_comes_while_pages_are_read_shifts_nothing(world: Any) -> None:
    made = []
    for number in range(4):
        world.clock.now += timedelta(milliseconds=1)
        made.append(world.submit(f"job {number}").id)
    first = world.jobs.list(JobFilter([world.project]), limit=2)
    world.clock.now += timedelta(milliseconds=1)
    world.submit("late")
    rest = world.jobs.list(JobFilter([world.project]), after=first.items[-1].id)
    assert [job.id for job in [*first.items, *rest.items]] == made[::-1]


def test_a_list_can_be_filtered(world: Any) -> None:
    other = world.add_project("proj-b")
    world.submit("Support bot", labels={"team": "a", "k": "1"})
    world.submit("100%_sure", labels={"team": "b"})
    world.submit("foreign", project_id=other)
    done = world.submit("plain")
    world.jobs.cancel(done.id, "me")

    def found(**changes: Any) -> set[str]:
        wanted = JobFilter(**({"project_ids": [world.project]} | changes))
        return {job.name for job in world.jobs.list(wanted).items}

    assert found() == {"Support bot", "100%_sure", "plain"}
    assert found(project_ids=[]) == set()
    assert found(project_ids=[other]) == {"foreign"}
    assert found(statuses=[Status.CANCELLED]) == {"plain"}
    assert found(labels={"team": "a"}) == {"Support bot"}
    assert found(labels={"team": "a", "k": "2"}) == set()
    assert found(without_labels=True) == {"plain"}
    assert found(text="support") == {"Support bot"}
    assert found(text="0%_s") == {"100%_sure"}
    assert found(text="_") == {"100%_sure"}
    assert found(user_id="nobody") == set()


def test_a_waiting_job_is_cancelled_at_once_and_only_once(world: Any) -> None:
    job = world.submit()
    assert world.jobs.cancel(job.id, "me").status == "cancelled"
    with pytest.raises(IllegalTransition) as found:
        world.jobs.cancel(job.id, "me")
    assert found.value.code == "job_finished"
    assert found.value.details["status"] == "cancelled"


def test_a_running_job_is_cancelled_by_its_worker(world: Any, one_step: Any) -> None:
    claimed = world.running()
    assert world.jobs.cancel(claimed.job_id, "me").status == "running"
    world.jobs.cancel(claimed.job_id, "me")  # twice is once
    (order,) = claims.renew(world.database, claimed.worker_id, [claimed])
    assert (order.intent, order.by) == ("cancel", "me")
    claims.record(world.database, claimed, [one_step(1, 2)])
    claims.add_checkpoint(world.database, claimed, 2)
    claims.confirm_cancel(world.database, claimed)
    claims.confirm_cancel(world.database, claimed)
    job = world.job(claimed.job_id)
    assert job.status == "cancelled"
    assert job.intent is None
    assert world.jobs.events(job.id)[-1].message == "Cancelled by me at step 2; checkpoint 2 kept"
    requests = [event for event in world.jobs.events(job.id) if event.type == "request"]
    assert len(requests) == 1


def test_a_cancel_that_no_worker_carries_out_is_done_within_a_minute(world: Any) -> None:
    claimed = world.running()
    world.jobs.cancel(claimed.job_id, "me")
    changes = world.wait(60, keep=[claimed])
    assert [(change.status, change.reason) for change in changes] == [("cancelled", "cancelled")]


def test_pause_and_resume(world: Any, result: Any) -> None:
    claimed = world.running()
    job = world.jobs.pause(claimed.job_id, "me")
    assert job.status == "pausing"
    assert world.jobs.pause(claimed.job_id, "me").status == "pausing"
    assert claims.renew(world.database, claimed.worker_id, [claimed])[0].intent == "pause"
    claims.paused(world.database, claimed)
    claims.paused(world.database, claimed)
    assert world.job(job.id).status == "paused"
    assert claims.claim(world.database, claimed.worker_id) is None
    job = world.jobs.resume(job.id, "me", num_devices=2)
    assert (job.status, job.num_devices, job.tries) == ("queued", 2, 0)
    second = claims.claim(world.database, world.worker("gpu-2", 2))
    assert second is not None
    assert (second.attempt, second.devices) == (2, (0, 1))
    claims.started(world.database, second)
    assert claims.renew(world.database, second.worker_id, [second])[0].intent == "go_on"
    claims.succeed(world.database, second, result)
    assert statuses(world, job.id) == [
        "queued",
        "starting",
        "running",
        "pausing",
        "paused",
        "queued",
        "starting",
        "running",
        "succeeded",
    ]


def test_only_a_job_that_runs_and_has_a_step_can_be_paused(world: Any) -> None:
    job = world.submit()
    with pytest.raises(IllegalTransition):
        world.jobs.pause(job.id, "me")
    claimed = claims.claim(world.database, world.worker())
    with pytest.raises(IllegalTransition):
        world.jobs.pause(job.id, "me")
    claims.started(world.database, claimed)
    with pytest.raises(Conflict) as found:
        world.jobs.pause(job.id, "me")
    assert found.value.code == "no_step_yet"
    with pytest.raises(IllegalTransition):
        world.jobs.resume(job.id, "me")


def test_a_cancel_is_stronger_than_a_pause_or_a_stop(world: Any) -> None:
    claimed = world.running()
    world.jobs.cancel(claimed.job_id, "me")
    for ask in (world.jobs.pause, world.jobs.stop):
        with pytest.raises(Conflict) as found:
            ask(claimed.job_id, "other")
        assert found.value.code == "being_cancelled"


@pytest.mark.parametrize("resumed", [True, False])
def test_a_job_that_stopped_on_the_way_can_end_with_its_checkpoint(
    world: Any, result: Any, one_step: Any, resumed: bool
) -> None:
    claimed = world.running()
    job_id, other = claimed.job_id, world.submit("other")
    claims.record(world.database, claimed, [one_step(claimed.attempt, 1)])
    claims.add_checkpoint(world.database, claimed, 1)
    world.jobs.pause(job_id, "me")
    claims.paused(world.database, claimed)
    if resumed:
        world.jobs.resume(job_id, "me")
    job = world.jobs.stop(job_id, "me")
    assert (job.status, job.intent, job.reason) == ("queued", "stop", "stopping")
    messages = [event.message for event in world.jobs.events(job_id, limit=1000)]
    told = "Will finish with the checkpoint of step 1 as soon as a device is free"
    assert messages.count(told) == 1
    assert world.jobs.stop(job_id, "me").event_count == job.event_count  # twice is once
    again = claims.claim(world.database, claimed.worker_id)
    assert again is not None
    assert again.job_id == job_id, f"it goes before {other.id}"
    assert claims.renew(world.database, claimed.worker_id, [again])[0].intent == "stop"
    claims.succeed(world.database, again, result, reason="stopped")
    assert (world.job(job_id).status, world.job(job_id).reason) == ("succeeded", "stopped")


def test_a_job_without_a_checkpoint_has_nothing_to_stop_with(world: Any) -> None:
    waiting = world.submit()
    with pytest.raises(Conflict, match="nothing to keep") as refused:
        world.jobs.stop(waiting.id, "me")
    assert refused.value.code == "no_step_yet"


def test_stop_and_keep_ends_as_succeeded(world: Any, result: Any) -> None:
    claimed = world.running()
    world.jobs.stop(claimed.job_id, "me")
    assert claims.renew(world.database, claimed.worker_id, [claimed])[0].intent == "stop"
    claims.succeed(world.database, claimed, result, reason="stopped")
    job = world.job(claimed.job_id)
    assert (job.status, job.reason) == ("succeeded", "stopped")
    assert len(world.all(Model)) == 1


def test_a_job_can_be_moved_before_another_or_to_the_end(world: Any) -> None:
    names = {world.submit(name).id: name for name in "abcd"}
    ids = {name: job_id for job_id, name in names.items()}

    def order() -> str:
        queue = world.jobs.list(JobFilter([world.project])).items
        return "".join(job.name for job in sorted(queue, key=lambda job: (job.position, job.id)))

    assert order() == "abcd"
    world.jobs.reorder(ids["d"], before=ids["b"])
    assert order() == "adbc"
    world.jobs.reorder(ids["c"], before=ids["a"])
    assert order() == "cadb"
    world.jobs.reorder(ids["c"], before=None)
    assert order() == "adbc"
    world.jobs.reorder(ids["a"], before=ids["a"])
    assert order() == "adbc"
    with pytest.raises(NotFound):
        world.jobs.reorder(ids["a"], before="ftjob-none")
    for _ in range(80):  # halves run out after some fifty
        world.jobs.reorder(ids["c"], before=ids["b"])
        world.jobs.reorder(ids["b"], before=ids["c"])
    assert order() == "adbc"
    assert claims.claim(world.database, world.worker()).job_id == ids["a"]
    with pytest.raises(Conflict, match="only waiting jobs"):
        world.jobs.reorder(ids["a"], before=ids["b"])


def test_only_a_job_that_ended_can_be_retried(world: Any) -> None:
    claimed = world.running("x")
    with pytest.raises(Conflict, match="nothing to retry"):
        refuse_retry(world.job(claimed.job_id))
    claims.fail(world.database, claimed, {"code": "out_of_memory", "message": "Too large."})
    old = world.job(claimed.job_id)
    refuse_retry(old)
    assert old.error == {"code": "out_of_memory", "message": "Too large.", "param": None}
    old.request = {"training_file": "file-x"}
    with pytest.raises(Conflict, match="before its files were accepted"):
        refuse_retry(old)


def test_a_user_beyond_the_storage_or_device_hours_cannot_submit(world: Any) -> None:
    world.limits = Limits(device_hours=1.0, storage_bytes=100)
    claimed = world.running()
    with world.database.write() as session:
        session.add(
            File(
                id="file-a",
                project_id=world.project,
                user_id=world.user,
                filename="x",
                purpose="fine-tune",
                bytes=101,
                sha256="",
                created_at=world.clock.now,
            )
        )
    with pytest.raises(QuotaExceeded, match="1 bytes above"):
        world.submit("b")
    world.limits = Limits(device_hours=0.01)
    world.wait(40, keep=[claimed])
    with pytest.raises(QuotaExceeded, match="device hours"):
        world.submit("b")
    world.add_user("rich", quota_device_hours=9.0)
    assert world.submit("b", user_id="rich").status == "queued"


def test_a_dataset_version_that_is_gone_cannot_be_used(world: Any) -> None:
    with world.database.write() as session:
        session.add(
            Dataset(
                id="ds-a",
                project_id=world.project,
                user_id=world.user,
                name="shop",
                folder="ds-a",
                created_at=world.clock.now,
            )
        )
        session.flush()
        for number, gone in ((1, world.clock.now), (2, None)):
            session.add(
                DatasetVersion(
                    id=f"dsv-{number}",
                    dataset_id="ds-a",
                    number=number,
                    user_id=world.user,
                    rows=1,
                    bytes=1,
                    content="",
                    created_at=world.clock.now,
                    deleted_at=gone,
                )
            )
    with pytest.raises(NotFound, match="dsv-1"):
        world.submit(datasets=[("dsv-1", "train")])
    assert world.submit(datasets=[("dsv-2", "train"), ("dsv-2", "validation")]).status == "queued"
