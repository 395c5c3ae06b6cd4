"""What a run survives, and what it says when it does not."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from tunesmith.runs import write_control

pytestmark = pytest.mark.slow  # each test runs whole trainings
Build = Callable[..., Any]
GENTLE = {"learning_rate": 1e-3, "micro_batch_tokens": 400}


def test_out_of_memory_halves_the_micro_batch_and_changes_nothing_else(
    training: Build, whole: Build
) -> None:
    complete = whole(training=GENTLE)
    run = training("run", training=GENTLE).finish(fault="oom@gradients:4")
    (warning,) = (e for e in run.events("warning") if e["code"] == "out_of_memory")
    assert "step 4" in warning["message"]
    assert "The result does not change" in warning["message"]
    assert "micro_batch_tokens" in warning["hint"]
    for (name, mine), theirs in zip(
        complete.tensors().items(), run.tensors().values(), strict=True
    ):
        if name.startswith("model"):
            assert torch.allclose(mine, theirs, atol=1e-5), name
    for step, loss in complete.losses().items():
        assert run.losses()[step] == pytest.approx(loss, abs=1e-5)
    assert len(run.row_losses()) == len(complete.row_losses())


def test_out_of_memory_twice_ends_the_run_with_advice(training: Build) -> None:
    run = training(training=GENTLE)
    assert run.go(fault="oom@gradients:4,oom@gradients:5") == 1
    (failed,) = run.events("failed")
    assert failed["code"] == "out_of_memory"
    assert failed["step"] == 5
    assert "The checkpoint of step 3 is kept" in failed["message"]
    assert "activation_checkpointing" in failed["hint"]
    run.finish(resume=True)


def test_out_of_memory_ends_a_run_whose_weights_have_moved_within_the_step(training: Build) -> None:
    within = {"update_in_backward": True, "max_grad_norm": 0}
    run = training(training={**GENTLE, **within, "micro_batch_tokens": "auto"})
    assert run.go(fault="oom@gradients:4") == 1
    (failed,) = run.events("failed")
    assert (failed["code"], failed["form"], failed["step"]) == ("out_of_memory", "at_once", 4)
    assert "The checkpoint of step 3 is kept" in failed["message"]
    assert "training.batch_size" in failed["hint"]
    assert not [event for event in run.events("warning") if event["code"] == "out_of_memory"]
    run.finish(resume=True)


def test_out_of_memory_between_two_steps_names_the_step(training: Build) -> None:
    """Evaluations and checkpoints need memory too; nothing is tried again there."""
    run = training(training=GENTLE)
    assert run.go(fault="oom@step:5") == 1
    (failed,) = run.events("failed")
    assert (failed["code"], failed["step"]) == ("out_of_memory", 5)
    assert "Out of memory after step 5, outside the gradients" in failed["message"]
    assert "The checkpoint of step 3 is kept" in failed["message"]
    assert "micro_batch_tokens" in failed["hint"]


def test_a_loss_that_is_not_a_number_ends_the_run_with_step_and_rows(training: Build) -> None:
    run = training()
    assert run.go(fault="nan@loss:5") == 1
    (failed,) = run.events("failed")
    assert failed["code"] == "loss_not_finite"
    assert failed["step"] == 5
    assert len(failed["rows"]) == 4
    assert "rows.jsonl line" in failed["message"]
    assert "The checkpoint of step 3 is kept" in failed["message"]
    assert "learning_rate" in failed["hint"]
    assert "Traceback" not in failed["message"]
    assert [event["step"] for event in run.events("step")] == [1, 2, 3, 4]
    assert run.last_checkpoint().name == "step-000003"


def test_a_loss_that_is_not_a_number_reaches_no_checkpoint_by_updates_in_backward(
    training: Build,
) -> None:
    within = {"update_in_backward": True, "max_grad_norm": 0, "micro_batch_tokens": "auto"}
    run = training(training=within)
    assert run.go(fault="nan@loss:5") == 1
    (failed,) = run.events("failed")
    assert (failed["code"], failed["step"]) == ("loss_not_finite", 5)
    assert run.last_checkpoint().name == "step-000003"
    run.finish(resume=True)


def test_a_rate_that_is_far_too_high_never_reaches_the_weights(training: Build) -> None:
    """The same, without a fault on demand."""
    run = training(training={"learning_rate": 1.0, "epochs": 6, "max_grad_norm": 0})
    code = run.go()
    saved = [v for v in run.tensors().values() if v.is_floating_point()]
    assert all(v.isfinite().all() for v in saved)
    assert code == 0 or run.events("failed")[0]["code"] == "loss_not_finite"


@pytest.mark.parametrize(
    ("intent", "code", "last"), [("stop", 0, "finished"), ("cancel", 1, "failed")]
)
def test_a_request_is_obeyed_at_the_next_step(
    training: Build, intent: Any, code: int, last: str
) -> None:
    run = training(training={"epochs": 200, "checkpoint": {"every_steps": 1000}})
    pid = run.start()
    run.wait_for("step")
    write_control(run.run, intent, by="a test")
    assert run.wait(pid) == code
    end = run.events()[-1]
    assert end["type"] == last
    if intent == "stop":
        assert end["reason"] == "stopped"
        assert (run.run.artifacts_dir / "manifest.json").is_file()
        assert run.last_checkpoint().name == f"step-{end['step']:06d}"
    else:
        assert end["code"] == "cancelled"


def test_a_stop_before_the_first_step_still_ends_well(training: Build) -> None:
    run = training()
    write_control(run.run, "stop", by="a test")
    run.finish()
    assert run.events("finished")[0]["step"] == 0


def test_a_running_run_is_not_started_twice(training: Build) -> None:
    run = training(training={"epochs": 60})
    pid = run.start()
    run.wait_for("step")
    assert run.go(resume=True) == 2
    write_control(run.run, "stop", by="a test")
    assert run.wait(pid) == 0
    assert len(run.events("finished")) == 1


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"model": {"base": "no/such/folder/anywhere"}}, 2, "no/such/folder"),
        ({"data": {"train": [{"dataset": "missing.jsonl"}]}}, 2, "missing.jsonl"),
        ({"data": {"allow_small": False}}, 2, "26"),
        ({"adapter": {"kind": "lora", "targets": ["nothing_proj"]}}, 2, "nothing_proj"),
        ({"data": {"max_length": 8, "overlong": "drop"}}, 2, "overlong 26"),
    ],
    ids=["model", "data", "too-few", "target", "all-overlong"],
)
def test_wrong_input_ends_with_code_two_and_one_clear_event(
    training: Build, changes: dict[str, Any], code: int, says: str
) -> None:
    run = training(**changes)
    assert run.go() == code, run.log.read_text()
    (failed,) = run.events("failed")
    assert says in failed["message"]
    assert failed["hint"]
    assert run.events()[-1] == failed


@pytest.mark.skipif(find_spec("wandb") is not None, reason="the package is installed here")
def test_a_tracker_without_its_package_is_refused_before_the_start(training: Build) -> None:
    run = training(report={"tensorboard": False, "wandb": True})
    assert run.go() == 2
    assert "report.wandb: the package wandb is not installed" in run.log.read_text()
    assert not run.events("started")


def test_a_broken_tracker_does_not_stop_a_run(training: Build) -> None:
    run = training(report={"tensorboard": True})
    run.run.tensorboard_dir.write_text("in the way of its files")
    run.finish()
    assert [e["code"] for e in run.events("warning")].count("tracker_failed") == 1


@pytest.mark.parametrize("point", ["checkpoint-weights", "checkpoint-optimizer"])
def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint(
    training: Build, whole: Build, same_state: Build, point: str
) -> None:
    run = training()
    assert run.go(fault=f"full@{point}:6") == 1
    (failed,) = run.events("failed")
    assert failed["code"] == "disk_full"
    assert "resume the run" in failed["hint"]
    assert [path.name for path in run.run.checkpoints_dir.iterdir()] == ["step-000003"]
    run.finish(resume=True)
    same_state(whole(), run)


def test_a_damaged_best_checkpoint_is_not_the_result(training: Build, whole: Build) -> None:
    settings = {
        "epochs": 30,
        "learning_rate": 0.05,
        "evaluate": {"every_steps": 2},
        "stop": {"patience": 4, "restore_best": True},
    }
    (expected,) = whole(training=settings).events("finished")
    run = training(training=settings)
    assert run.go(fault=f"kill@step:{expected['step'] - 1}") == -9
    best = run.run.checkpoints_dir / f"step-{expected['best_step']:06d}"
    damaged = best / "model" / "model.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    run.finish(resume=True)
    (warning,) = (e for e in run.events("warning") if e["code"] == "best_checkpoint_broken")
    assert best.name in warning["message"]
    assert run.events("finished")[0]["best_step"] == expected["best_step"]
    exported = run.run.artifacts_dir / "model" / "model.safetensors"
    assert exported.read_bytes() != damaged.read_bytes()
