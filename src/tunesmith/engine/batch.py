"""A micro-batch in the one flat layout that every device uses.

Legend of the shape suffixes in this package: B rows, T tokens of the micro-batch, N positions with
a label, D hidden size, V vocabulary, R adapter rank.

    rows [a b c] and [d e], supervised tokens in capitals: a B C, d E
    ids       a b c d e
    positions 0 1 2 0 1      restart with each document
    borders   0 3 5
    sources   0 1 3          hidden states that are scored: the token before each label
    labels    b c e
    row_of    0 0 1          which document of the micro-batch a label belongs to

A document is a row, or one side of a pair: pair number p is documents 2p (the better answer) and
2p + 1 (the worse one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunesmith.data.prepare import TokenTable
from tunesmith.engine.attention import Documents

OTHER_SIDE = 1 << 40  # added to the key of a row's second document


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
    keys: tuple[int, ...]  # one a document, the same in any micro-batch: for random numbers
    prompts_N: Tensor | None = None  # True at labels that belong to a question, where those count

    @property
    def num_tokens(self) -> int:
        """Real tokens; there are no others."""
        return int(self.ids_T.shape[0])

    @property
    def num_targets(self) -> int:
        """Positions with a label."""
        return int(self.labels_N.shape[0])

    @property
    def num_documents(self) -> int:
        """Rows, or both sides of each pair."""
        return len(self.documents.borders) - 1

    def ends(self) -> Tensor:
        """Places of the last token of each document."""
        return torch.tensor(self.documents.borders[1:], device=self.ids_T.device) - 1


Document = tuple[NDArray[np.uint32], NDArray[np.uint8]]


def flat_batch(
    table: TokenTable, rows: Sequence[int], device: torch.device, *, prompts: bool = False
) -> FlatBatch:
    """Lay some rows of a token table behind each other.

    `prompts` puts labels on the questions of better answers as well.
    """
    documents: list[Document] = []
    keys: list[int] = []
    for row in rows:
        sides = table.documents(int(row))
        documents += sides
        keys += [int(row) + side * OTHER_SIDE for side in range(len(sides))]
    return lay_out(documents, rows, keys, device, prompts=prompts)


def lay_out(
    documents: Sequence[Document],
    rows: Sequence[int],
    keys: Sequence[int],
    device: torch.device,
    *,
    prompts: bool = False,
) -> FlatBatch:
    """Lay documents behind each other."""
    lengths = np.array([len(ids) for ids, _ in documents], dtype=np.int64)
    borders = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.concatenate([ids for ids, _ in documents]).astype(np.int64)
    targets = np.concatenate([mask for _, mask in documents]).astype(bool)
    # Positions restart with each document: lengths [3, 2] -> 0 1 2 0 1.
    positions = np.arange(borders[-1]) - np.repeat(borders[:-1], lengths)
    targets &= positions > 0  # nothing comes before the first token of a row
    document_of = np.repeat(np.arange(len(lengths)), lengths)
    answers = targets
    if prompts:
        targets = answers | ((document_of % 2 == 0) & (positions > 0))
    labelled = np.flatnonzero(targets)
    cumulative = None
    if device.type == "cuda":
        cumulative = torch.from_numpy(borders.astype(np.int32)).to(device, non_blocking=True)

    def on_device(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(device, non_blocking=True)

    return FlatBatch(
        ids_T=on_device(ids),
        positions_T=on_device(positions),
        documents=Documents(tuple(int(b) for b in borders), cumulative),
        sources_N=on_device(labelled - 1),
        labels_N=on_device(ids[labelled]),
        row_of_N=on_device(document_of[labelled]),
        rows=tuple(int(row) for row in rows),
        keys=tuple(keys),
        prompts_N=on_device(~answers[labelled]) if prompts else None,
    )
