"""A worker with the real engine, out of its nursery, on the starter model."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import psutil
import pytest
from sqlalchemy import select
from tests.unit.server.conftest import Clock, World
from tests.unit.server.worker_processes import Installation, installation

from tunesmith.runs.manifest import read_manifest
from tunesmith.server.database import Database
from tunesmith.server.migrations.upgrade import migrate
from tunesmith.server.tables import Checkpoint

pytestmark = pytest.mark.slow  # each test runs whole trainings
STEPS = 30


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Generator[Installation]:
    """One worker for all tests, with two CPU devices."""
    folder = tmp_path_factory.mktemp("platform")
    url = f"sqlite:///{folder / 'data' / 'tunesmith.db'}"
    (folder / "data").mkdir()
    migrate(url)
    world = World(Database(url), Clock())
    world.reset()
    with installation(world, url, folder / "data") as made:
        made.settings |= {
            "TUNESMITH_ENGINE_COMMAND": "",
            "TUNESMITH_CPU_DEVICES": "2",
            "OMP_NUM_THREADS": "1",
        }
        made.start()
        made.until(lambda: "nursery is ready" in made.log(), 200, made.log)
        yield made


@pytest.fixture(autouse=True)
def is_running(place: Installation) -> None:
    """The worker is there at the beginning of each test."""
    if place.processes["w"].poll() is not None:
        place.start()


def recipe(**training: Any) -> dict[str, Any]:
    return {
        "model": "starter",
        "adapter": {"kind": "lora", "rank": 4, "dropout": 0.1},
        "data": {
            "train": [{"dataset": "builtin:shop", "max_samples": 60}],
            "validation": {"kind": "none"},
            "allow_small": True,
            "max_length": 64,
        },
        "training": {
            "max_steps": STEPS,
            "batch_size": 4,
            "learning_rate": 1e-3,
            "checkpoint": {"every_steps": 5},
            **training,
        },
        "report": {"tensorboard": False},
    }


def losses(place: Installation, job_id: str) -> dict[int, float]:
    """Of each step; of one that was done twice, the last."""
    return {e.data["step"]: e.data["loss"] for e in place.events(job_id) if e.type == "step"}


def weights(place: Installation, job_id: str) -> str:
    """The hash of the weights that are the result."""
    manifest = read_manifest(place.run(job_id).artifacts_dir)
    return next(f.sha256 for f in manifest.files if f.path.endswith(".safetensors"))


@pytest.fixture(scope="module")
def whole(place: Installation) -> str:
    """A job that nothing happened to."""
    job_id = place.submit("whole", recipe())
    assert place.wait(job_id, seconds=120).status == "succeeded", place.told(job_id)
    return job_id


def assert_same(place: Installation, job_id: str, whole: str) -> None:
    assert losses(place, job_id) == losses(place, whole)
    assert weights(place, job_id) == weights(place, whole)
    place.assert_no_event_lost_or_doubled(job_id)
    assert len(place.models(job_id)) == 1


def test_a_job_runs_to_its_model_in_a_process_of_its_own(place: Installation, whole: str) -> None:
    job = place.job(whole)
    assert (job.step, job.total_steps, job.attempt) == (STEPS, STEPS, 1)
    steps = [e.data for e in place.events(whole) if e.type == "step"]
    assert job.trained_tokens == sum(step["tokens"] for step in steps)
    assert all(step["grad_norm"] > 0 for step in steps)
    (model,) = place.models(whole)
    assert (model.kind, model.name) == ("adapter", f"ft:starter:proj-a:whole:{whole[-8:]}")
    with place.world.database.read() as session:
        points = session.scalars(select(Checkpoint).where(Checkpoint.job_id == whole)).all()
    kept = [point for point in points if point.deleted_at is None]
    on_disk = {int(path.name[5:]) for path in place.run(whole).checkpoints_dir.iterdir()}
    assert {point.step for point in kept} == on_disk
    last = max(kept, key=lambda point: point.step)
    assert last.bytes > 0
    assert last.metrics["train_loss"] == losses(place, whole)[STEPS]


def test_a_killed_engine_ends_as_if_nothing_had_happened(place: Installation, whole: str) -> None:
    job_id = place.submit("killed", recipe())
    place.wait_for_step(job_id, 7)
    pid = place.engine(job_id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    job = place.wait(job_id, "succeeded", seconds=120)
    assert job.attempt == 2
    assert_same(place, job_id, whole)


def test_pause_and_resume_end_as_if_nothing_had_happened(place: Installation, whole: str) -> None:
    job_id = place.submit("paused", recipe())
    place.wait_for_step(job_id, 4)
    place.world.jobs.pause(job_id, "ann")
    paused = place.wait(job_id, "paused", seconds=120)
    assert paused.step < STEPS
    assert place.engine(job_id) is None
    place.world.jobs.resume(job_id, "ann")
    place.wait(job_id, "succeeded", seconds=120)
    assert_same(place, job_id, whole)


def test_a_killed_worker_and_its_nursery_leave_the_engine_alone(
    place: Installation, whole: str
) -> None:
    job_id = place.submit("adopted", recipe())
    place.wait_for_step(job_id, 4)
    pid = place.engine(job_id)
    children = psutil.Process(place.processes["w"].pid).children()
    place.kill()
    for nursery in children:  # ends by itself once nobody can give orders
        with suppress(psutil.TimeoutExpired):
            nursery.wait(20)
        assert not nursery.is_running()
    assert place.engine(job_id) == pid or place.run(job_id).artifacts_dir.is_dir()
    place.start()
    job = place.wait(job_id, "succeeded", seconds=120)
    assert job.attempt == 1
    assert_same(place, job_id, whole)


def test_without_a_nursery_engines_are_started_directly(place: Installation, whole: str) -> None:
    (nursery,) = [
        child
        for child in psutil.Process(place.processes["w"].pid).children()
        if "nursery" in child.cmdline()
    ]
    nursery.suspend()
    job_id = place.submit("direct", recipe())
    place.until(lambda: place.job(job_id).status == "starting", 60)
    nursery.kill()
    job = place.wait(job_id, "succeeded", seconds=200)
    assert job.attempt == 1
    assert_same(place, job_id, whole)


def test_a_worker_that_ends_gives_its_job_back_with_a_checkpoint(
    place: Installation, whole: str
) -> None:
    job_id = place.submit("given-back", recipe())
    place.wait_for_step(job_id, 4, seconds=120)
    assert place.stop() == 0
    assert place.job(job_id).status == "queued"
    place.start()
    job = place.wait(job_id, "succeeded", seconds=200)
    assert (job.attempt, job.tries) == (2, 1)
    assert_same(place, job_id, whole)


@pytest.mark.parametrize("step", [0, 4])
def test_cancel_while_it_starts_or_runs_leaves_no_process(place: Installation, step: int) -> None:
    job_id = place.submit("cancelled", recipe(max_steps=5000))
    if step:
        place.wait_for_step(job_id, step, seconds=120)
    else:
        place.until(lambda: place.job(job_id).status in ("starting", "running"), 60)
    asked = time.monotonic()
    place.world.jobs.cancel(job_id, "ann")
    place.wait(job_id, "cancelled")
    assert time.monotonic() - asked < 60
    assert place.engine(job_id) is None
    assert not place.models(job_id)
    place.assert_no_event_lost_or_doubled(job_id)


def test_memory_that_is_short_once_is_told_and_short_twice_fails_the_job(
    place: Installation,
) -> None:
    """FAULTS 6: the engine itself tries once more with half; the platform does not go on trying."""
    assert place.stop() == 0
    fault = {"TUNESMITH_FAULT": "oom@gradients:3,oom@gradients:6", "TUNESMITH_WARM_ENGINE": "no"}
    place.start(**fault)
    once = place.submit("once", recipe(max_steps=5))
    twice = place.submit("twice", recipe(max_steps=9))
    done, failed = place.wait(once, seconds=200), place.wait(twice, seconds=200)
    assert (done.status, done.attempt) == ("succeeded", 1)
    (event,) = (e for e in place.events(once) if e.data.get("code") == "out_of_memory")
    assert (event.type, event.level) == ("warning", "warn")
    assert event.message.startswith("Out of memory at step 3: micro-batch ")
    assert "The result does not change." in event.message
    assert (failed.status, failed.attempt, failed.reason) == ("failed", 1, "out_of_memory")
    assert failed.error is not None
    assert failed.error["message"].startswith("Out of memory at step 6, also with micro-batches of")
    assert "training.micro_batch_tokens" in failed.error["hint"]
    assert "Traceback" not in failed.error["message"]
    assert place.stop() == 0


def test_two_devices_train_together_and_one_goes_on(place: Installation, whole: str) -> None:
    """Resuming on another number of devices: the same curve, but for the order of sums."""
    job_id = place.submit("together", recipe(), num_devices=2)
    place.wait_for_step(job_id, 7, seconds=120)
    place.world.jobs.pause(job_id, "ann")
    assert place.wait(job_id, "paused", seconds=120).step < STEPS
    place.world.jobs.resume(job_id, "ann", num_devices=1)
    place.wait(job_id, "succeeded", seconds=120)
    assert losses(place, job_id) == pytest.approx(losses(place, whole), abs=1e-4)
    place.assert_no_event_lost_or_doubled(job_id)


def test_a_rank_that_is_killed_takes_its_group_along_and_all_start_again(
    place: Installation, whole: str
) -> None:
    job_id = place.submit("group", recipe(), num_devices=2)
    place.wait_for_step(job_id, 7, seconds=120)
    first = place.engine(job_id)
    assert first is not None
    group = psutil.Process(first).parent()
    assert group is not None
    (other,) = [child for child in group.children() if child.pid != first]
    other.kill()
    job = place.wait(job_id, "succeeded", seconds=120)
    assert job.attempt == 2
    assert losses(place, job_id) == pytest.approx(losses(place, whole), abs=1e-4)
    place.assert_no_event_lost_or_doubled(job_id)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_branch_and_a_result_are_trained_on(place: Installation, whole: str, kind: str) -> None:
    """A checkpoint as the beginning of a branch, and the result of a job as base model."""
    settings = {"adapter": {"kind": kind}} if kind == "full" else {}
    first = place.submit("first", recipe(max_steps=6) | settings) if settings else whole
    place.wait(first, "succeeded", seconds=120)
    with place.world.database.read() as session:
        points = select(Checkpoint).where(
            Checkpoint.job_id == first, Checkpoint.deleted_at.is_(None)
        )
        point = session.scalars(points.order_by(Checkpoint.step.desc())).first()
    assert point is not None
    branch = place.submit("branch", recipe(max_steps=3) | settings, checkpoint_id=point.id)
    (model,) = place.models(first)
    again = place.submit("again", recipe(max_steps=3) | {"model": model.id})
    for job_id in (branch, again):
        place.wait(job_id, "succeeded", seconds=120)
        # The first loss is that of a trained model: far below where the starter begins.
        assert losses(place, job_id)[1] < losses(place, whole)[1] - 0.2


def test_wrong_data_fails_the_job_with_a_code_of_the_api(place: Installation) -> None:
    wrong = recipe()
    wrong["data"] |= {"allow_small": False}
    job_id = place.submit("too small", wrong)
    job = place.wait(job_id, "failed", seconds=60)
    assert job.error is not None
    assert (job.error["code"], job.error["param"]) == ("invalid_n_examples", "training_file")
    assert "60" in job.error["message"]
    assert str(place.root) not in job.error["message"]
