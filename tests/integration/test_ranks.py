"""Two processes train what one process trains."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow  # each test runs whole trainings
Build = Callable[..., Any]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def go_together(
    run: Any, *, world_size: int = 2, resume: bool = False, fault: str = ""
) -> list[int]:
    """Start a process a rank, as torchrun does; returns all exit codes."""
    together = {
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }
    pids = [
        run.start(resume=resume, fault=fault, RANK=str(rank), LOCAL_RANK=str(rank), **together)
        for rank in range(world_size)
    ]
    return [run.wait(pid) for pid in pids]


def assert_close(one: Any, other: Any, tolerance: float = 1e-5) -> None:
    mine, theirs = one.tensors(), other.tensors()
    assert mine.keys() == theirs.keys()
    for name in mine:
        if "optimizer" not in name:
            assert torch.allclose(mine[name], theirs[name], atol=tolerance), name
    assert one.losses().keys() == other.losses().keys()
    for step, loss in one.losses().items():
        assert loss == pytest.approx(other.losses()[step], abs=tolerance), step


@pytest.mark.parametrize("world_size", [2, 3])
def test_several_processes_equal_one(
    training: Build, whole: Build, adapter: dict[str, Any], world_size: int
) -> None:
    """DDP2 = one device; dropout included. Three processes have shares of unequal size."""
    settings = {"learning_rate": 1e-3}
    alone = whole(adapter=adapter, training=settings)
    together = training("together", adapter=adapter, training=settings)
    assert go_together(together, world_size=world_size) == [0] * world_size, (
        together.log.read_text()
    )
    assert_close(alone, together)
    assert [e["loss"] for e in together.events("evaluation")] == pytest.approx(
        [e["loss"] for e in alone.events("evaluation")], abs=1e-5
    )
    mine, theirs = alone.row_losses(), together.row_losses()
    assert [(r["epoch"], r["row"]) for r in mine] == [(r["epoch"], r["row"]) for r in theirs]
    assert [r["loss"] for r in mine] == pytest.approx([r["loss"] for r in theirs], abs=1e-4)
    assert len(together.events("started")) == 1
    assert len(together.events("finished")) == 1


@pytest.mark.parametrize("name", ["badam", "float16"])
def test_several_processes_agree_on_who_learns_and_what_is_left_out(
    training: Build, whole: Build, name: str
) -> None:
    changes: dict[str, Any] = {
        "badam": {"training": {"optimizer": {"kind": "badam", "block_switch_steps": 2}}},
        # The first gradients overflow at this scale.
        "float16": {"model": {"dtype": "float16"}, "training": {"loss_scale": {"initial": 2**22}}},
    }[name]
    changes["training"] |= {"learning_rate": 1e-3, "max_steps": 6}
    alone = whole(**changes)
    together = training("together", **changes)
    assert go_together(together) == [0, 0], together.log.read_text()
    assert_close(alone, together, 1e-5 if name == "badam" else 5e-3)
    skipped = [
        [event["step"] for event in run.events("step") if event["grad_norm"] is None]
        for run in (alone, together)
    ]
    assert skipped[0] == skipped[1]
    assert bool(skipped[0]) == (name == "float16")


def test_a_step_with_fewer_rows_than_processes_is_trained(training: Build, whole: Build) -> None:
    settings = {"batch_size": 1, "max_steps": 3, "learning_rate": 1e-3}
    alone = whole(training=settings)
    together = training("together", training=settings)
    assert go_together(together) == [0, 0], together.log.read_text()
    assert_close(alone, together)


def test_a_run_may_go_on_with_another_number_of_processes(training: Build, whole: Build) -> None:
    """X6: the run may resume on a different number of devices."""
    settings = {"learning_rate": 1e-3}
    alone = whole(training=settings)
    changed = training("changed", training=settings)
    assert go_together(changed, fault="kill@step:5") == [-signal.SIGKILL] * 2
    changed.finish(resume=True)
    assert_close(alone, changed)
    assert changed.events("started")[-1]["resumed_from_step"] == 3


def test_a_loss_that_is_not_a_number_ends_every_process(training: Build) -> None:
    run = training()
    assert go_together(run, fault="nan@loss:5") == [1, 1]
    assert [event["code"] for event in run.events("failed")] == ["loss_not_finite"]


def test_running_out_of_memory_is_mended_in_every_process(training: Build, whole: Build) -> None:
    settings = {"learning_rate": 1e-3, "micro_batch_tokens": 256}
    alone = whole(training=settings)
    together = training("together", training=settings)
    assert go_together(together, fault="oom@gradients:4") == [0, 0], together.log.read_text()
    assert_close(alone, together)


def test_resuming_together_is_bitwise_never_having_stopped(
    training: Build, same_state: Build
) -> None:
    whole, cut = training("whole"), training("cut")
    assert go_together(whole) == [0, 0]
    assert go_together(cut, fault="kill@step:8") == [-signal.SIGKILL] * 2
    assert go_together(cut, resume=True) == [0, 0]
    same_state(whole, cut)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_several_processes_with_a_quantised_base_equal_one(
    training: Build, whole: Build, kind: str
) -> None:
    changes = {
        "model": {"quantization": kind},
        "adapter": {"kind": "lora", "rank": 4, "dropout": 0.1},
        "training": {"learning_rate": 1e-3},
    }
    alone, together = whole(**changes), training("together", **changes)
    assert go_together(together) == [0, 0], together.log.read_text()
    assert_close(alone, together)
    assert sum(alone.losses().values()) != sum(whole(**{**changes, "model": {}}).losses().values())
