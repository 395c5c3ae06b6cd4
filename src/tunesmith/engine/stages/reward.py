"""A reward model: the better answer of a pair shall score higher (Bradley and Terry 1952).

The score is one number, read off the hidden state of the last token of question and answer: the
head has one row in the place of a vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tunesmith.data.batches import Rows
from tunesmith.data.table import TokenTable
from tunesmith.engine.batch import FlatBatch, flat_batch
from tunesmith.engine.fused import Backbone
from tunesmith.engine.head import Head
from tunesmith.engine.stages.stage import StageLoss, Totals, Work, start_of
from tunesmith.recipe import Reward


def pair_losses(chosen_P: Tensor, rejected_P: Tensor, margins_P: Tensor, center: float) -> Tensor:
    """-log sigmoid(chosen - rejected - margin), and a pull of both scores towards zero."""
    losses_P = -F.logsigmoid(chosen_P - rejected_P - margins_P)
    return losses_P + center * (chosen_P + rejected_P) ** 2 if center else losses_P


def document_rewards(backbone: Backbone, head: Head, batch: FlatBatch) -> Tensor:
    """The score of each document, read off its last token."""
    hidden_TD = backbone(batch.ids_T, batch.positions_T, batch.documents)
    ends_D = hidden_TD[batch.ends()].to(head.weight_VD.dtype)
    return head.logits(ends_D)[:, 0].float()


class RewardStage:
    """Stage `rm`."""

    names = (
        "loss", "reward_accuracy", "reward_margin", "chosen_reward", "rejected_reward",
        "min_reward", "max_reward",
    )  # fmt: skip

    def __init__(self, settings: Reward, margins: np.ndarray) -> None:
        self._settings, self._margins = settings, margins

    def totals(self, table: TokenTable, rows: Rows) -> Totals:
        """Pairs."""
        return replace(start_of(table, rows), targets=2 * len(rows))

    def prepare(self, backbone: Backbone, head: Head, work: Work, totals: Totals) -> Totals:
        """Nothing is needed before."""
        del backbone, head, work
        return totals

    def batch(self, table: TokenTable, rows: Rows, device: torch.device) -> FlatBatch:
        """Both sides of each pair behind each other."""
        return flat_batch(table, rows.tolist(), device)

    def loss(self, backbone: Backbone, head: Head, batch: FlatBatch, totals: Totals) -> StageLoss:
        """The mean over the pairs of the step."""
        rewards_2P = document_rewards(backbone, head, batch)
        chosen_P, rejected_P = rewards_2P[0::2], rewards_2P[1::2]
        margins_P = torch.from_numpy(self._margins[list(batch.rows)]).to(rewards_2P.device)
        losses_P = pair_losses(chosen_P, rejected_P, margins_P, self._settings.center)
        loss = losses_P.sum() / totals.rows
        rewards_2P, chosen_P, rejected_P = (x.detach() for x in (rewards_2P, chosen_P, rejected_P))
        sums = {
            "loss": loss.detach(),
            "reward_accuracy": (chosen_P > rejected_P).sum(),
            "reward_margin": (chosen_P - rejected_P).sum(),
            "chosen_reward": chosen_P.sum(),
            "rejected_reward": rejected_P.sum(),
            "min_reward": rewards_2P.min(),
            "max_reward": rewards_2P.max(),
        }
        return StageLoss(loss, sums, losses_P.detach())

    def metrics(self, sums: Mapping[str, float], totals: Totals) -> dict[str, float]:
        """Means over pairs, and the span of all scores."""
        rows = max(totals.rows, 1)
        means = ("reward_accuracy", "reward_margin", "chosen_reward", "rejected_reward")
        found = {name: sums[name] / rows for name in means}
        return {
            "loss": sums["loss"],
            **found,
            "mean_reward": (found["chosen_reward"] + found["rejected_reward"]) / 2,
            "min_reward": sums["min_reward"],
            "max_reward": sums["max_reward"],
        }
