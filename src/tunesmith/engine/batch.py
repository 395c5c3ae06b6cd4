"""A micro-batch in the one flat layout that every device uses.

Legend of the shape suffixes in this package: B rows, T tokens of the micro-batch, N positions with
a label, D hidden size, V vocabulary, R adapter rank.

    rows [a b c] and [d e], supervised tokens in capitals: a B C, d E
    ids       a b c d e
    positions 0 1 2 0 1      restart with each document
    borders   0 3 5
    sources   0 1 3          hidden states that are scored: the token before each label
    labels    b c e
    row_of    0 0 1          which row of the micro-batch a label belongs to
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.prepare import TokenTable
from tunesmith.engine.attention import Documents


@dataclass(frozen=True)
class FlatBatch:
    """Tensors of one micro-batch on the device, and its row numbers in the token table."""

    ids_T: Tensor
    positions_T: Tensor
    documents: Documents
    sources_N: Tensor
    labels_N: Tensor
    row_of_N: Tensor
    rows: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        """Real tokens; there are no others."""
        return int(self.ids_T.shape[0])

    @property
    def num_targets(self) -> int:
        """Positions with a label."""
        return int(self.labels_N.shape[0])


def flat_batch(table: TokenTable, rows: Sequence[int], device: torch.device) -> FlatBatch:
    """Lay some rows of a token table behind each other."""
    encoded = [table.row(int(row)) for row in rows]
    lengths = np.array([len(ids) for ids, _ in encoded], dtype=np.int64)
    borders = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.concatenate([ids for ids, _ in encoded]).astype(np.int64)
    targets = np.concatenate([mask for _, mask in encoded]).astype(bool)
    # Positions restart with each document: lengths [3, 2] -> 0 1 2 0 1.
    positions = np.arange(borders[-1]) - np.repeat(borders[:-1], lengths)
    targets &= positions > 0  # nothing comes before the first token of a row
    labelled = np.flatnonzero(targets)
    row_of = np.repeat(np.arange(len(lengths)), lengths)[labelled]
    cumulative = None
    if device.type == "cuda":
        cumulative = torch.from_numpy(borders.astype(np.int32)).to(device, non_blocking=True)

    def on_device(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(device, non_blocking=True)

    return FlatBatch(
        ids_T=on_device(ids),
        positions_T=on_device(positions),
        documents=Documents(tuple(int(b) for b in borders), cumulative),
        sources_N=on_device(labelled - 1),
        labels_N=on_device(ids[labelled]),
        row_of_N=on_device(row_of),
        rows=tuple(int(row) for row in rows),
    )
