"""Log-probabilities of answers under the model as it was before training.

Two ways to the same numbers: with the adapter switched off, at each step; or computed for all rows
before the first step and kept in the run directory, where a resumed run finds them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.batches import Rows, micro_batches, share_of_rank
from tunesmith.engine.batch import FlatBatch
from tunesmith.engine.fused import Backbone
from tunesmith.engine.head import Head, token_log_probs
from tunesmith.engine.ranks import Ranks
from tunesmith.runs.files import write_atomically

FORMAT = 1  # of the file; another one is computed again


class Reference(Protocol):
    """The model before training."""

    def log_probs(self, backbone: Backbone, head: Head, batch: FlatBatch) -> Tensor:
        """Of each document of a micro-batch, summed over its labels; no gradient."""
        ...


@torch.no_grad()
def document_log_probs(backbone: Backbone, head: Head, batch: FlatBatch) -> Tensor:
    """Sums over the answer's labels of each document, without gradients."""
    hidden_TD = backbone(batch.ids_T, batch.positions_T, batch.documents)
    values_N = token_log_probs(hidden_TD[batch.sources_N], batch.labels_N, head).log_probs_N
    sums = torch.zeros(batch.num_documents, device=values_N.device)
    return sums.index_add_(0, batch.row_of_N, values_N)


@dataclass(frozen=True)
class AdapterOff:
    """The model itself, its adapters switched off for a moment."""

    switched_off: Callable[[], AbstractContextManager[Any]]

    def log_probs(self, backbone: Backbone, head: Head, batch: FlatBatch) -> Tensor:
        """Computed anew each time."""
        with self.switched_off():
            return document_log_probs(backbone, head, batch)


class Cached:
    """Numbers that were computed before the first step, by the key of each document."""

    def __init__(self, keys: Rows, values: np.ndarray) -> None:
        order = np.argsort(keys, kind="stable")
        self._keys, self._values = keys[order], values[order]

    def log_probs(self, backbone: Backbone, head: Head, batch: FlatBatch) -> Tensor:
        """Looked up."""
        del backbone, head
        wanted = np.array(batch.keys, dtype=np.int64)
        places = np.searchsorted(self._keys, wanted)
        assert np.array_equal(self._keys[places], wanted), "every row has a reference"
        return torch.from_numpy(self._values[places]).to(batch.ids_T.device)


BatchOf = Callable[[Rows], FlatBatch]


@dataclass(frozen=True)
class Computing:
    """What computing a reference takes."""

    backbone: Backbone
    head: Head
    ranks: Ranks
    device: torch.device
    budget: int  # tokens of a micro-batch
    on_progress: Callable[[int, int], None]

    def table(self, lengths: Rows, rows: Rows, batch_of: BatchOf) -> tuple[Rows, np.ndarray]:
        """Keys and values of all documents of some rows, the same in every process."""
        mine = share_of_rank(rows, lengths, self.ranks.rank, self.ranks.world_size)
        groups = micro_batches(mine, lengths, self.budget) if len(mine) else []
        keys: list[int] = []
        values: list[Tensor] = []
        for number, group in enumerate(groups):
            batch = batch_of(group)
            keys += batch.keys
            values.append(document_log_probs(self.backbone, self.head, batch).cpu())
            self.on_progress(number + 1, len(groups))
        own = np.array(keys, np.int64), torch.cat(values or [torch.zeros(0)]).numpy()
        parts: Sequence[tuple[Rows, np.ndarray]] = self.ranks.gather(own)
        return np.concatenate([k for k, _ in parts]), np.concatenate([v for _, v in parts])


def cached_reference(
    path: Path, fingerprint: str, compute: Callable[[], tuple[Rows, np.ndarray]], ranks: Ranks
) -> Cached:
    """The numbers of a file of this fingerprint, else computed now and written."""
    found = ranks.from_first(_read(path, fingerprint) if ranks.is_first else None)
    if found is None:
        found = compute()
        if ranks.is_first:
            _write(path, fingerprint, *found)
    return Cached(*found)


def _read(path: Path, fingerprint: str) -> tuple[Rows, np.ndarray] | None:
    try:
        with np.load(path) as file:
            if str(file["fingerprint"]) != f"{FORMAT}:{fingerprint}":
                return None
            return file["keys"], file["values"]
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        BadZipFile,
    ):  # none yet, or damaged: compute it again
        return None


def _write(path: Path, fingerprint: str, keys: Rows, values: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, keys=keys, values=values, fingerprint=np.array(f"{FORMAT}:{fingerprint}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
