"""The stage of a training, put together from the recipe, its rows and its model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.batches import Rows, StepPlan
from tunesmith.data.prepare import Prepared
from tunesmith.data.table import TokenTable
from tunesmith.engine.batch import FlatBatch, flat_batch
from tunesmith.engine.fused import Backbone
from tunesmith.engine.head import Head
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reference import (
    AdapterOff,
    Computing,
    Reference,
    cached_reference,
    document_log_probs,
)
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.rollouts import Answer, answers_table
from tunesmith.engine.stages import (
    CpoStage,
    DpoStage,
    KtoStage,
    LanguageStage,
    OrpoStage,
    PolicyStage,
    RewardStage,
    SimpoStage,
    Stage,
)
from tunesmith.engine.stages.kto import with_borrowed
from tunesmith.engine.stages.policy import Rollouts
from tunesmith.errors import RecipeError
from tunesmith.recipe import Cpo, Dpo, Grpo, Kto, Orpo, Pretrain, Recipe, Reward, Sft, Simpo
from tunesmith.recipe import Stage as AnySettings
from tunesmith.recipe.adapters import starts_as_base
from tunesmith.runs import RunDir


@dataclass(frozen=True)
class Stages:
    """The stage as it trains and as it is measured on the validation rows."""

    training: Stage
    validation: Stage


@dataclass(frozen=True)
class StageParts:
    """What building a stage takes; every `auto` of the recipe is decided."""

    recipe: Recipe
    run: RunDir
    model: Any
    backbone: Backbone
    head: Head
    prepared: Prepared
    plan: StepPlan
    ranks: Ranks
    device: torch.device
    reporter: Reporter

    def stages(self) -> Stages:
        """Build before a checkpoint is loaded: a reference is the model at its beginning."""
        table, held_out = self.prepared.train, self.prepared.validation
        training = self._stage(table, rows_met(self.plan, self.prepared), "train")
        if held_out is None:
            return Stages(training, training)
        everything = np.arange(len(held_out), dtype=np.int64)
        return Stages(training, self._stage(held_out, everything, "validation"))

    def _stage(self, table: TokenTable, rows: Rows, name: str) -> Stage:
        settings = self.recipe.stage
        if isinstance(settings, Dpo):
            return DpoStage(settings, self._reference(settings, table, rows, name))
        if isinstance(settings, Kto):
            good, limit = table.desirable.astype(bool), self.recipe.data.max_length
            reference = self._reference(settings, table, rows, name)
            return KtoStage(settings, reference, good, limit)
        return stage_without_reference(settings, table)

    def _reference(
        self, settings: Dpo | Kto, table: TokenTable, rows: Rows, name: str
    ) -> Reference:
        if settings.reference == "adapter_off":
            off = getattr(self.backbone, "adapters_off", self.model.disable_adapter)
            return AdapterOff(off)
        budget = self.recipe.training.micro_batch_tokens
        assert isinstance(budget, int)
        progress: Callable[[int, int], None] = partial(
            self.reporter.progress, "reference", unit="micro-batches"
        )
        work = Computing(self.backbone, self.head, self.ranks, self.device, budget, progress)
        batch_of, lengths = self._documents(table)
        return cached_reference(
            self.run.data_dir / f"reference-{name}.npz",
            f"{self.prepared.fingerprint}:{len(rows)}",
            lambda: work.table(lengths, rows, batch_of),
            self.ranks,
        )

    def _documents(self, table: TokenTable) -> tuple[Callable[[Rows], FlatBatch], Rows]:
        """What a reference is asked about, and about how long it is."""
        settings = self.recipe.stage
        if settings.kind == "kto" and settings.loss == "kto":
            limit = self.recipe.data.max_length
            joined = partial(with_borrowed, table, device=self.device, max_length=limit)
            return joined, 2 * table.lengths
        return lambda rows: flat_batch(table, rows.tolist(), self.device), table.lengths


def stage_without_reference(settings: AnySettings, table: TokenTable) -> Stage:
    """The stage of these settings, whose loss asks nobody else."""
    match settings:
        case Sft():
            return LanguageStage(label_smoothing=settings.label_smoothing)
        case Pretrain():
            return LanguageStage()
        case Simpo():
            return SimpoStage(settings)
        case Orpo():
            return OrpoStage(settings)
        case Cpo():
            return CpoStage(settings)
        case Reward():
            return RewardStage(settings, table.margins)
        case Grpo():
            return PolicyStage(settings)
        case _:
            raise AssertionError(settings)


def trial_answers(recipe: Recipe, prepared: Prepared) -> Prepared:
    """Rows for a measurement of speed: for grpo questions with answers of half the length."""
    settings = recipe.stage
    if not isinstance(settings, Grpo):
        return prepared
    length = max(1, settings.max_answer_tokens // 2)
    questions = prepared.train
    answers = [Answer(row, 0, row, (1,) * length, False, "") for row in range(len(questions))]
    return replace(prepared, train=answers_table(questions, answers))


class Itself:
    """The time of a reference without its numbers: the model reads the answers once more."""

    def log_probs(self, backbone: Backbone, head: Head, batch: FlatBatch) -> Tensor:
        """Of the model as it is."""
        return document_log_probs(backbone, head, batch)


def stage_to_measure(recipe: Recipe, prepared: Prepared) -> Stage:
    """The stage for a measurement of speed, in which nothing is learned."""
    settings, table = recipe.stage, prepared.train
    if isinstance(settings, Dpo):
        return DpoStage(settings, Itself())
    if isinstance(settings, Kto):
        good = table.desirable.astype(bool)
        return KtoStage(settings, Itself(), good, recipe.data.max_length)
    if isinstance(settings, Grpo):
        return PolicyStage(settings, Rollouts(table, np.ones(len(table), np.float32)))
    return stage_without_reference(settings, table)


def rows_met(plan: StepPlan, prepared: Prepared) -> Rows:
    """The rows that training will meet: all of them, unless it ends within the first epoch."""
    if plan.total_steps >= plan.steps_of_one_epoch:
        return np.unique(prepared.train_rows)
    return np.unique(np.concatenate([step.rows for step in plan.steps()]))


def decided_stage(recipe: Recipe) -> AnySettings:
    """The settings of the stage with its reference chosen."""
    settings = recipe.stage
    if not isinstance(settings, Dpo | Kto | Grpo):
        return settings
    fresh = starts_as_base(recipe.adapter, new_words=bool(recipe.model.new_words))
    if settings.reference == "adapter_off" and not fresh:
        raise RecipeError(
            "stage.reference is adapter_off, but the model before training is not the base "
            "without an adapter here.",
            hint="Write stage.reference: auto.",
            code="reference_needs_new_adapter",
        )
    if settings.reference != "auto":
        return settings
    other = "copy" if isinstance(settings, Grpo) else "cached"
    chosen = "adapter_off" if fresh else other
    return settings.model_copy(update={"reference": chosen})
