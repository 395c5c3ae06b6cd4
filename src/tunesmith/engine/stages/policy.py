"""Reinforcement: the model's own answers, the better ones of each group made likelier (`grpo`).

The probability of each token is compared with that under the model which wrote the answer, and the
ratio is clipped, so that several updates with the same answers stay near it (Shao and others 2024;
defaults of Yu and others 2025). Log-probabilities are those at the temperature of sampling.

Shapes: B answers, N labels (the tokens of all answers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunesmith.data.batches import Rows
from tunesmith.data.table import TokenTable
from tunesmith.engine.batch import FlatBatch, flat_batch
from tunesmith.engine.fused import Backbone
from tunesmith.engine.head import Head
from tunesmith.engine.stages.stage import (
    StageLoss,
    Totals,
    Work,
    by_document,
    log_probs,
    start_of,
)
from tunesmith.recipe import Grpo

Values = list[NDArray[np.float32]]
"""A number for each label, row by row."""


@dataclass(frozen=True)
class Rollouts:
    """Answers of the model to the questions of a step, with what they are worth."""

    table: TokenTable  # a row an answer, its question before it
    advantages_B: NDArray[np.float32]
    old: Values | None = None  # log-probabilities before the first update; None: this is the first
    reference: Values | None = None  # under the reference
    told: Mapping[str, float] | None = None  # what else describes the step


@dataclass(frozen=True)
class Ratios:
    """Probability now by probability before, a label each: as it is, and clipped."""

    free_N: Tensor
    clipped_N: Tensor
    falls_N: Tensor  # a bad answer's that had fallen far enough
    rises_N: Tensor  # a good answer's that had risen far enough


def ratios_of(log_ratio_N: Tensor, advantages_N: Tensor, settings: Grpo) -> Ratios:
    """Ratios, and where their limits cut the gradient off."""
    low, high = 1 - settings.clip_low, 1 + settings.clip_high
    free_N = log_ratio_N.exp()
    clipped_N = free_N.clamp(low, high)
    if settings.delta is not None:
        free_N = free_N.clamp(max=settings.delta)
    falls_N = (free_N < low) & (advantages_N < 0)
    rises_N = (free_N > high) & (advantages_N > 0)
    return Ratios(free_N, clipped_N, falls_N, rises_N)


def divergence(log_probs_N: Tensor, reference_N: Tensor) -> Tensor:
    """KL from the reference, estimated from the drawn tokens; never below zero (Schulman 2020)."""
    difference_N = reference_N - log_probs_N
    return difference_N.exp() - difference_N - 1


class PolicyStage:
    """Stage `grpo`; `use` says which answers the next steps learn from."""

    names: Sequence[str] = (
        "loss", "kl", "entropy", "clip_low", "clip_high", "min_clip_low", "max_clip_high",
    )  # fmt: skip

    def __init__(self, settings: Grpo, rollouts: Rollouts | None = None) -> None:
        self._settings, self._rollouts = settings, rollouts

    def use(self, rollouts: Rollouts) -> None:
        """Learn from these answers from now on."""
        self._rollouts = rollouts

    @property
    def rollouts(self) -> Rollouts:
        """The answers that are learned from."""
        assert self._rollouts is not None, "answers are written before they are learned from"
        return self._rollouts

    def totals(self, table: TokenTable, rows: Rows) -> Totals:
        """Answers and their tokens."""
        return start_of(table, rows)

    def prepare(self, backbone: Backbone, head: Head, work: Work, totals: Totals) -> Totals:
        """Nothing is needed before."""
        del backbone, head, work
        return totals

    def batch(self, table: TokenTable, rows: Rows, device: torch.device) -> FlatBatch:
        """Questions with answers behind each other."""
        return flat_batch(table, rows.tolist(), device)

    def loss(self, backbone: Backbone, head: Head, batch: FlatBatch, totals: Totals) -> StageLoss:
        """The share of these answers in the loss of the step."""
        settings, rollouts = self._settings, self.rollouts
        tokens = log_probs(backbone, at_temperature(head, settings.temperature), batch)
        now_N = tokens.log_probs_N
        old_N = _flat(rollouts.old, batch)
        advantages_B = torch.from_numpy(rollouts.advantages_B[list(batch.rows)]).to(now_N)
        advantages_N = advantages_B[batch.row_of_N]
        labels_B = by_document(torch.ones_like(now_N), batch)
        log_ratio_N = now_N - (now_N.detach() if old_N is None else old_N)
        if settings.ratio == "sequence":
            mean_B = by_document(log_ratio_N, batch) / labels_B.clamp(min=1)
            log_ratio_N = mean_B[batch.row_of_N]
        ratios = ratios_of(log_ratio_N, advantages_N, settings)
        losses_N = -torch.min(ratios.free_N * advantages_N, ratios.clipped_N * advantages_N)
        kl_N = torch.zeros_like(now_N)
        reference_N = _flat(rollouts.reference, batch)
        if reference_N is not None:
            kl_N = divergence(now_N, reference_N)
            losses_N = losses_N + settings.beta * kl_N
        losses_B = by_document(losses_N, batch)
        loss = self._mean(losses_B, labels_B, totals)
        sums = {
            "loss": loss.detach(),
            "kl": kl_N.detach().sum(),
            "entropy": tokens.entropy_N.sum(),
            **self._clipped(ratios, labels_B, batch),
        }
        return StageLoss(loss, sums, (losses_B / labels_B.clamp(min=1)).detach())

    def _mean(self, losses_B: Tensor, labels_B: Tensor, totals: Totals) -> Tensor:
        """Over all tokens of the step, over its answers, or over a fixed length of each."""
        rows = max(totals.rows, 1)
        match self._settings.loss:
            case "dapo":
                return losses_B.sum() / max(totals.targets, 1)
            case "grpo":
                return (losses_B / labels_B.clamp(min=1)).sum() / rows
            case "dr_grpo":
                return losses_B.sum() / (rows * self._settings.max_answer_tokens)

    def _clipped(self, ratios: Ratios, labels_B: Tensor, batch: FlatBatch) -> dict[str, Tensor]:
        """Sums of what was clipped, and the extremes over answers."""
        has_labels_B = labels_B > 0
        falls_B, rises_B = (
            by_document(hits.float(), batch) / labels_B.clamp(min=1)
            for hits in (ratios.falls_N, ratios.rises_N)
        )
        by_answer = self._settings.ratio == "sequence"  # there each answer has one ratio
        nothing, all_ = falls_B.new_full((1,), float("inf")), falls_B.new_full((1,), -float("inf"))
        return {
            "clip_low": falls_B.sum() if by_answer else ratios.falls_N.sum(),
            "clip_high": rises_B.sum() if by_answer else ratios.rises_N.sum(),
            "min_clip_low": torch.cat([falls_B[has_labels_B], nothing]).min(),
            "max_clip_high": torch.cat([rises_B[has_labels_B], all_]).max(),
        }

    def metrics(self, sums: Mapping[str, float], totals: Totals) -> dict[str, float]:
        """Means over tokens, and what the answers were worth."""
        tokens = max(totals.targets, 1)
        clips = max(totals.rows, 1) if self._settings.ratio == "sequence" else tokens
        found = {
            "loss": sums["loss"],
            "entropy": sums["entropy"] / tokens,
            "clip_low": sums["clip_low"] / clips,
            "clip_high": sums["clip_high"] / clips,
            "clip": (sums["clip_low"] + sums["clip_high"]) / clips,
            "min_clip_low": sums["min_clip_low"],
            "max_clip_high": sums["max_clip_high"],
        }
        if self.rollouts.reference is not None:
            found["kl"] = sums["kl"] / tokens
        return {**found, **(self.rollouts.told or {})}


def at_temperature(head: Head, temperature: float) -> Head:
    """The head whose logits are divided by a temperature."""
    if temperature == 1.0:
        return head
    assert head.softcap is None, "a capped head takes temperature 1 only"
    return replace(head, scale=head.scale / temperature)


def _flat(values: Values | None, batch: FlatBatch) -> Tensor | None:
    """The numbers of a micro-batch's labels."""
    if values is None:
        return None
    flat = np.concatenate([values[row] for row in batch.rows])
    return torch.from_numpy(flat).to(batch.ids_T.device)
