"""Single answers that were found good or bad (Ethayarajh and others 2024).

The loss asks how far an answer gained on the reference beyond what answers gain in general. That
shift is estimated once a step, without gradients, on questions joined with answers of other rows:
row r borrows the last answer of the record before its own, so the estimate depends on neither the
order nor the cut of a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.batches import Rows
from tunesmith.data.table import TokenTable
from tunesmith.engine.batch import Document, FlatBatch, flat_batch, lay_out
from tunesmith.engine.fused import Backbone
from tunesmith.engine.head import Head
from tunesmith.engine.reference import Reference, document_log_probs
from tunesmith.engine.stages.stage import (
    StageLoss,
    Totals,
    Work,
    by_document,
    log_probs,
    start_of,
)
from tunesmith.recipe import Kto

BORROWED = 1 << 41  # added to the key of a question with a borrowed answer


def borrowed_from(table: TokenTable, rows: Rows) -> Rows:
    """The row whose answer each row borrows: the last one of another record."""
    firsts = np.searchsorted(table.records, table.records[rows], side="left")
    return (firsts - 1) % len(table)


def joined_document(table: TokenTable, row: int, other: int, limit: int) -> Document:
    """The question of one row with the answer of another, cut as rows are."""
    (asked, targets), (answer, learned) = table.row(row), table.row(other)
    start, first = int(targets.argmax()), int(learned.argmax())
    ids = np.concatenate([asked[:start], answer[first:]])[:limit]
    labels = np.concatenate([np.zeros(start, np.uint8), learned[first:]])[:limit]
    return ids, labels


def with_borrowed(
    table: TokenTable, rows: Rows, device: torch.device, *, max_length: int
) -> FlatBatch:
    """Rows, and their questions with borrowed answers: all that a reference is asked about."""
    pairs = zip(rows.tolist(), borrowed_from(table, rows).tolist(), strict=True)
    joined = [joined_document(table, *pair, max_length) for pair in pairs]
    own = [table.row(row) for row in rows.tolist()]
    keys = [*rows.tolist(), *(rows + BORROWED).tolist()]
    return lay_out([*own, *joined], rows.tolist(), keys, device)


class KtoStage:
    """Stage `kto`."""

    names = (
        "loss", "good_reward", "bad_reward", "good_log_prob", "bad_log_prob", "good_logit",
        "bad_logit", "good_targets", "entropy",
    )  # fmt: skip

    def __init__(
        self, settings: Kto, reference: Reference, good: np.ndarray, max_length: int
    ) -> None:
        self._settings, self._reference = settings, reference
        self._good, self._limit = good, max_length

    def totals(self, table: TokenTable, rows: Rows) -> Totals:
        """Answers, and how many of them are good."""
        return replace(start_of(table, rows), good_rows=int(self._good[rows].sum()))

    def prepare(self, backbone: Backbone, head: Head, work: Work, totals: Totals) -> Totals:
        """Estimate the shift on all rows of the step."""
        if self._settings.loss != "kto":
            return totals
        others = borrowed_from(work.table, work.rows)
        pairs = list(zip(work.rows.tolist(), others.tolist(), strict=True))
        joined = [joined_document(work.table, *pair, self._limit) for pair in pairs]
        lengths = np.array([len(ids) for ids, _ in joined], np.int64)
        gained = torch.zeros((), device=work.device)
        for group in work.micro_batches(lengths):
            rows = work.rows[group]
            batch = self._laid_out([joined[at] for at in group], rows, work.device)
            work.set_keys(batch)
            before = self._reference.log_probs(backbone, head, batch)
            gained += (document_log_probs(backbone, head, batch) - before).sum()
        mean = float(work.sum(gained)) / max(totals.rows, 1)
        return replace(totals, shift=max(mean, 0.0))

    @staticmethod
    def _laid_out(documents: Sequence[Document], rows: Rows, device: torch.device) -> FlatBatch:
        keys = [int(row) + BORROWED for row in rows]
        return lay_out(documents, rows.tolist(), keys, device)

    def batch(self, table: TokenTable, rows: Rows, device: torch.device) -> FlatBatch:
        """The rows behind each other."""
        return flat_batch(table, rows.tolist(), device)

    def loss(self, backbone: Backbone, head: Head, batch: FlatBatch, totals: Totals) -> StageLoss:
        """The mean over the answers of the step."""
        before_B = self._reference.log_probs(backbone, head, batch)
        tokens = log_probs(backbone, head, batch)
        log_probs_B = by_document(tokens.log_probs_N, batch)
        good_B = torch.from_numpy(self._good[list(batch.rows)]).to(batch.ids_T.device)
        gained_B = log_probs_B - before_B
        losses_B = self.losses(gained_B, good_B, totals.shift)
        loss = losses_B.sum() / totals.rows
        rewards_B, known_B = self._settings.beta * gained_B.detach(), log_probs_B.detach()
        good_N = good_B[batch.row_of_N]
        sums = {
            "loss": loss.detach(),
            "good_reward": rewards_B[good_B].sum(),
            "bad_reward": rewards_B[~good_B].sum(),
            "good_log_prob": known_B[good_B].sum(),
            "bad_log_prob": known_B[~good_B].sum(),
            "good_logit": tokens.mean_logit_N[good_N].sum(),
            "bad_logit": tokens.mean_logit_N[~good_N].sum(),
            "good_targets": good_N.sum(),
            "entropy": tokens.entropy_N.sum(),
        }
        return StageLoss(loss, sums, losses_B.detach())

    def losses(self, gained_B: Tensor, good_B: Tensor, shift: float) -> Tensor:
        """Weighted losses of answers by what they gained on the reference."""
        settings = self._settings
        relative_B = gained_B - shift if settings.loss == "kto" else gained_B
        falling_B = torch.where(good_B, -relative_B, relative_B)
        weight_B = torch.where(
            good_B,
            torch.full_like(gained_B, settings.desirable_weight),
            torch.full_like(gained_B, settings.undesirable_weight),
        )
        return weight_B * torch.sigmoid(settings.beta * falling_B)

    def metrics(self, sums: Mapping[str, float], totals: Totals) -> dict[str, float]:
        """Means over good and over bad answers; a step without one kind says nothing of it."""
        entropy = sums["entropy"] / max(totals.targets, 1)
        found = {"loss": sums["loss"], "entropy": entropy, "kl": totals.shift}
        sides = (
            ("chosen", "good", totals.good_rows, sums["good_targets"]),
            (
                *("rejected", "bad", totals.rows - totals.good_rows),
                totals.targets - sums["good_targets"],
            ),
        )
        for name, kind, rows, targets in sides:
            if rows:
                found[f"{name}_reward"] = sums[f"{kind}_reward"] / rows
                found[f"{name}_log_prob"] = sums[f"{kind}_log_prob"] / rows
                found[f"{name}_logit"] = sums[f"{kind}_logit"] / max(targets, 1)
        if 0 < totals.good_rows < totals.rows:
            found["reward_margin"] = found["chosen_reward"] - found["rejected_reward"]
        return found
