"""Dropout whose mask depends on seed, step, row, position and layer, never on how rows are grouped.

A counter-based random number: the place of a value is its counter, a few rounds of integer mixing
make it random. So packing, accumulation, resuming and several devices draw the same masks.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine.batch import FlatBatch

# Odd constants of the 64-bit finaliser of SplitMix64 (Steele, Lea, Flood 2014), as signed integers.
GOLDEN = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685
_BITS = 24


def mixed(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64, whose products wrap around."""
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _MIX_1
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _MIX_2
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


@dataclass
class DropoutKeys:
    """The keys of the tokens that are on their way through the model."""

    seed: int
    keys_T: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    lengths_T: Tensor = field(default_factory=lambda: torch.zeros(0))  # of each token's row
    span: slice = field(default_factory=lambda: slice(None))  # the tokens that come just now

    def set(self, step: int, batch: FlatBatch) -> None:
        """Call before each micro-batch of a training step."""
        borders = torch.tensor(batch.documents.borders)
        rows = torch.tensor(batch.keys).repeat_interleave(borders.diff())
        rows = rows.to(batch.positions_T.device)
        lengths = borders.diff().repeat_interleave(borders.diff())
        self.lengths_T = lengths.to(torch.float32).to(rows.device)
        start = torch.tensor(self.seed, device=rows.device) * GOLDEN + step
        self.keys_T = mixed(mixed(mixed(start) + rows) * GOLDEN + batch.positions_T)
        self.span = slice(None)

    @contextmanager
    def within(self, span: slice) -> Generator[None]:
        """Only some tokens of the micro-batch are on their way: one document, say."""
        before, self.span = self.span, span
        try:
            yield
        finally:
            self.span = before

    def bits(self, number: int, width: int) -> Tensor:
        """Random whole numbers below 2 ** _BITS for every token and feature, [T, width].

        `number` tells the places of a model apart.
        """
        device = self.keys_T.device
        features = torch.arange(width, device=device)
        of_place = torch.tensor(number, device=device) * GOLDEN  # wraps around, as it should
        keys = self.keys_T[self.span, None] + (of_place + features * _MIX_2)[None, :]
        return (mixed(keys) >> (63 - _BITS)) & ((1 << _BITS) - 1)


class RowNoise(nn.Module):
    """NEFTune: uniform noise of size alpha / sqrt(tokens of the row x width) on embeddings."""

    NUMBER = -1  # dropout counts from 0

    def __init__(self, alpha: float, keys: DropoutKeys) -> None:
        super().__init__()
        self.alpha, self._keys = alpha, keys

    def forward(self, x: Tensor) -> Tensor:
        """[T, D] or [1, T, D] embeddings; themselves outside of training."""
        if not self.training or self.alpha == 0:
            return x
        width = x.shape[-1]
        uniform = self._keys.bits(self.NUMBER, width).to(torch.float32) * (2 / (1 << _BITS)) - 1
        size_T = self.alpha / (self._keys.lengths_T[self._keys.span] * width).sqrt()
        return x + (uniform * size_T[:, None]).to(x.dtype).view(x.shape)


def add_row_noise(decoder: Any, alpha: float, keys: DropoutKeys) -> None:
    """Let the embeddings of a decoder carry noise while training."""
    if alpha == 0:
        return
    embedding = decoder.get_input_embeddings()
    embedding.row_noise = RowNoise(alpha, keys)
    embedding.register_forward_hook(lambda module, _, out: module.row_noise(out))


class RowDropout(nn.Module):
    """Dropout on [1, T, D] with masks from `DropoutKeys`; scales what stays by 1 / (1 - p)."""

    def __init__(self, p: float, number: int, keys: DropoutKeys) -> None:
        super().__init__()
        self.p, self.number, self._keys = p, number, keys

    def forward(self, x: Tensor) -> Tensor:
        """The input itself outside of training."""
        if not self.training or self.p == 0:
            return x
        keep = self._keys.bits(self.number, x.shape[-1]) >= int(self.p * (1 << _BITS))
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
        if isinstance(module, RowDropout | RowNoise):
            module.train(training)
        elif getattr(
            module, "lora_variant", None
        ):  # DoRA drops only where the layer is in training
            module.training = training
