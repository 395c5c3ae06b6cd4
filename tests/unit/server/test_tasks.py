"""Background tasks: claimed once, renewed, lost, tried again, cancelled; run in real processes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.server.conftest import World

from tunesmith.server import tasks
from tunesmith.server.access import Caller, Role
from tunesmith.server.services.tasks import Tasks
from tunesmith.server.tables import Task

KIND = "dataset.import"


@pytest.fixture
def caller(world: World) -> Caller:
    return Caller(world.user, world.user, roles={world.project: Role.MEMBER})


def submit(world: World, caller: Caller) -> Task:
    world.clock.now += timedelta(milliseconds=1)
    return Tasks(world.database).submit(caller, KIND, {}, project_id=world.project)


def state(world: World, task: Task) -> str:
    with world.database.read() as session:
        return session.get_one(Task, task.id).state


def test_the_oldest_task_is_claimed_first_and_only_once(world: World, caller: Caller) -> None:
    first, second = submit(world, caller), submit(world, caller)
    claimed = [tasks.claim(world.database) for _ in range(3)]
    assert [each and each.task_id for each in claimed] == [first.id, second.id, None]


def test_a_task_whose_process_fell_silent_is_tried_again_and_the_old_one_is_not_heard(
    world: World, caller: Caller
) -> None:
    task = submit(world, caller)
    old = tasks.claim(world.database)
    assert old is not None
    world.wait(tasks.LEASE_SECONDS + 10)
    new = tasks.claim(world.database)
    assert new == tasks.TaskClaim(task.id, 2)
    tasks.finish(world.database, old, "failed", error={"code": "late"})
    assert not tasks.renew(world.database, old, {})
    tasks.finish(world.database, new, "succeeded", result={"rows": 3})
    assert state(world, task) == "succeeded"


@pytest.mark.parametrize(("end", "done"), [("succeeded", 120), ("failed", 68)])
def test_an_ended_task_has_no_time_left(world: World, caller: Caller, end: str, done: int) -> None:
    task = submit(world, caller)
    claimed = tasks.claim(world.database)
    assert claimed is not None
    tasks.renew(world.database, claimed, {"done": 68, "total": 120, "eta_seconds": 23.7})
    tasks.finish(world.database, claimed, end)
    with world.database.read() as session:
        progress = session.get_one(Task, task.id).progress
    assert progress == {"done": done, "total": 120, "eta_seconds": None}


def test_a_task_that_is_renewed_is_not_lost(world: World, caller: Caller) -> None:
    submit(world, caller)
    claimed = tasks.claim(world.database)
    assert claimed is not None
    for _ in range(4):
        world.wait(20)
        assert tasks.renew(world.database, claimed, {"done": 1})
    assert tasks.claim(world.database) is None


def test_a_task_whose_process_dies_three_times_fails(world: World, caller: Caller) -> None:
    task = submit(world, caller)
    for _ in range(tasks.MAX_TRIES):
        claimed = tasks.claim(world.database)
        assert claimed is not None
        tasks.give_back(world.database, claimed)
    assert tasks.claim(world.database) is None
    assert state(world, task) == "failed"


def test_a_waiting_task_is_cancelled_at_once_and_a_running_one_at_its_next_sign_of_life(
    world: World, caller: Caller
) -> None:
    service = Tasks(world.database)
    running = submit(world, caller)
    claimed = tasks.claim(world.database)
    assert claimed is not None
    waiting = submit(world, caller)
    service.cancel(caller, waiting.id)
    service.cancel(caller, running.id)
    assert state(world, waiting) == "cancelled"
    assert not tasks.renew(world.database, claimed, {})
