"""The parts of the loop that decide; whole trainings are in tests/integration."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tunesmith.data.batches import StepPlan
from tunesmith.engine.faults import Faults
from tunesmith.engine.loop import Parts, Trainer, checkpoints_of, is_out_of_memory
from tunesmith.engine.loss_scale import LossScale
from tunesmith.engine.optimizer import build_optimizer
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.row_losses import RowLosses
from tunesmith.engine.stages import LanguageStage
from tunesmith.engine.train import requests
from tunesmith.engine.weights import write_weights
from tunesmith.errors import RunFailed
from tunesmith.recipe import Recipe
from tunesmith.runs import EventWriter, RunDir, read_events, write_control

Build = Callable[..., Any]
CPU = torch.device("cpu")


@pytest.fixture
def trainer(tmp_path: Path, bench: Build, table_of: Build) -> Generator[Build]:
    """`trainer(max_steps=3)`: a loop over four rows; `events()` reads what it says."""
    writers: list[EventWriter] = []

    def build(
        *,
        faults: str = "",
        validation: Any = None,
        dtype: torch.dtype = torch.float32,
        **training: Any,
    ) -> Trainer:
        ours, table = bench("llama", dtype=dtype), table_of([9, 30, 12, 25])
        run = RunDir.create(tmp_path / "run", "name: test\n", recipe_name="test")
        recipe = Recipe.model_validate(
            {
                "model": {"base": "tiny"},
                "data": {"train": [{"dataset": "rows.jsonl"}]},
                "training": {
                    "epochs": 1,
                    "batch_size": 4,
                    "micro_batch_tokens": 2000,
                    "evaluate": {"every_steps": 1},
                    **training,
                },
            }
        )
        writers.append(EventWriter(run, 1))
        settings = recipe.training
        plan = StepPlan(
            np.arange(4), table.lengths, batch_size=settings.batch_size, batch_tokens=None,
            epochs=settings.epochs, max_steps=settings.max_steps, seed=settings.seed,
        )  # fmt: skip
        parts = Parts(
            recipe=recipe, run=run, model=ours.model, backbone=ours.backbone,
            refresh=ours.backbone.refresh,
            head=replace(ours.head, loss_scale=LossScale.of(settings.loss_scale, dtype)),
            stage=LanguageStage(),
            arena=ours.arena, optimizer=build_optimizer(ours.arena, settings.optimizer),
            plan=plan, table=table, validation=validation, validation_stage=LanguageStage(),
            dropout=ours.dropout, device=CPU,
            row_losses=RowLosses(table, plan.num_epochs), ranks=Ranks(),
            reporter=Reporter(writers[-1]), faults=Faults(faults),
            write_weights=lambda path: write_weights(ours.model, path), wanted=lambda: None,
        )  # fmt: skip
        return Trainer(parts)

    yield build
    for writer in writers:
        writer.close()


def events(made: Trainer, kind: str) -> list[dict[str, Any]]:
    found, _ = read_events(made.parts.run.events_path)
    return [event for event in found if event["type"] == kind]


def test_loss_and_accuracy_of_a_step_are_those_of_its_labels(trainer: Build, plain: Build) -> None:
    made = trainer()
    made.fit()
    (step,) = events(made, "step")
    model, table = plain("llama"), made.parts.table
    logits, labels = [], []
    with torch.no_grad():
        for row in range(4):
            ids, targets = (torch.from_numpy(x.astype(np.int64)) for x in table.row(row))
            logits.append(model(ids[None]).logits[0, :-1][targets[1:] == 1])
            labels.append(ids[1:][targets[1:] == 1])
    whole, wanted = torch.cat(logits), torch.cat(labels)
    assert step["loss"] == pytest.approx(float(F.cross_entropy(whole, wanted)), rel=1e-6)
    accuracy = float((whole.argmax(-1) == wanted).float().mean())
    assert step["token_accuracy"] == pytest.approx(accuracy)
    assert step["label_tokens"] == len(wanted)
    assert step["tokens"] == 76
    assert sorted(step["rows"]) == [0, 1, 2, 3]


def test_evaluation_does_not_depend_on_the_micro_batch(trainer: Build, table_of: Build) -> None:
    made = trainer(validation=table_of([40, 8, 70], seed=9))
    made._evaluate()
    made._micro_batch_tokens = 64
    made._evaluate()
    first, second = events(made, "evaluation")
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-6)
    assert first["token_accuracy"] == second["token_accuracy"]
    assert first["rows"] == 3


def test_evaluation_leaves_no_trace_in_gradients_and_weights(
    trainer: Build, table_of: Build
) -> None:
    made = trainer(validation=table_of([40, 8], seed=9))
    before = [group.flat.clone() for group in made.parts.arena.groups]
    made._evaluate()
    for group, values in zip(made.parts.arena.groups, before, strict=True):
        assert torch.equal(group.flat, values)
        assert not group.grad.any()


def test_memory_is_tried_once_more_with_half(trainer: Build) -> None:
    made = trainer(faults="oom@gradients:1")
    made.fit()
    # The step has 76 tokens, so half of 2000 would be the same micro-batch again.
    assert made._micro_batch_tokens == 64
    assert [event["code"] for event in events(made, "warning")] == ["out_of_memory"]
    assert [event["step"] for event in events(made, "step")] == [1]


def test_memory_that_is_still_short_ends_the_run(trainer: Build) -> None:
    made = trainer(faults="oom@gradients:1,oom@gradients:2", batch_size=2)
    with pytest.raises(RunFailed, match="Out of memory at step 2") as caught:
        made.fit()
    assert caught.value.code == "out_of_memory"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_never_reach_the_weights(
    trainer: Build, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    made = trainer()
    before = [group.flat.clone() for group in made.parts.arena.groups]
    monkeypatch.setattr(made.parts.arena, "clip", lambda _: torch.tensor(value))
    with pytest.raises(RunFailed, match="Gradient norm became") as caught:
        made.fit()
    assert caught.value.details["rows"]
    for group, values in zip(made.parts.arena.groups, before, strict=True):
        assert torch.equal(group.flat, values)


def test_a_step_that_overflows_moves_nothing_and_halves_the_scale(trainer: Build) -> None:
    """The first gradients do not fit float16 at this scale; the schedule goes on all the same."""
    made = trainer(
        **{"dtype": torch.float16, "batch_size": 1, "schedule": {"warmup_ratio": 0.5}},
        loss_scale={"initial": 2**24, "growth_steps": 100},
    )
    before = [group.flat.clone() for group in made.parts.arena.groups]
    steps = list(made.parts.plan.steps())
    made._train_step(steps[0])
    for group, values in zip(made.parts.arena.groups, before, strict=True):
        assert torch.equal(group.flat, values)
    assert not made.parts.optimizer.param_groups[0]["params"][0].grad.isfinite().all()
    for step in steps[1:]:
        made._train_step(step)
    told = events(made, "step")
    assert told[0]["grad_norm"] is None
    assert np.isfinite(told[0]["loss"])
    assert [event["learning_rate"] for event in told[:2]] == pytest.approx([5e-5, 1e-4])
    skipped = [event for event in told if event["grad_norm"] is None]
    assert told[-1]["skipped_steps"] == len(skipped)
    assert told[-1]["loss_scale"] == 2.0 ** (24 - len(skipped))
    warnings = events(made, "warning")
    assert [event["code"] for event in warnings] == ["step_skipped"] * len(skipped)


def test_the_scale_grows_after_clean_steps_and_is_kept_with_the_state(trainer: Build) -> None:
    made = trainer(
        **{"dtype": torch.float16, "batch_size": 1, "epochs": 2, "max_steps": 5},
        loss_scale={"initial": 64, "growth_steps": 2},
    )
    made.fit()
    told = [event["loss_scale"] for event in events(made, "step")]
    assert told == [64, 128, 128, 256, 256]
    kept = made.state.scaling
    assert kept == {"value": 256, "clean_steps": 1, "skipped_steps": 0}
    scale = LossScale(64, 2)
    scale.restore(kept)
    assert scale == made.parts.head.loss_scale


def test_gradients_that_overflow_without_any_scale_end_the_run(trainer: Build) -> None:
    made = trainer(dtype=torch.float16, loss_scale={"initial": 1})
    made.parts.arena.groups[0].flat.grad.fill_(float("inf"))
    made.parts.arena.zero_grad = lambda: None
    with pytest.raises(RunFailed, match="Gradient norm became inf"):
        made.fit()


def test_the_norm_and_clipping_are_of_unscaled_gradients(trainer: Build) -> None:
    short = trainer(dtype=torch.float16, loss_scale={"initial": 1024})
    short.fit()
    (step,) = events(short, "step")
    clipped = torch.cat([group.grad for group in short.parts.arena.groups]).norm()
    assert float(clipped) == pytest.approx(1.0, rel=1e-4)
    assert step["grad_norm"] > 1
    whole = short_of_scale(trainer, short)
    assert step["grad_norm"] == pytest.approx(whole, rel=1e-2)


def short_of_scale(trainer: Build, other: Trainer) -> float:
    """The gradient norm of the same step in float32."""
    other.parts.run.path.rename(other.parts.run.path.with_name("short"))
    made = trainer()
    made.fit()
    (step,) = events(made, "step")
    return float(step["grad_norm"])


def test_errors_of_memory_are_told_from_others() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    allocator = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    assert is_out_of_memory(RuntimeError(allocator))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_a_failed_run_says_what_it_has_kept(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", "name: test\n", recipe_name="test")
    assert checkpoints_of(run) == "No checkpoint had been saved."
    (run.checkpoints_dir / "step-000012").mkdir()
    assert "The checkpoint of step 12 is kept" in checkpoints_of(run)


@pytest.fixture
def signals_as_before() -> Generator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals_as_before")
def test_a_signal_means_pause_unless_a_request_says_otherwise(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", "name: test\n", recipe_name="test")
    wanted = requests(run)
    assert wanted() is None
    os.kill(os.getpid(), signal.SIGTERM)
    assert wanted() == "pause"
    write_control(run, "stop", by="a test")
    assert wanted() == "stop"


def test_faults_happen_once_at_their_place() -> None:
    faults = Faults("nan@loss:5,oom@gradients:2,nonsense")
    assert faults.at("loss", 4) is None
    assert faults.at("step", 5) is None
    assert faults.at("loss", 5) == "nan"
    assert faults.at("loss", 5) is None
    with pytest.raises(torch.OutOfMemoryError):
        faults.at("gradients", 2)
    assert faults.at("gradients", 2) is None
    assert Faults("").at("loss", 5) is None
