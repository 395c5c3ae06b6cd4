"""Which next tokens attend in one batched product: neighbours of similar length.

A batched product takes as many keys for each row as its longest row has, so one long row would make
all others as slow as itself. Read `plan_runs`, a pure function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# One more product a layer costs about as much as so many more keys in one.
CALL = 400


@dataclass
class Run:
    """Next tokens [first, first + count) of the step, in slots from `slot` on."""

    first: int
    slot: int
    lengths: tuple[int, ...]
    masks: dict[int | None, Tensor | None] = field(default_factory=dict[int | None, Any])

    @property
    def count(self) -> int:
        return len(self.lengths)

    @property
    def length(self) -> int:
        """Keys of the longest row."""
        return max(self.lengths)

    def mask(self, window: int | None, like: Tensor) -> Tensor | None:
        """[count, length]: minus infinity where a row must not look; None where it sees all."""
        if window is not None and window >= self.length:
            window = None
        if window is None and min(self.lengths) == self.length:
            return None
        if window not in self.masks:
            keys = torch.arange(self.length, device=like.device)[None, :]
            ends = torch.tensor(self.lengths, device=like.device)[:, None]
            hidden = keys >= ends
            if window is not None:
                hidden |= keys < ends - window
            mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
            self.masks[window] = mask.masked_fill_(hidden, float("-inf"))
        return self.masks[window]


def plan_runs(rows: Sequence[tuple[int, int]]) -> list[Run]:
    """Runs of rows (slot, length), which come by slot.

    >>> [run.lengths for run in plan_runs([(0, 90), (1, 100), (2, 9000), (4, 80)])]
    [(90, 100), (9000,), (80,)]
    """
    runs: list[Run] = []
    for number, (slot, length) in enumerate(rows):
        last = runs[-1] if runs else None
        if last is not None and last.slot + last.count == slot and _joins(last.lengths, length):
            runs[-1] = Run(last.first, last.slot, (*last.lengths, length))
        else:
            runs.append(Run(number, slot, (length,)))
    return runs


def _joins(lengths: Sequence[int], length: int) -> bool:
    """Whether a row costs less inside a run than beside it."""
    longest = max(lengths)
    together = max(longest, length) * (len(lengths) + 1)
    return together <= longest * len(lengths) + length + CALL
