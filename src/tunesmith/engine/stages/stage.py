"""What every stage offers to the loop, and the small parts that several stages share.

A stage says which numbers a whole step is divided by (`Totals`), makes the loss of a micro-batch
out of them, and turns sums over micro-batches and processes into the metrics of a step. So its
loss never depends on how a step was cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.batches import Rows
from tunesmith.data.table import TokenTable
from tunesmith.engine.batch import FlatBatch
from tunesmith.engine.fused import Backbone
from tunesmith.engine.head import Head, TokenLogProbs, token_log_probs

Sums = dict[str, Tensor]
SMALLEST, LARGEST = "min_", "max_"
"""How names of sums begin that are put together by the smaller or the larger one."""


@dataclass(frozen=True)
class Totals:
    """What the losses of a whole step are divided by, over all micro-batches and processes."""

    rows: int
    targets: int  # labels of all rows
    better_targets: int = 0  # labels of better answers
    better_tokens: int = 0  # tokens of better answers and their questions, but the first
    good_rows: int = 0  # answers that were found good
    shift: float = 0.0  # kto's estimate of how far the model is from its reference


@dataclass(frozen=True)
class StageLoss:
    """Of one micro-batch. Call `loss.backward()`; the rest has no gradient."""

    loss: Tensor  # its share of the loss of the whole step
    sums: Sums  # scalars to add up; see SMALLEST and LARGEST
    row_losses_B: Tensor  # mean loss of each row


class Work(Protocol):
    """What the loop does for a stage that has to look at a whole step before its first loss."""

    @property
    def table(self) -> TokenTable: ...

    @property
    def rows(self) -> Rows:
        """Of this process."""
        ...

    @property
    def device(self) -> torch.device: ...

    def micro_batches(self, lengths: Rows) -> list[Rows]:
        """Places in `rows` that fit into memory together; `lengths` are those of `rows`."""
        ...

    def set_keys(self, batch: FlatBatch) -> None:
        """Tell the dropout which rows are on their way."""
        ...

    def sum(self, value: Tensor) -> Tensor:
        """Add up over all processes."""
        ...


class Stage(Protocol):
    """One training type."""

    @property
    def names(self) -> Sequence[str]:
        """Of the sums of every micro-batch, also of none, so that all processes add up the same."""
        ...

    def totals(self, table: TokenTable, rows: Rows) -> Totals:
        """What the losses of a step of these rows are divided by."""
        ...

    def prepare(self, backbone: Backbone, head: Head, work: Work, totals: Totals) -> Totals:
        """Look at the whole step once, where the stage needs that."""
        ...

    def batch(self, table: TokenTable, rows: Rows, device: torch.device) -> FlatBatch:
        """The micro-batch of some rows."""
        ...

    def loss(self, backbone: Backbone, head: Head, batch: FlatBatch, totals: Totals) -> StageLoss:
        """The loss of a micro-batch."""
        ...

    def metrics(self, sums: Mapping[str, float], totals: Totals) -> dict[str, float]:
        """`loss` and whatever else describes a step, from its sums."""
        ...


# ---------------------------------------------------------------- shared parts


def log_probs(backbone: Backbone, head: Head, batch: FlatBatch) -> TokenLogProbs:
    """Log-probabilities of the labels of a micro-batch."""
    hidden_TD = backbone(batch.ids_T, batch.positions_T, batch.documents)
    return token_log_probs(hidden_TD[batch.sources_N], batch.labels_N, head)


def by_document(values_N: Tensor, batch: FlatBatch) -> Tensor:
    """Sums over the labels of each document."""
    sums = torch.zeros(batch.num_documents, dtype=values_N.dtype, device=values_N.device)
    return sums.index_add(0, batch.row_of_N, values_N)


def better_counts(table: TokenTable, rows: Rows) -> tuple[int, int]:
    """Labels of the better answers of some pairs, and their tokens but the first of each."""
    labels = 0
    for row in rows:
        start = int(table.offsets[row])
        labels += int(table.targets[start : start + int(table.splits[row])].sum())
    return labels, int((table.splits[rows] - 1).sum())


def start_of(table: TokenTable, rows: Rows) -> Totals:
    """Rows and labels of a step."""
    return Totals(rows=len(rows), targets=int(table.label_counts[np.asarray(rows)].sum()))
