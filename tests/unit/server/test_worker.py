"""A worker as a process, with an engine that trains nothing: orders, kills, restarts, faults."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update
from tests.unit.server.worker_processes import RECIPE, Installation, installation

from tunesmith.runs import checkpoints, latest_valid_checkpoint
from tunesmith.runs.logs import open_log
from tunesmith.server.errors import Conflict
from tunesmith.server.tables import Checkpoint, Device, Job, Worker

LONG = {"LIGHT_STEPS": "100000", "LIGHT_SECONDS": "0.02"}


@pytest.fixture
def place(world: Any, url: str, tmp_path: Path) -> Generator[Installation]:
    with installation(world, url, tmp_path / "数据 data") as made:
        yield made


def test_a_job_is_trained_and_its_model_registered(place: Installation) -> None:
    job_id = place.submit("support bot")
    place.start()
    job = place.wait(job_id, "succeeded")
    (model,) = place.models()
    assert model.name == f"ft:starter:proj-a:support-bot:{job_id[-8:]}"
    assert (model.kind, model.bytes > 0, len(model.manifest_sha256)) == ("adapter", True, 64)
    assert (job.step, job.total_steps, job.trained_tokens, job.attempt) == (6, 6, 60, 1)
    steps = [(point.step, point.deleted_at) for point in place.world.all(Checkpoint)]
    assert steps == [(2, None), (4, None), (6, None)]
    place.assert_every_job_ended_once()
    assert place.stop() == 0


def test_a_killed_engine_is_started_again_from_its_checkpoint(place: Installation) -> None:
    job_id = place.submit()
    place.start(LIGHT_STEPS="40", LIGHT_SECONDS="0.05")
    place.wait_for_step(job_id, 5)
    pid = place.engine(job_id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    job = place.wait(job_id, "succeeded")
    assert (job.attempt, job.step) == (2, 40)
    (told,) = [e.message for e in place.events(job_id) if e.data.get("reason") == "interrupted"]
    assert told.startswith("Interrupted at step ")
    assert "resumes from step " in told
    assert "(attempt 2/3)" in told
    place.assert_every_job_ended_once()


def test_an_engine_that_always_dies_is_given_up_after_three_attempts(place: Installation) -> None:
    job_id = place.submit()
    place.start(TUNESMITH_ENGINE_COMMAND="/bin/false")
    job = place.wait(job_id, "failed")
    assert (job.attempt, job.reason) == (3, "attempts_used_up")
    assert job.error is not None
    assert job.error["code"] == "server_error"
    assert "gave up after 3 attempts" in job.error["message"]


def test_a_killed_worker_adopts_its_engines_again(place: Installation) -> None:
    job_id = place.submit()
    place.start(LIGHT_STEPS="100", LIGHT_SECONDS="0.03")
    place.wait_for_step(job_id, 3)
    pid = place.engine(job_id)
    place.kill()
    seen = place.job(job_id).step
    place.start(LIGHT_STEPS="100", LIGHT_SECONDS="0.03")
    place.wait_for_step(job_id, seen + 1)
    assert place.engine(job_id) in (pid, None)
    job = place.wait(job_id, "succeeded")
    assert (job.attempt, job.step) == (1, 100)
    assert "adopted" in place.log()
    place.assert_every_job_ended_once()


def test_a_run_that_ended_while_no_worker_looked_is_ended_by_the_next(place: Installation) -> None:
    job_id = place.submit()
    place.start(LIGHT_STEPS="30", LIGHT_SECONDS="0.03")
    place.wait_for_step(job_id, 1)
    place.kill()
    place.until(lambda: place.engine(job_id) is None, 30)
    assert place.job(job_id).status == "running"
    place.start()
    assert place.wait(job_id, "succeeded").attempt == 1
    place.assert_every_job_ended_once()


def test_pause_frees_the_device_and_resume_goes_on(place: Installation) -> None:
    job_id = place.submit()
    place.start(LIGHT_STEPS="60", LIGHT_SECONDS="0.05")
    place.wait_for_step(job_id, 3)
    place.world.jobs.pause(job_id, "ann")
    job = place.wait(job_id, "paused")
    assert 0 < job.step < 60
    assert place.engine(job_id) is None
    assert [device.job_id for device in place.world.all(Device)] == [None]
    place.world.jobs.resume(job_id, "ann")
    job = place.wait(job_id, "succeeded")
    assert (job.step, job.attempt) == (60, 2)
    place.assert_every_job_ended_once()


def test_a_full_disk_pauses_the_job_and_fails_nothing(place: Installation) -> None:
    job_id = place.submit()
    place.start(LIGHT_FULL="5")
    job = place.wait(job_id, "paused")
    assert (job.reason, job.error) == ("disk_full", None)
    told = place.events(job_id)[-1].message
    assert told == "Disk full: 0 B left. Job paused; free space and press Resume."
    place.world.jobs.resume(job_id, "ann")
    job = place.wait(job_id, "succeeded")
    started = [e.data for e in place.events(job_id) if e.type == "started"]
    assert [event["resumed_from_step"] for event in started] == [None, 4]
    place.assert_every_job_ended_once()


def test_a_job_that_waits_with_a_checkpoint_is_stopped_with_it(place: Installation) -> None:
    job_id = place.submit()
    place.start(**LONG)
    place.wait_for_step(job_id, 3)
    place.world.jobs.pause(job_id, "ann")
    paused = place.wait(job_id, "paused")
    assert place.stop() == 0
    place.world.jobs.resume(job_id, "ann")
    waiting = place.world.jobs.stop(job_id, "ann")
    assert (waiting.status, waiting.intent) == ("queued", "stop")
    place.start(**LONG)
    job = place.wait(job_id, "succeeded")
    # The engine hears of it at a step boundary, so it may have made some steps more.
    assert job.reason == "stopped"
    assert paused.step <= job.step < paused.step + 100
    (model,) = place.models()
    assert paused.step <= model.details["result_step"] <= job.step
    place.assert_every_job_ended_once()


def test_a_noisy_engine_that_nobody_reads_trains_on_and_its_log_is_bounded(
    place: Installation,
) -> None:
    """FAULTS 11 and 33: 10 MB of output, with room for 512 KiB."""
    noisy = place.submit("noisy")
    place.settings |= {"TUNESMITH_LOG_PART_BYTES": str(1 << 18), "TUNESMITH_LOG_PARTS": "2"}
    place.start(LIGHT_STEPS="40", LIGHT_NOISE=str(1 << 18))
    place.wait(noisy, "succeeded")
    folder = place.run(noisy).log_path.parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3 << 20
    with open_log(place.run(noisy).log_path) as log:
        assert log.size == 40 * (1 << 18)
        assert log.read(log.size - 64, 7) == b"0000040"
    place.assert_every_job_ended_once()
    logs = place.root / "logs" / "worker-w.log"
    assert f"{noisy}: attempt" in logs.read_text()


def test_stop_keeps_the_result(place: Installation) -> None:
    job_id = place.submit()
    place.start(**LONG)
    place.wait_for_step(job_id, 3)
    place.world.jobs.stop(job_id, "ann")
    job = place.wait(job_id, "succeeded")
    assert job.reason == "stopped"
    (model,) = place.models()
    assert model.details["result_step"] == job.step
    place.assert_every_job_ended_once()


@pytest.mark.parametrize("when", ["starting", "running"])
def test_cancel_leaves_no_process(place: Installation, when: str) -> None:
    job_id = place.submit()
    place.start(**LONG)
    if when == "running":
        place.wait_for_step(job_id, 3)
    else:
        place.until(lambda: place.job(job_id).status in ("starting", "running"), 30)
    asked = time.monotonic()
    place.world.jobs.cancel(job_id, "ann")
    job = place.wait(job_id, "cancelled")
    assert time.monotonic() - asked < 60
    assert job.reason == "cancelled"
    place.until(lambda: place.engine(job_id) is None, 30)
    place.assert_every_job_ended_once()


def test_a_cancel_while_a_checkpoint_is_saved_leaves_no_half_of_it(place: Installation) -> None:
    """FAULTS 13, asked twice and once more after the end."""
    job_id = place.submit()
    place.start(LIGHT_STEPS="1000", LIGHT_SAVE="0.5")
    saving = place.run(job_id).checkpoints_dir / "step-000004"
    place.until(lambda: (saving / "state.json").exists(), 60, lambda: place.told(job_id))
    assert not (saving / "manifest.json").exists()
    asked = time.monotonic()
    place.world.jobs.cancel(job_id, "ann")
    with suppress(Conflict):  # the second may find it asked for, or done
        place.world.jobs.cancel(job_id, "ann")
    job = place.wait(job_id, "cancelled")
    assert time.monotonic() - asked < 60
    with pytest.raises(Conflict) as late:
        place.world.jobs.cancel(job_id, "ann")
    assert late.value.code == "job_finished"
    assert place.engine(job_id) is None
    kept = [point.step for point in place.world.all(Checkpoint) if point.deleted_at is None]
    assert set(kept) == {point.step for point in checkpoints(place.run(job_id))} == {2, 4}
    assert latest_valid_checkpoint(place.run(job_id), lambda *_: None) is not None
    told = place.events(job_id)[-1].message
    assert told == f"Cancelled by ann at step {job.step}; checkpoint 4 kept"
    assert [device.job_id for device in place.world.all(Device)] == [None]
    place.assert_every_job_ended_once()


@pytest.mark.slow
def test_a_hanging_engine_is_ended_on_cancel(place: Installation) -> None:
    job_id = place.submit()
    place.start(LIGHT_HANG="2")
    place.wait_for_step(job_id, 1)
    pid = place.engine(job_id)
    place.world.jobs.cancel(job_id, "ann")
    place.wait(job_id, "cancelled")
    assert place.engine(job_id) is None
    assert pid is not None
    place.assert_every_job_ended_once()


@pytest.mark.slow
def test_the_stacks_of_an_engine_that_lost_its_claim_are_saved(place: Installation) -> None:
    """The silence of a hanging engine ends its attempt; the process must go, and tell where."""
    job_id = place.submit()
    place.start(LIGHT_HANG="3", LIGHT_STEPS="6")
    place.until(lambda: any(e.type == "checkpoint" for e in place.events(job_id)), 60)
    pid = place.engine(job_id)
    with place.world.database.write() as session:  # as half an hour of silence would
        session.get_one(Job, job_id).heard_at = -10_000.0
    job = place.wait(job_id, "succeeded")
    assert job.attempt == 2
    assert place.engine(job_id) != pid
    stacks = (place.run(job_id).log_path.parent / "stacks.log").read_text()
    assert "light_engine.py" in stacks
    told = [e.message for e in place.events(job_id)]
    assert any("No progress for" in message for message in told)
    assert "Stale attempt 1 stopped" in told
    place.assert_every_job_ended_once()


@pytest.fixture
def small_group() -> Generator[Path]:
    """A control group with 400 MB of memory, and no swap where that is counted."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    (inside,) = [line.split(":", 2)[2] for line in lines if ":memory:" in line] or [""]
    group = Path(f"/sys/fs/cgroup/memory{inside}/tunesmith-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(400 << 20))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    yield group
    group.rmdir()


@pytest.mark.slow
def test_an_engine_that_the_system_ends_for_want_of_memory_is_told_as_such(
    place: Installation, small_group: Path
) -> None:
    """FAULTS 6, for the memory of the host."""
    job_id = place.submit()
    worker = place.start(LIGHT_EAT=str(2 << 30), LIGHT_STEPS="6")
    (small_group / "cgroup.procs").write_text(str(worker.pid))
    job = place.wait(job_id, "succeeded")
    assert job.attempt == 2
    (told,) = [e.message for e in place.events(job_id) if e.data.get("reason") == "interrupted"]
    assert "memory ran out on this machine, and the system ended a process" in told
    assert worker.poll() is None
    assert place.stop() == 0


def test_an_engine_that_hangs_is_ended_with_its_stacks_saved_and_its_job_goes_on(
    place: Installation,
) -> None:
    """FAULTS 9: alive, and no step any more."""
    job_id = place.submit()
    place.start(LIGHT_HANG="3", LIGHT_STEPS="6", TUNESMITH_SILENCE_SECONDS="2")
    place.wait_for_step(job_id, 2)
    hanging = place.engine(job_id)
    job = place.wait(job_id, "succeeded")
    assert (job.attempt, job.step) == (2, 6)
    (told,) = [e.message for e in place.events(job_id) if e.data.get("reason") == "interrupted"]
    assert told == (
        "Interrupted at step 2: No progress for 2 s; stack saved, resumes from step 2 (attempt 2/3)"
    )
    stacks = (place.run(job_id).log_path.parent / "stacks.log").read_text()
    assert "light_engine.py" in stacks
    assert hanging is not None
    assert not Path(f"/proc/{hanging}").exists()
    place.assert_every_job_ended_once()


def test_a_worker_that_ends_saves_its_jobs_and_the_next_goes_on(place: Installation) -> None:
    job_id = place.submit()
    place.start(LIGHT_STEPS="60", LIGHT_SECONDS="0.05")
    place.wait_for_step(job_id, 3)
    assert place.stop() == 0
    job = place.job(job_id)
    assert (job.status, job.reason, job.tries) == ("queued", "worker_stopped", 0)
    assert place.engine(job_id) is None
    place.start(LIGHT_STEPS="60")
    job = place.wait(job_id, "succeeded")
    assert (job.attempt, job.tries, job.step) == (2, 1, 60)
    told = [e.message for e in place.events(job_id)]
    assert any(message.startswith("Stopped at step ") for message in told)
    place.assert_every_job_ended_once()


def test_a_worker_that_comes_back_after_its_job_was_given_away_ends_its_engine(
    place: Installation,
) -> None:
    """Cut off from the database, its lease runs out; the engine of its attempt has to go."""
    job_id = place.submit()
    first = place.start("first", **LONG)
    place.wait_for_step(job_id, 3)
    pid = place.engine(job_id)
    first.send_signal(signal.SIGSTOP)
    with place.world.database.write() as session:  # as half a minute without it would
        session.execute(update(Job).values(lease_until=-1.0))
        session.execute(update(Worker).values(lease_until=-1.0))
    place.start("second", **LONG)
    place.until(lambda: place.job(job_id).attempt == 2, 60, lambda: place.told(job_id))
    first.send_signal(signal.SIGCONT)
    place.until(lambda: place.engine(job_id) not in (pid, None), 60, lambda: place.told(job_id))
    place.until(lambda: "no longer ours" in place.log("first"), 30, lambda: place.log("first"))
    place.until(lambda: place.job(job_id).status == "running", 60, lambda: place.told(job_id))
    place.world.jobs.stop(job_id, "ann")
    assert place.wait(job_id, "succeeded").attempt == 2
    told = [e.message for e in place.events(job_id)]
    assert any("lost" in message and "requeued" in message for message in told)
    assert "Stale attempt 1 stopped" in told
    place.assert_every_job_ended_once()


def test_a_worker_name_is_taken_once(place: Installation) -> None:
    place.start("same")
    place.until(lambda: bool(place.world.all(Worker)), 30)
    first = place.processes.pop("same")
    second = place.start("same")
    assert second.wait(60) == 2
    assert "runs already" in place.log("same")
    place.processes["first"] = first


def test_a_job_whose_dataset_is_gone_fails_before_it_takes_time(place: Installation) -> None:
    gone = {"model": "starter", "data": {"train": ["orders@3"]}}
    job_id = place.submit(recipe=gone)
    other = place.submit("other")
    place.start()
    job = place.wait(job_id, "failed")
    assert job.error is not None
    assert job.error["code"] == "invalid_training_file"
    assert job.error["reason"] == "dataset_not_found"
    assert "orders@3" in job.error["message"]
    assert not place.run(job_id).path.exists()
    place.wait(other, "succeeded")


@pytest.mark.parametrize("base", ["model-0000", "/etc", "../secret"])
def test_a_model_that_is_gone_or_is_a_path_fails_the_job(place: Installation, base: str) -> None:
    job_id = place.submit(recipe=RECIPE | {"model": base})
    place.start()
    job = place.wait(job_id, "failed")
    assert job.error is not None
    assert (job.error["reason"], job.error["param"]) == ("model_not_found", "model")


def test_a_device_that_does_not_exist_is_missing_and_the_others_work(place: Installation) -> None:
    large, small = place.submit("large", num_devices=2), place.submit("small")
    place.start(TUNESMITH_DEVICES="0,7")
    place.wait(small, "succeeded")
    assert place.job(large).status == "queued"
    with place.world.database.read() as session:
        devices = session.scalars(select(Device).order_by(Device.index)).all()
    assert [(d.index, d.missing_since is None) for d in devices] == [(0, True), (7, False)]
    assert "Device 7 not found; available: 0" in place.log()


@pytest.mark.slow
def test_a_database_that_is_locked_for_a_while_loses_nothing(place: Installation) -> None:
    job_id = place.submit()
    place.start(LIGHT_STEPS="150", LIGHT_SECONDS="0.02", TUNESMITH_DATABASE_TIMEOUT="0.5")
    place.wait_for_step(job_id, 3)
    lock = "LOCK TABLE jobs, workers, lease_clock IN ACCESS EXCLUSIVE MODE"
    with place.world.database.write() as session:
        session.execute(text("SELECT 1" if place.world.database.is_sqlite else lock))
        place.until(lambda: place.engine(job_id) is None, 30)
        place.until(lambda: "locked or not reachable" in place.log(), 30, place.log)
    job = place.wait(job_id, "succeeded")
    assert (job.attempt, job.step) == (1, 150)
    assert "the database is back" in place.log()
    place.assert_every_job_ended_once()
