"""The parts of a step that training and evaluation share: groups of rows, and sums over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.batches import Rows, micro_batches
from tunesmith.data.table import TokenTable
from tunesmith.engine.batch import FlatBatch
from tunesmith.engine.dropout import DropoutKeys
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.stages.stage import LARGEST, SMALLEST, Sums


@dataclass(frozen=True)
class StepWork:
    """What a stage may use to look at a whole step; see `Work`."""

    table: TokenTable
    rows: Rows  # of this process
    step: int
    device: torch.device
    budget: int  # tokens of a micro-batch
    dropout: DropoutKeys
    ranks: Ranks

    def micro_batches(self, lengths: Rows) -> list[Rows]:
        """Places in `rows` that fit into memory together; `lengths` are those of `rows`."""
        places = np.arange(len(self.rows), dtype=np.int64)
        return micro_batches(places, lengths, self.budget) if len(places) else []

    def groups(self) -> list[Rows]:
        """The micro-batches of this process."""
        lengths = self.table.lengths
        return micro_batches(self.rows, lengths, self.budget) if len(self.rows) else []

    def set_keys(self, batch: FlatBatch) -> None:
        """Tell the dropout which rows are on their way."""
        self.dropout.set(self.step, batch)

    def sum(self, value: Tensor) -> Tensor:
        """Add up over all processes."""
        self.ranks.sum([value])
        return value


class StepSums:
    """Sums, smallest and largest values by name, over micro-batches and processes."""

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self._names = tuple(names)
        self._values: Sums = {
            name: torch.full((), _start_of(name), device=device) for name in self._names
        }

    def add(self, sums: Sums) -> None:
        """Take in one micro-batch."""
        for name in self._names:
            known, new = self._values[name], sums[name]
            if name.startswith(SMALLEST):
                self._values[name] = torch.minimum(known, new.to(known.dtype))
            elif name.startswith(LARGEST):
                self._values[name] = torch.maximum(known, new.to(known.dtype))
            else:
                known += new

    def over_all(self, ranks: Ranks) -> None:
        """Put the sums of all processes together."""
        kinds: dict[str, list[Tensor]] = {SMALLEST: [], LARGEST: [], "": []}
        for name, value in self._values.items():
            kinds[next(k for k in kinds if name.startswith(k))].append(value)
        ranks.sum(kinds[""])
        ranks.extremes(kinds[SMALLEST], largest=False)
        ranks.extremes(kinds[LARGEST], largest=True)

    def values(self, *more: Tensor) -> tuple[dict[str, float], list[float]]:
        """All of them as numbers, and some others: one wait for the device."""
        read = torch.stack([*self._values.values(), *more]).tolist()
        return dict(zip(self._names, read, strict=False)), read[len(self._names) :]


def _start_of(name: str) -> float:
    if name.startswith(SMALLEST):
        return float("inf")
    return float("-inf") if name.startswith(LARGEST) else 0.0
