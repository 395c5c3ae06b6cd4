"""What an engine writes that gives up before its first event; with real engine processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tunesmith.errors import InputError, RunDirError
from tunesmith.runs import EventWriter, RunDir, acquire_lock, last_event, read_events
from tunesmith.runs.last_word import leaves_last_word
from tunesmith.runs.launch import engine_command, engine_environment, train_arguments

GOOD = "name: x\nmodel: starter\ndata:\n  train: [a.jsonl]\n"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", GOOD, recipe_name="x")


def give_up(run: RunDir, attempt: int | None, error: Exception) -> None:
    with pytest.raises(type(error)), leaves_last_word(run.path, attempt):
        raise error


@pytest.mark.slow  # starts an engine
@pytest.mark.parametrize("num_ranks", [1, 2])
def test_an_engine_that_cannot_read_its_recipe_says_so_in_its_events(
    tmp_path: Path, num_ranks: int
) -> None:
    bad = GOOD + "training: {epochs: -3}\n"
    run = RunDir.create(tmp_path / "run", bad, recipe_name="x")
    words = train_arguments(run, resume=False, attempt=1, num_ranks=num_ranks)
    environment = engine_environment() | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        engine_command(*words), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    (failed,) = read_events(run)[0]
    assert (failed["type"], failed["attempt"], failed["about"]) == ("failed", 1, "recipe")
    assert "epochs" in failed["message"]


def test_a_library_that_is_missing_is_told_with_its_name(run: RunDir) -> None:
    give_up(run, 2, ImportError("No module named 'torch'"))
    failed = last_event(run)
    assert failed is not None
    assert (failed["code"], failed["attempt"]) == ("engine_start_failed", 2)
    assert "No module named 'torch'" in failed["message"]


def test_a_full_disk_keeps_its_code_so_that_the_job_is_paused(run: RunDir) -> None:
    give_up(run, 1, OSError(28, "No space left on device", str(run.path)))
    failed = last_event(run)
    assert failed is not None
    assert failed["code"] == "disk_full"


def test_an_attempt_that_has_told_its_end_gets_no_second_one(run: RunDir) -> None:
    with EventWriter(run, 1) as writer:
        writer.emit("started", name="x")
    give_up(run, 1, InputError("too late"))
    assert [event["type"] for event in read_events(run)[0]] == ["started"]


def test_nothing_is_written_beside_an_engine_that_works_in_the_run(run: RunDir) -> None:
    with acquire_lock(run, 1):
        give_up(run, 2, InputError("wrong"))
    assert last_event(run) is None


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: device lost"), RunDirError("held")])
def test_what_may_be_otherwise_at_the_next_try_is_left_a_crash(
    run: RunDir, error: Exception
) -> None:
    give_up(run, 1, error)
    assert last_event(run) is None


def test_without_a_number_of_the_attempt_nothing_is_written(run: RunDir) -> None:
    give_up(run, None, InputError("read my output"))
    assert last_event(run) is None


def test_a_signal_is_no_last_word(run: RunDir) -> None:
    with pytest.raises(KeyboardInterrupt), leaves_last_word(run.path, 1):
        raise KeyboardInterrupt
    assert last_event(run) is None
