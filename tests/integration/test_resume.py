"""A run that was ended in any way goes on as if nothing had happened: the same bits at the end.

F10, X6: no progress is lost by a power cut, a pause, or a damaged checkpoint.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tunesmith.runs import write_control

pytestmark = pytest.mark.slow  # each test runs whole trainings
Build = Callable[..., Any]
KILLED = -signal.SIGKILL
NUM_STEPS = 12
# Enough steps for a signal or a request to come before the end.
LONGER = {"epochs": 20, "checkpoint": {"every_steps": 1000}}


def test_killed_at_a_random_step_and_resumed(
    training: Build, whole: Build, same_state: Build, adapter: dict[str, Any]
) -> None:
    complete = whole(adapter=adapter)
    cut = training("cut", adapter=adapter)
    step = random.randint(1, NUM_STEPS - 1)
    assert cut.go(fault=f"kill@step:{step}") == KILLED, f"step {step}"
    cut.finish(resume=True)
    same_state(complete, cut)
    started = cut.events("started")
    assert [event["attempt"] for event in started] == [1, 2]
    # The kill of a step comes before its checkpoint.
    assert started[1]["resumed_from_step"] == ((step - 1) // 3 * 3 or None)


@pytest.mark.parametrize(
    "point",
    ["checkpoint-weights", "checkpoint-optimizer", "checkpoint-state", "checkpoint-manifest"],
)
def test_killed_inside_a_save_and_resumed(
    training: Build, whole: Build, same_state: Build, point: str
) -> None:
    complete = whole()
    cut = training("cut")
    assert cut.go(fault=f"kill@{point}:6") == KILLED
    assert cut.go(resume=True, fault=f"kill@{point}:9") == KILLED
    cut.finish(resume=True)
    same_state(complete, cut)


def test_killed_before_anything_was_saved(training: Build, whole: Build, same_state: Build) -> None:
    complete = whole()
    cut = training("cut")
    assert cut.go(fault="kill@before-step:1") == KILLED
    assert cut.go(resume=True, fault="kill@step:2") == KILLED
    cut.finish(resume=True)
    same_state(complete, cut)


def test_killed_again_and_again(training: Build, whole: Build, same_state: Build) -> None:
    complete = whole(adapter={"kind": "lora", "rank": 2})
    cut = training("cut", adapter={"kind": "lora", "rank": 2})
    assert cut.go(fault="kill@step:4") == KILLED
    for step in (5, 8, 11):
        assert cut.go(resume=True, fault=f"kill@step:{step}") == KILLED
    cut.finish(resume=True)
    same_state(complete, cut)


# Settings with a state of their own between steps.
KEPT_STATES: dict[str, dict[str, Any]] = {
    "pure bfloat16": {
        "model": {"dtype": "bfloat16"},
        "training": {"master_weights": False},
    },
    # Killed within the turn of a layer, and where one ends.
    "badam": {
        "training": {
            "optimizer": {"kind": "badam", "block_switch_steps": 2, "block_order": "random"},
        },
    },
    "badam in bfloat16": {
        "model": {"dtype": "bfloat16"},
        "training": {"optimizer": {"kind": "badam", "block_switch_steps": 3}},
    },
    "updates in backward": {
        "model": {"dtype": "bfloat16"},
        "training": {
            **{"update_in_backward": True, "max_grad_norm": 0, "micro_batch_tokens": "auto"},
            "optimizer": {"kind": "adamw_8bit"},
        },
    },
    # From a scale that overflows at first, and doubles again and again.
    "float16": {
        "model": {"dtype": "float16"},
        "training": {"loss_scale": {"initial": 2**22, "growth_steps": 2}},
    },
}


@pytest.mark.parametrize("name", KEPT_STATES)
def test_what_a_training_keeps_between_steps_is_resumed_to_the_last_bit(
    training: Build, whole: Build, same_state: Build, name: str
) -> None:
    complete = whole(**KEPT_STATES[name])
    cut = training("cut", **KEPT_STATES[name])
    assert cut.go(fault="kill@step:5") == KILLED
    assert cut.go(resume=True, fault="kill@step:8") == KILLED
    cut.finish(resume=True)
    same_state(complete, cut)
    fields = ("loss_scale", "skipped_steps", "grad_norm")
    if name == "float16":
        assert complete.events("step")[-1]["skipped_steps"] > 0
    ends = [[run.events("step")[-1].get(field) for field in fields] for run in (complete, cut)]
    assert ends[0] == ends[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_pauses_at_the_next_step_boundary(
    training: Build, whole: Build, same_state: Build, number: int
) -> None:
    complete = whole(training=LONGER)
    cut = training("cut", training=LONGER)
    pid = cut.start()
    cut.wait_for("step")
    os.kill(pid, number)
    assert cut.wait(pid) == 75
    paused = cut.events("paused")[-1]["step"]
    assert 0 < paused < 120
    assert [event["step"] for event in cut.events("checkpoint")] == [paused]
    assert not cut.events("failed")
    cut.finish(resume=True)
    same_state(complete, cut)


def test_a_signal_before_the_first_step_is_a_pause_too(
    training: Build, whole: Build, same_state: Build
) -> None:
    complete = whole()
    cut = training("cut")
    pid = cut.start()
    cut.wait_for("started")
    os.kill(pid, signal.SIGTERM)
    assert cut.wait(pid) == 75
    assert cut.events()[-1]["type"] == "paused"
    cut.finish(resume=True)
    same_state(complete, cut)


def test_a_request_to_pause_is_obeyed_once(
    training: Build, whole: Build, same_state: Build
) -> None:
    complete = whole(training=LONGER)
    cut = training("cut", training=LONGER)
    pid = cut.start()
    cut.wait_for("step")
    write_control(cut.run, "pause", by="a test")
    assert cut.wait(pid) == 75
    cut.finish(resume=True)
    same_state(complete, cut)


@pytest.mark.parametrize("file", ["model/model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_flipped_byte_in_the_newest_checkpoint_costs_only_its_steps(
    training: Build, whole: Build, same_state: Build, file: str
) -> None:
    complete = whole()
    cut = training("cut")
    assert cut.go(fault="kill@step:8") == KILLED
    damaged = cut.last_checkpoint() / file
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    cut.finish(resume=True)
    warnings = [event for event in cut.events("warning") if event["code"] == "checkpoint_broken"]
    assert len(warnings) == 1
    assert "step-000006" in warnings[0]["message"]
    assert cut.events("started")[-1]["resumed_from_step"] == 3
    same_state(complete, cut)


def test_a_run_without_any_whole_checkpoint_begins_again(
    training: Build, whole: Build, same_state: Build
) -> None:
    complete = whole()
    cut = training("cut")
    assert cut.go(fault="kill@step:5") == KILLED
    (cut.last_checkpoint() / "manifest.json").unlink()
    cut.finish(resume=True)
    same_state(complete, cut)


def test_early_stopping_goes_on_counting_after_a_resume(
    training: Build, whole: Build, same_state: Build
) -> None:
    settings = {
        "epochs": 30,
        "learning_rate": 0.05,  # soon gets worse on the validation rows
        "evaluate": {"every_steps": 2},
        "stop": {"patience": 4, "restore_best": True},
    }
    complete = whole(training=settings)
    last = complete.events("finished")[0]
    assert last["reason"] == "patience"
    cut = training("cut", training=settings)
    assert cut.go(fault=f"kill@step:{last['step'] - 1}") == KILLED
    cut.finish(resume=True)
    end = cut.events("finished")[0]
    assert {k: end[k] for k in ("step", "reason", "best_step", "best_loss")} == {
        k: last[k] for k in ("step", "reason", "best_step", "best_loss")
    }
    same_state(complete, cut)


def test_a_run_that_stopped_early_does_not_train_on_when_resumed(training: Build) -> None:
    """Killed between its end and its artifacts, it makes the artifacts and nothing else."""
    run = training(training={"epochs": 30, "stop": {"target_loss": 4.0}})
    run.finish()
    first = run.events("finished")[0]
    assert first["reason"] == "target_loss"
    shutil.rmtree(run.run.artifacts_dir)
    run.finish(resume=True)
    again = run.events("finished")[-1]
    assert (again["step"], again["reason"]) == (first["step"], "target_loss")
    assert (run.run.artifacts_dir / "manifest.json").is_file()


def test_a_started_run_is_not_started_again_by_mistake(training: Build) -> None:
    run = training().finish()
    before = run.tensors()
    assert run.go() == 2
    assert "--resume" in run.log.read_text()
    assert run.tensors().keys() == before.keys()


def test_changed_data_is_refused_on_resume(training: Build, rows_file: Any, tmp_path: Any) -> None:
    copy = tmp_path / "rows.jsonl"
    shutil.copy(rows_file, copy)
    run = training(data={"train": [{"dataset": str(copy)}]})
    assert run.go(fault="kill@step:5") == KILLED
    copy.write_text(copy.read_text().replace("What is 3", "What was 3"))
    assert run.go(resume=True) == 2
    assert run.events("failed")[-1]["code"] == "data_changed"


def test_a_limit_far_above_the_longest_row_does_not_stand_in_the_way(training: Build) -> None:
    """What `auto` was decided to is written down, and has to be accepted when it is read again."""
    run = training(data={"max_length": 8192}, training={"micro_batch_tokens": "auto"})
    assert run.go(fault="kill@step:5") == KILLED
    run.finish(resume=True)


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_rounded_model_resumes_to_the_same_bits(
    training: Build, whole: Build, same_state: Build, kind: str
) -> None:
    """bfloat16 with exact weights beside it, or with float32 adapters above it."""
    changes = {"adapter": {"kind": kind}, "model": {"dtype": "bfloat16"}}
    complete = whole(**changes)
    losses = list(complete.losses().values())
    assert losses[-1] < losses[0] - 0.2
    cut = training("cut", **changes)
    assert cut.go(fault="kill@step:8") == KILLED
    cut.finish(resume=True)
    same_state(complete, cut)
