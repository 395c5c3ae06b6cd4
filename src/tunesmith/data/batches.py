"""Which rows make up which step, and how a step is cut into micro-batches. Pure functions.

The order depends on seed and epoch alone, so the number of the next step is all that a resumed run
has to know. How a step is cut never changes its rows: micro-batches are for memory and speed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """One weight update: its number (from 1), the epoch it belongs to (from 0) and its rows."""

    number: int
    epoch: int
    rows: Rows


class StepPlan:
    """All optimizer steps of a run.

    Args:
        pool: row numbers of the token table; a row that is sampled twice stands there twice.
        lengths: tokens of every row of the table.
        batch_size: rows a step; the last step of an epoch has what is left.
        batch_tokens: instead, as many rows a step as fit into this many tokens.
        epochs: passes over the pool; may be a fraction.
        max_steps: a limit on top.
        repeats: how many steps in a row have the same rows.
    """

    def __init__(
        self,
        pool: Rows,
        lengths: Rows,
        *,
        batch_size: int,
        batch_tokens: int | None,
        epochs: float,
        max_steps: int | None,
        seed: int,
        repeats: int = 1,
    ) -> None:
        assert len(pool) > 0
        self._repeats = repeats
        self._pool, self._lengths, self._seed = pool, lengths, seed
        self._batch_size, self._batch_tokens = batch_size, batch_tokens
        self._epochs = epochs
        self._starts: list[int] = [0]  # number of steps before each epoch
        self._full: list[int] = []  # number of steps of each epoch, if it were run to its end
        for epoch in range(math.ceil(epochs)):
            self._full.append(len(self._borders(epoch)) - 1)
            # Rounded, since 1.1 - 1 is a little more than a tenth.
            part = min(1.0, round(epochs - epoch, 9))
            self._starts.append(self._starts[-1] + math.ceil(round(part * self._full[-1], 6)))
        self.num_epochs = len(self._starts) - 1
        self.total_steps = max(1, self._starts[-1]) * repeats
        if max_steps is not None:
            self.total_steps = min(self.total_steps, max_steps)

    def order(self, epoch: int) -> Rows:
        """The pool in the order of one epoch."""
        generator = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        return self._pool[generator.permutation(len(self._pool))]

    def _borders(self, epoch: int) -> list[int]:
        """Where in the epoch's order each step starts, and the end."""
        count = len(self._pool)
        if self._batch_tokens is None:
            return [*range(0, count, self._batch_size), count]
        return borders_by_tokens(self._lengths[self.order(epoch)], self._batch_tokens)

    def epoch_of(self, number: int) -> int:
        """The epoch (from 0) of a step (from 1)."""
        draw = (number - 1) // self._repeats + 1
        return int(np.searchsorted(self._starts, draw, side="left")) - 1

    @property
    def steps_of_one_epoch(self) -> float:
        """Mean number of steps of an epoch."""
        return self._repeats * self._starts[-1] / self._epochs

    def steps(self, after: int = 0) -> Iterator[Step]:
        """The steps behind step number `after`, in order."""
        number, repeats = after + 1, self._repeats
        while number <= self.total_steps:
            epoch = self.epoch_of(number)
            order, borders = self.order(epoch), self._borders(epoch)
            first = (number - 1) // repeats - self._starts[epoch]
            last = min(self.total_steps, self._starts[epoch + 1] * repeats)
            for start, end in zip(borders[first:], borders[first + 1 :], strict=False):
                # Behind a restart the first rows may have had some of their steps already.
                for _ in range(repeats - (number - 1) % repeats):
                    if number > last:
                        break
                    yield Step(number, epoch, order[start:end])
                    number += 1

    def progress(self, step: Step) -> float:
        """Epochs done when a step is done, such as 1.25."""
        done = step.number / self._repeats - self._starts[step.epoch]
        return step.epoch + done / self._full[step.epoch]


def borders_by_tokens(lengths: Rows, budget: int) -> list[int]:
    """Cut a sequence of rows so that each part holds at most `budget` tokens, and at least one row.

    Lengths [4, 4, 4, 9, 1] with a budget of 8 -> [0, 2, 3, 4, 5].
    """
    ends = np.cumsum(lengths)
    borders = [0]
    while borders[-1] < len(lengths):
        start = borders[-1]
        before = int(ends[start - 1]) if start else 0
        fitting = int(np.searchsorted(ends, before + budget, side="right"))
        borders.append(max(fitting, start + 1))
    return borders


def micro_batches(rows: Rows, lengths: Rows, budget: int) -> list[Rows]:
    """Cut the rows of a step into as few groups of at most `budget` tokens as first-fit finds.

    Longest rows are placed first (first-fit decreasing); a row longer than the budget is alone.
    Groups keep the order of the step, so a step that fits at once is untouched.
    """
    of_rows = lengths[rows]
    if int(of_rows.sum()) <= budget:
        return [rows]
    bins: list[list[int]] = []
    room: list[int] = []
    for index in np.argsort(-of_rows, kind="stable"):
        length = int(of_rows[index])
        place = next((i for i, free in enumerate(room) if free >= length), None)
        if place is None:
            bins.append([])
            room.append(budget)
            place = len(bins) - 1
        bins[place].append(int(index))
        room[place] -= length
    return [rows[sorted(members)] for members in bins]


def share_of_rank(rows: Rows, lengths: Rows, rank: int, world_size: int) -> Rows:
    """The rows of a step that one of several processes takes, balanced by tokens; may be empty."""
    if world_size == 1:
        return rows
    load = [0] * world_size
    mine: list[int] = []
    for index in np.argsort(-lengths[rows], kind="stable"):
        target = min(range(world_size), key=lambda r: load[r])
        load[target] += int(lengths[rows[index]])
        if target == rank:
            mine.append(int(index))
    return rows[sorted(mine)]


def order_hash(plan: StepPlan, epochs: Sequence[int]) -> str:
    """SHA-256 of the row order of some epochs, for the passport."""
    import hashlib

    digest = hashlib.sha256()
    for epoch in epochs:
        digest.update(plan.order(epoch).astype("<i8").tobytes())
    return digest.hexdigest()
