"""Dropout whose mask depends on seed, step, row, position and layer, never on how rows are grouped.

A counter-based random number: the place of a value is its counter, a few rounds of integer mixing
make it random. So packing, accumulation, resuming and several devices draw the same masks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine.batch import FlatBatch

# Odd constants of the 64-bit finaliser of SplitMix64 (Steele, Lea, Flood 2014), as signed integers.
_GOLDEN = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685
_BITS = 24


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64, whose products wrap around."""
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _MIX_1
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _MIX_2
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


@dataclass
class DropoutKeys:
    """The keys of the tokens that are on their way through the model."""

    seed: int
    keys_T: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    def set(self, step: int, batch: FlatBatch) -> None:
        """Call before each micro-batch of a training step."""
        borders = torch.tensor(batch.documents.borders)
        rows = torch.tensor(batch.rows).repeat_interleave(borders.diff())
        rows = rows.to(batch.positions_T.device)
        start = torch.tensor(self.seed, device=rows.device) * _GOLDEN + step
        self.keys_T = _mix(_mix(_mix(start) + rows) * _GOLDEN + batch.positions_T)


class RowDropout(nn.Module):
    """Dropout on [1, T, D] with masks from `DropoutKeys`; scales what stays by 1 / (1 - p)."""

    def __init__(self, p: float, number: int, keys: DropoutKeys) -> None:
        super().__init__()
        self.p, self.number, self._keys = p, number, keys

    def forward(self, x: Tensor) -> Tensor:
        """The input itself outside of training."""
        if not self.training or self.p == 0:
            return x
        features = torch.arange(x.shape[-1], device=x.device)
        of_layer = (
            torch.tensor(self.number, device=x.device) * _GOLDEN
        )  # wraps around, as it should
        keys = self._keys.keys_T[:, None] + (of_layer + features * _MIX_2)[None, :]
        uniform = (_mix(keys) >> (63 - _BITS)) & ((1 << _BITS) - 1)
        keep = uniform >= int(self.p * (1 << _BITS))
        return x * keep.view(x.shape).to(x.dtype) / (1 - self.p)


def key_dropout_by_row(model: Any, seed: int) -> DropoutKeys:
    """Give every adapter masks by row; all other dropout of the model is switched off."""
    keys = DropoutKeys(seed)
    model.eval()
    number = 0
    for _, module in model.named_modules():
        dropouts = getattr(module, "lora_dropout", None)
        if not isinstance(dropouts, nn.ModuleDict):
            continue
        for name, dropout in list(dropouts.items()):
            if isinstance(dropout, nn.Dropout) and dropout.p > 0:
                dropouts[name] = RowDropout(dropout.p, number, keys)
            number += 1
    return keys


def set_training(model: Any, training: bool) -> None:
    """Switch the adapters' dropout; nothing else of a model behaves differently in training."""
    for module in model.modules():
        if isinstance(module, RowDropout):
            module.train(training)
