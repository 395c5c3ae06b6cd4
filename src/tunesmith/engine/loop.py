"""The training loop: one visible column from the first step to the last. Read `Trainer.fit` first.

The mathematics of a step does not depend on how it is computed: the losses of all its rows are
summed over the number of all its targets, whatever the micro-batches and processes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tunesmith.data.batches import Rows, Step, StepPlan, share_of_rank
from tunesmith.data.table import TokenTable
from tunesmith.engine import checkpoint as checkpoints
from tunesmith.engine.arena import Arena
from tunesmith.engine.checkpoint import LoopState
from tunesmith.engine.dropout import DropoutKeys, set_training
from tunesmith.engine.faults import Faults
from tunesmith.engine.fused import Backbone, FusedDecoder
from tunesmith.engine.head import Head
from tunesmith.engine.learning import Learning
from tunesmith.engine.optimizer import Optimizers, set_rate
from tunesmith.engine.process import memory_in_use, utilisation
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.row_losses import RowLosses
from tunesmith.engine.schedule import learning_rate_factor
from tunesmith.engine.stages.stage import Stage, Totals
from tunesmith.engine.step_work import StepSums, StepWork
from tunesmith.errors import RunFailed
from tunesmith.recipe import Recipe
from tunesmith.runs import RunDir

RATE_WINDOW = 20  # steps over which speed and remaining time are averaged
SMALLEST_MICRO_BATCH = 64  # tokens


@dataclass
class Parts:
    """What a training consists of, built in order by `train`."""

    recipe: Recipe  # resolved: nothing is `auto` any more
    run: RunDir
    model: nn.Module
    backbone: Backbone
    refresh: Callable[[], None]  # tells the backbone that weights have moved
    head: Head
    stage: Stage
    arena: Arena
    optimizer: Optimizers
    plan: StepPlan
    table: TokenTable
    validation: TokenTable | None
    validation_stage: Stage
    row_losses: RowLosses
    dropout: DropoutKeys
    device: torch.device
    ranks: Ranks
    reporter: Reporter
    faults: Faults
    write_weights: Callable[[Path], None]
    wanted: Callable[[], str | None]  # the request of a user or a signal: pause, stop, cancel
    learning: Learning | None = None  # None where the same weights learn in all steps


@dataclass
class StepResult:
    """Sums over a step, on the device until they are reported."""

    sums: StepSums
    totals: Totals
    tokens: int
    targets: int
    grad_norm: Tensor | None = None
    overflowed: bool = False  # in float16, which a smaller loss scale may mend
    metrics: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Outcome:
    """How a training ended: `finished` with a reason, or `paused`, or `cancelled`."""

    status: str
    reason: str
    state: LoopState
    exported_step: int = 0  # of the weights that the model holds now


class Trainer:
    """Runs the steps of a plan; owns the state that a checkpoint saves."""

    def __init__(self, parts: Parts, state: LoopState | None = None) -> None:
        self.parts = parts
        self.state = state or LoopState()
        self._loss_scale = parts.head.loss_scale
        self._loss_scale.restore(self.state.scaling)
        self._settings = parts.recipe.training
        assert isinstance(self._settings.micro_batch_tokens, int)
        self._micro_batch_tokens: int = self._settings.micro_batch_tokens
        self._retried = False
        self._speed: deque[tuple[float, int, int]] = deque(maxlen=RATE_WINDOW)
        self._saved_step = self.state.step

    def fit(self) -> Outcome:
        """Train to the end, or to a request to stop; returns how it ended."""
        parts, state = self.parts, self.state
        if state.step == 0:
            self._evaluate()
        reason = self._reason_to_stop()  # a resumed run may have been at its end
        steps = parts.plan.steps(after=state.step)
        while reason is None and (step := next(steps, None)) is not None:
            wanted = parts.ranks.from_first(parts.wanted())
            if wanted is not None:
                return self._interrupted(wanted)
            self._train_step(step)
            reason = self._reason_to_stop()
        return self._finished(reason or "done")

    # ------------------------------------------------------------ one step

    def _train_step(self, step: Step) -> None:
        """Forward, backward, update, and the report of one step."""
        parts, state = self.parts, self.state
        started = time.perf_counter()
        parts.faults.at("before-step", step.number)
        self._take_turn(step)
        step = self._begun(step)
        rate = self._settings.learning_rate * learning_rate_factor(
            self._settings.schedule, step.number, parts.plan.total_steps
        )
        set_rate(parts.optimizer, rate)  # before the gradients: a layer may be updated among them
        result = self._gradients(step)
        parts.arena.divide(self._loss_scale.value)
        result.grad_norm = parts.arena.clip(self._settings.max_grad_norm)
        loss = self._checked_loss(step, result)
        if result.overflowed:
            self._skip(step)
        else:
            self._update()
        seconds = time.perf_counter() - started
        state.step = step.number
        state.tokens += result.tokens
        state.seconds += seconds
        state.recent_loss = loss
        self._speed.append((seconds, result.tokens, result.targets))
        if step.number % self._settings.log_every_steps == 0 or step.number == 1:
            self._report(step, result, rate)
        parts.faults.at("step", step.number)
        self._periodic_work(step)

    def _update(self) -> None:
        """Move the weights by their gradients."""
        parts = self.parts
        parts.optimizer.step()
        parts.arena.publish()
        parts.refresh()
        self._loss_scale.passed()

    def _skip(self, step: Step) -> None:
        """Leave weights and moments as they are; rows and schedule go on as if they had moved."""
        before, scale = self._loss_scale.value, self._loss_scale
        scale.overflowed()
        self.parts.reporter.warn(
            "step_skipped",
            f"Gradients of step {step.number} were too large for float16: its update is left out, "
            f"and the loss scale goes from {before:g} to {scale.value:g}. Left out so far: "
            f"{scale.skipped_steps}.",
            "A few at the start and one now and then are usual; for more write model.dtype: "
            "bfloat16 or float32.",
        )

    def _take_turn(self, step: Step) -> None:
        """Let the weights of this step learn, where they are not those of the step before."""
        parts, learning = self.parts, self.parts.learning
        if learning is not None and learning.enter(step.number):
            parts.arena, parts.optimizer = learning.arena, learning.optimizer
            if isinstance(parts.backbone, FusedDecoder):  # modules look their weights up each time
                parts.backbone.rebind()

    def _begun(self, step: Step) -> Step:
        """The step with the rows that it learns from; a loop with rollouts writes them here."""
        return step

    def _gradients(self, step: Step) -> StepResult:
        """Gradients of a step; out of memory is tried once more with half the micro-batch."""
        try:
            return self._accumulate(step)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._shrink(step, error)
        if self.parts.device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            return self._accumulate(step)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise self._out_of_memory(step) from error
            raise

    def _accumulate(self, step: Step) -> StepResult:
        """Sum the gradients of all micro-batches of this process, then over all processes."""
        parts = self.parts
        parts.faults.at("gradients", step.number)
        parts.arena.zero_grad()
        set_training(parts.model, True)
        lengths = parts.table.lengths
        work = self._work(parts.table, step.rows, step.number)
        totals = parts.stage.totals(parts.table, step.rows)
        totals = parts.stage.prepare(parts.backbone, parts.head, work, totals)
        sums = StepSums(parts.stage.names, parts.device)
        row_losses: list[tuple[Rows, Tensor]] = []
        for rows in work.groups():
            batch = parts.stage.batch(parts.table, rows, parts.device)
            work.set_keys(batch)
            found = parts.stage.loss(parts.backbone, parts.head, batch, totals)
            self._loss_scale.backward(found.loss)
            sums.add(found.sums)
            row_losses.append((rows, found.row_losses_B))
        parts.ranks.sum([group.grad for group in parts.arena.groups])
        sums.over_all(parts.ranks)
        self._record_rows(step, row_losses)
        targets = int(parts.table.label_counts[step.rows].sum())
        return StepResult(sums, totals, int(lengths[step.rows].sum()), targets)

    def _work(self, table: TokenTable, rows: Rows, step: int) -> StepWork:
        """This process's share of a step."""
        parts = self.parts
        ranks = parts.ranks
        mine = share_of_rank(rows, table.lengths, ranks.rank, ranks.world_size)
        budget = self._micro_batch_tokens
        return StepWork(table, mine, step, parts.device, budget, parts.dropout, ranks)

    def _record_rows(self, step: Step, losses: list[tuple[Rows, Tensor]]) -> None:
        """The mean loss of every row of the step, those of the other processes included."""
        parts, rows = self.parts, np.unique(step.rows)
        sums = torch.zeros(2, len(rows), device=parts.device)  # loss, and how often it was met
        for met, loss in losses:
            places = torch.from_numpy(np.searchsorted(rows, met)).to(parts.device)
            sums.index_add_(1, places, torch.stack([loss, torch.ones_like(loss)]))
        parts.ranks.sum([sums])
        total, times = sums.cpu().numpy()
        parts.row_losses.record(step.epoch, rows, total / np.maximum(times, 1))

    def _checked_loss(self, step: Step, result: StepResult) -> float:
        """The mean loss; NaN or infinity ends the run before it can reach the weights.

        Gradients of float16 that overflowed are told in `result` while a smaller scale may help.
        """
        assert result.grad_norm is not None
        sums, (norm,) = result.sums.values(result.grad_norm)
        result.metrics = self.parts.stage.metrics(sums, result.totals)
        loss = result.metrics["loss"]
        if self.parts.faults.at("loss", step.number) == "nan":
            loss = float("nan")
        result.overflowed = not np.isfinite(norm) and self._loss_scale.can_fall
        if np.isfinite(loss) and (np.isfinite(norm) or result.overflowed):
            return loss
        what = f"Loss became {loss}" if not np.isfinite(loss) else f"Gradient norm became {norm}"
        lines = [self._place(int(row)) for row in step.rows]
        shown = ", ".join(lines[:8]) + (f" and {len(lines) - 8} more" if len(lines) > 8 else "")
        kept = checkpoints_of(self.parts.run)
        raise RunFailed(
            f"{what} at step {step.number}. Rows of that step: {shown}. {kept}",
            hint="Lower training.learning_rate (a tenth is a good try) or training.max_grad_norm, "
            "lengthen training.schedule.warmup_ratio, use dtype bfloat16 or float32, and look at "
            "these rows.",
            code="loss_not_finite",
            places=shown,
            step=step.number,
            rows=[int(row) for row in step.rows],
        )

    def _place(self, row: int) -> str:
        table = self.parts.table
        return f"{table.source_names[int(table.sources[row])]} line {int(table.lines[row])}"

    def _shrink(self, step: Step, error: RuntimeError) -> None:
        if self._settings.update_in_backward:  # weights may have moved
            raise self._out_of_memory_at_once(step) from error
        if self._retried or self._micro_batch_tokens <= SMALLEST_MICRO_BATCH:
            raise self._out_of_memory(step) from error
        before, self._retried = self._micro_batch_tokens, True
        # A micro-batch is never larger than its step, so half of that is what helps.
        largest = int(self.parts.table.lengths[step.rows].sum())
        self._micro_batch_tokens = max(SMALLEST_MICRO_BATCH, min(before, largest) // 2)
        self.parts.reporter.warn(
            "out_of_memory",
            f"Out of memory at step {step.number}: micro-batch {before} -> "
            f"{self._micro_batch_tokens} tokens, the step is computed again. The result does not "
            "change.",
            f"Set training.micro_batch_tokens to {self._micro_batch_tokens} to start with that.",
        )

    def _out_of_memory(self, step: Step) -> RunFailed:
        return RunFailed(
            f"Out of memory at step {step.number}, also with micro-batches of "
            f"{self._micro_batch_tokens} tokens. {checkpoints_of(self.parts.run)}",
            hint="Lower data.max_length or training.micro_batch_tokens, set "
            "training.activation_checkpointing: full, train an adapter instead of all weights "
            "(adapter.kind: lora), or take a smaller model.",
            code="out_of_memory",
            step=step.number,
        )

    def _out_of_memory_at_once(self, step: Step) -> RunFailed:
        return RunFailed(
            f"Out of memory at step {step.number}, which training.update_in_backward computes at "
            f"once. {checkpoints_of(self.parts.run)}",
            hint="Lower training.batch_size or data.max_length, set "
            "training.activation_checkpointing: full, or take a smaller model.",
            code="out_of_memory",
            form="at_once",
            step=step.number,
        )

    # ------------------------------------------------------------ what happens between steps

    def _report(self, step: Step, result: StepResult, rate: float) -> None:
        parts = self.parts
        seconds = sum(entry[0] for entry in self._speed)
        speed = sum(entry[1] for entry in self._speed) / seconds
        assert result.grad_norm is not None
        parts.reporter.emit(
            "step",
            step=step.number,
            total_steps=parts.plan.total_steps,
            epoch=round(parts.plan.progress(step), 4),
            **result.metrics,
            learning_rate=rate,
            grad_norm=float(result.grad_norm),
            tokens=result.tokens,
            label_tokens=result.targets,
            tokens_per_second=round(speed, 1),
            throughput=round(speed / parts.ranks.world_size, 1),
            memory_bytes=memory_in_use(parts.device),
            utilisation=utilisation(parts.device),
            seconds=self._speed[-1][0],
            eta_seconds=round(
                seconds / len(self._speed) * (parts.plan.total_steps - step.number), 1
            ),
            rows=self._told_rows(step),
            **self._told_scale(),
        )

    def _told_scale(self) -> dict[str, float]:
        """Of a training in float16, for the event of a step."""
        scale = self._loss_scale
        if not scale.is_on:
            return {}
        return {"loss_scale": scale.value, "skipped_steps": scale.skipped_steps}

    def _told_rows(self, step: Step) -> list[int]:
        """Rows of the training data, for the event of a step."""
        return [int(row) for row in step.rows]

    def _measured(self, table: TokenTable) -> dict[str, float]:
        """The metrics of the stage on all rows of a table."""
        parts, stage = self.parts, self.parts.validation_stage
        rows = np.arange(len(table), dtype=np.int64)
        work = self._work(table, rows, self.state.step)
        totals = stage.totals(table, rows)
        totals = stage.prepare(parts.backbone, parts.head, work, totals)
        sums = StepSums(stage.names, parts.device)
        groups = work.groups()
        for number, group in enumerate(groups):
            batch = stage.batch(table, group, parts.device)
            sums.add(stage.loss(parts.backbone, parts.head, batch, totals).sums)
            if len(groups) > 1:
                parts.reporter.progress("evaluate", number + 1, len(groups), "micro-batches")
        sums.over_all(parts.ranks)
        values, _ = sums.values()
        return stage.metrics(values, totals)

    def _periodic_work(self, step: Step) -> None:
        every = self._settings.evaluate.every_steps
        assert isinstance(every, int)
        last = step.number == self.parts.plan.total_steps
        improved = False
        if step.number % every == 0 or last:
            improved = self._evaluate()
        if improved or step.number % self._settings.checkpoint.every_steps == 0:
            self._save()

    @torch.no_grad()
    def _evaluate(self) -> bool:
        """The metrics of the stage on the validation rows; True when they are the best so far."""
        parts, state, table = self.parts, self.state, self.parts.validation
        if table is None:
            return False
        set_training(parts.model, False)
        metrics = self._measured(table)
        value = self._settings.stop.value_of(metrics)
        best = state.best_value is None or value < state.best_value
        if best:
            state.best_value, state.best_loss = value, metrics["loss"]
            state.best_step, state.evaluations_without_gain = state.step, 0
        else:
            state.evaluations_without_gain += 1
        parts.reporter.emit(
            "evaluation",
            step=state.step,
            **metrics,
            rows=len(table),
            tokens=int(table.lengths.sum()),
            best=best,
        )
        return best and state.step > 0 and self._settings.stop.restore_best

    def _save(self) -> None:
        """A checkpoint of this step, once."""
        parts, state = self.parts, self.state
        if self._saved_step == state.step:
            return
        if parts.ranks.is_first:
            parts.reporter.progress("save", 0, 1, "checkpoint")
            # The record first: with the checkpoint these rows are not met again.
            parts.row_losses.write(parts.run.data_dir / "row_losses.parquet")
            state.scaling = self._loss_scale.state()
            path = checkpoints.save_checkpoint(
                parts.run, state, parts.arena, parts.optimizer, parts.write_weights, parts.faults
            )
            checkpoints.remove_old_checkpoints(
                parts.run, self._settings.checkpoint.keep, state.best_step
            )
            parts.reporter.emit(
                "checkpoint",
                step=state.step,
                path=str(path.relative_to(parts.run.path)),
                best=state.best_step == state.step,
            )
            parts.reporter.sync()
        parts.ranks.wait()
        self._saved_step = state.step

    def _reason_to_stop(self) -> str | None:
        """Why training ends before its last step, or None."""
        state, stop = self.state, self._settings.stop
        if state.step == 0:
            return None
        if stop.patience is not None and state.evaluations_without_gain >= stop.patience:
            return "patience"
        if stop.target_loss is not None:
            watched = state.recent_loss if self.parts.validation is None else state.best_loss
            if watched is not None and watched <= stop.target_loss:
                return "target_loss"
        if state.step == self.parts.plan.total_steps and self._cut_by_max_steps():
            return "max_steps"
        return None

    def _cut_by_max_steps(self) -> bool:
        return self._settings.max_steps == self.parts.plan.total_steps

    # ------------------------------------------------------------ endings

    def _interrupted(self, wanted: str) -> Outcome:
        if wanted == "cancel":
            return Outcome("cancelled", "cancelled", self.state)
        self._save()
        if wanted == "stop":
            return self._finished("stopped")
        self.parts.reporter.emit("paused", step=self.state.step)
        return Outcome("paused", "paused", self.state)

    def _finished(self, reason: str) -> Outcome:
        """Save the last state, and put the best weights in place where that is wanted."""
        parts, state = self.parts, self.state
        self._save()
        best = state.best_step
        if not self._settings.stop.restore_best or best is None or not 0 < best < state.step:
            return Outcome("finished", reason, state, state.step)
        path = checkpoints.checkpoint_path(parts.run, best)
        if not checkpoints.is_whole(path):
            parts.reporter.warn(
                "best_checkpoint_broken",
                f"{path.name}, the best one, is damaged or missing: the result is step "
                f"{state.step} instead.",
            )
            return Outcome("finished", reason, state, state.step)
        checkpoints.load_weights(path, parts.model)
        parts.refresh()
        return Outcome("finished", reason, state, best)


def is_out_of_memory(error: BaseException) -> bool:
    """True for the errors that torch raises when a device or the machine has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def checkpoints_of(run: RunDir) -> str:
    """A sentence that says what a failed run has kept."""
    from tunesmith.runs import checkpoints as saved

    steps = [checkpoint.step for checkpoint in saved(run)]
    if not steps:
        return "No checkpoint had been saved."
    return f"The checkpoint of step {steps[-1]} is kept in {run.checkpoints_dir.name}/."
