"""Rows of a token table through a model without gradients, packed as in training.

`Scorer` walks over the rows; what is measured of a micro-batch is a function of its own: losses of
rows (score.py), or both answers of pairs (pairs.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.batches import Rows, micro_batches
from tunesmith.data.table import TokenTable
from tunesmith.engine.attention import register_flat_attention
from tunesmith.engine.backbone import build_backbone
from tunesmith.engine.batch import FlatBatch, flat_batch
from tunesmith.engine.fused import Backbone
from tunesmith.engine.head import Head
from tunesmith.engine.loop import SMALLEST_MICRO_BATCH, is_out_of_memory
from tunesmith.engine.memory import CPU_MICRO_BATCH, CUDA_MICRO_BATCH
from tunesmith.errors import RunFailed

ROWS_AT_ONCE = 1024  # that are packed together; long ones then lie with short ones
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Reader:
    """A model on the flat layout of training, without gradients."""

    backbone: Backbone
    head: Head

    @classmethod
    def of(cls, model: Any) -> Reader:
        """Take the attention that computes this family exactly."""
        attention = "eager" if _needs_eager(model) else "flat"
        model.set_attn_implementation(
            register_flat_attention() if attention == "flat" else attention
        )
        model.requires_grad_(False)
        backbone = build_backbone(model, attention=attention)
        backbone.refresh()
        return cls(backbone, Head.of(model))

    def hidden(self, batch: FlatBatch) -> Tensor:
        """The last hidden states, [T, D]."""
        return self.backbone(batch.ids_T, batch.positions_T, batch.documents)


class Scorer:
    """What some function finds of every row; half the micro-batch where memory is short."""

    def __init__(
        self, device: torch.device, values_of: Callable[[FlatBatch], Tensor], width: int
    ) -> None:
        """`values_of` gives `width` numbers for each row of a micro-batch: [rows, width]."""
        self._device, self._values_of, self._width = device, values_of, width
        self._budget = CUDA_MICRO_BATCH if device.type == "cuda" else CPU_MICRO_BATCH

    @torch.no_grad()
    def run(self, table: TokenTable, on_progress: OnProgress) -> np.ndarray:
        """All rows of a table: [rows, width], float64."""
        found = np.zeros((len(table), self._width), np.float64)
        for start in range(0, len(table), ROWS_AT_ONCE):
            rows = np.arange(start, min(start + ROWS_AT_ONCE, len(table)))
            self._add(table, rows, found)
            on_progress("Scoring", int(rows[-1]) + 1, len(table))
        return found

    def _add(self, table: TokenTable, rows: Rows, found: np.ndarray) -> None:
        for group in micro_batches(rows, table.lengths, self._budget):
            try:
                batch = flat_batch(table, group.tolist(), self._device)
                found[group] = self._values_of(batch).cpu().double().numpy()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(table, group, error)
                self._add(table, group, found)

    def _shrink(self, table: TokenTable, rows: Rows, error: RuntimeError) -> None:
        if len(rows) == 1 or self._budget <= SMALLEST_MICRO_BATCH:
            raise RunFailed(
                f"Out of memory on a row of {int(table.lengths[rows].max())} tokens.",
                hint="Lower --max-length, or take a smaller model.",
                code="out_of_memory",
            ) from error
        self._budget = max(SMALLEST_MICRO_BATCH, int(table.lengths[rows].sum()) // 2)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def sums_by_document(values_N: Tensor, batch: FlatBatch) -> Tensor:
    """Sums over the labels of each document in float64, which not every device has."""
    sums = torch.zeros(batch.num_documents, dtype=torch.float64)
    return sums.index_add_(0, batch.row_of_N.cpu(), values_N.cpu().double())


def _needs_eager(model: Any) -> bool:
    """Families with capped scores or attention sinks, which flat attention does not compute."""
    config = model.config.get_text_config()
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    return capped or config.model_type == "gpt_oss"
