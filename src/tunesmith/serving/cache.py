"""Keys and values of all rows: a slot a row, one piece of memory a layer, which grows when needed.

Shapes: S slots, K key-value heads, C capacity in tokens, E head width.

Slots lie behind each other and all have the same capacity, so the attention of neighbours is one
batched product on views, without a copy. Memory is slots x capacity; `fits` keeps it in a budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ROUND = 64  # tokens


@dataclass(frozen=True)
class CacheShape:
    """What one token of one row takes."""

    num_layers: int
    num_kv: int
    head_width: int
    dtype: torch.dtype
    device: torch.device

    @property
    def token_bytes(self) -> int:
        width = 2 * self.num_kv * self.head_width
        return self.num_layers * width * self.dtype.itemsize


class KeyValues:
    """The cache of all layers; `layers[i]` is [2, S, K, C, E], keys first."""

    def __init__(self, shape: CacheShape, *, budget: int, context: int) -> None:
        self.shape = shape
        self.budget = budget
        self.context = min(context, budget // shape.token_bytes // ROUND * ROUND or ROUND)
        self.slots = self.capacity = 0
        self.layers: list[Tensor] = []

    def fits(self, num_rows: int, longest: int) -> bool:
        """Whether the budget holds so many rows of this length."""
        return num_rows * rounded(longest) * self.shape.token_bytes <= self.budget

    def reserve(self, num_rows: int, longest: int) -> None:
        """Make room, with something to spare; what lies there stays."""
        if num_rows <= self.slots and longest <= self.capacity:
            return
        slots, capacity = self._sizes(num_rows, longest)
        shape = self.shape
        sizes = (2, slots, shape.num_kv, capacity, shape.head_width)
        if not self.layers:
            # Zeros: what a mask hides is multiplied by zero, and must be a number for that.
            self.layers = [
                torch.zeros(sizes, dtype=shape.dtype, device=shape.device)
                for _ in range(shape.num_layers)
            ]
        else:
            for number, old in enumerate(self.layers):  # one at a time: the old one goes at once
                fresh = old.new_zeros(sizes)
                common = (min(self.slots, slots), min(self.capacity, capacity))
                fresh[:, : common[0], :, : common[1]] = old[:, : common[0], :, : common[1]]
                self.layers[number] = fresh
        self.slots, self.capacity = slots, capacity

    def _sizes(self, num_rows: int, longest: int) -> tuple[int, int]:
        """(slots, capacity): at least what is needed, more where the budget has it."""
        needed = rounded(longest)
        wanted = rounded(max(longest * 3 // 2, 4 * ROUND))
        slots = num_rows if num_rows <= self.slots else max(num_rows, min(2 * self.slots, 64), 4)
        choices = [
            (max(slots, self.slots), max(wanted, self.capacity)),
            (max(slots, self.slots), max(needed, self.capacity)),
            (max(num_rows, self.slots), max(needed, self.capacity)),
            (num_rows, wanted),
        ]
        fitting = (c for c in choices if c[0] * c[1] * self.shape.token_bytes <= self.budget)
        return next(fitting, (num_rows, needed))

    def begin(self, slot: int, kept: Tensor) -> None:
        """Put keys and values [L, 2, K, N, E] into the first places of a slot."""
        for layer, own in zip(self.layers, kept, strict=True):
            layer[:, slot, :, : own.shape[2]] = own

    def copy(self, source: int, target: int, length: int) -> None:
        """Bring the first `length` tokens of a slot into another one."""
        for layer in self.layers:
            layer[:, target, :, :length] = layer[:, source, :, :length]

    def write_index(self, slots: Sequence[int], places: Sequence[int]) -> Tensor:
        """Where key and value heads of some tokens go in the [2*S*K*C, E] form of a layer."""
        kv, capacity = self.shape.num_kv, self.capacity
        first = torch.tensor(
            [s * kv * capacity + p for s, p in zip(slots, places, strict=True)],
            device=self.shape.device,
        )
        heads = torch.arange(kv, device=self.shape.device) * capacity
        part = heads.new_tensor([0, self.slots * kv * capacity])
        return (first[:, None, None] + part[None, :, None] + heads[None, None, :]).flatten()


def rounded(length: int) -> int:
    """Capacity comes in steps of so many tokens."""
    return -(-length // ROUND) * ROUND
