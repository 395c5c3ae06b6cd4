"""Next-token prediction: supervised fine-tuning and continued pre-training.

They differ in which tokens carry a label, which is settled when rows are encoded; the loss is one.
"""

from __future__ import annotations

from torch import Tensor

from tunesmith.engine.batch import FlatBatch
from tunesmith.engine.fused import Backbone
from tunesmith.engine.head import Head, TokenScores, language_loss


class LanguageStage:
    """Stages `sft` and `pt`."""

    def loss(
        self, backbone: Backbone, head: Head, batch: FlatBatch, *, num_targets: int
    ) -> tuple[Tensor, TokenScores]:
        """Sum of a micro-batch's token losses over the targets of the whole step, and scores."""
        hidden_TD = backbone(batch.ids_T, batch.positions_T, batch.documents)
        return language_loss(
            hidden_TD[batch.sources_N], batch.labels_N, head, num_targets=num_targets
        )
