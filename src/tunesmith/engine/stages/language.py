"""Next-token prediction: supervised fine-tuning and continued pre-training.

They differ in which tokens carry a label, which is settled when rows are encoded; the loss is one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tunesmith.data.batches import Rows
from tunesmith.data.table import TokenTable
from tunesmith.engine.batch import FlatBatch, flat_batch
from tunesmith.engine.fused import Backbone
from tunesmith.engine.head import Head, language_loss
from tunesmith.engine.stages.stage import StageLoss, Totals, Work, by_document, start_of


class LanguageStage:
    """Stages `sft` and `pt`."""

    names = ("loss", "correct")

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        self._label_smoothing = label_smoothing

    def totals(self, table: TokenTable, rows: Rows) -> Totals:
        """The labels of a step."""
        return start_of(table, rows)

    def prepare(self, backbone: Backbone, head: Head, work: Work, totals: Totals) -> Totals:
        """Nothing is needed before."""
        del backbone, head, work
        return totals

    def batch(self, table: TokenTable, rows: Rows, device: torch.device) -> FlatBatch:
        """The rows behind each other."""
        return flat_batch(table, rows.tolist(), device)

    def loss(self, backbone: Backbone, head: Head, batch: FlatBatch, totals: Totals) -> StageLoss:
        """Sum of a micro-batch's token losses over the targets of the whole step."""
        hidden_TD = backbone(batch.ids_T, batch.positions_T, batch.documents)
        loss, scores = language_loss(
            hidden_TD[batch.sources_N],
            batch.labels_N,
            head,
            num_targets=totals.targets,
            label_smoothing=self._label_smoothing,
        )
        labels_B = by_document(torch.ones_like(scores.loss_N), batch).clamp(min=1)
        return StageLoss(
            loss,
            {"loss": scores.loss_N.sum(), "correct": scores.correct_N.sum()},
            by_document(scores.loss_N, batch) / labels_B,
        )

    def metrics(self, sums: Mapping[str, float], totals: Totals) -> dict[str, float]:
        """Mean loss of the labels, and how many of them were the likeliest token."""
        targets = max(totals.targets, 1)
        return {"loss": sums["loss"] / targets, "token_accuracy": sums["correct"] / targets}
