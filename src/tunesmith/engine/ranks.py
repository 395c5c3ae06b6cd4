"""Several processes that train one model together: the same rows, the same update as one process.

Started by torchrun; every process holds the whole model, takes its share of each step's rows, and
the gradients are summed. Without torchrun there is one process and every method is free.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """This process among its peers."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """The one process that writes events, checkpoints and artifacts."""
        return self.rank == 0

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Add up tensors over all processes, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)

    def from_first(self, value: Any) -> Any:
        """What the first process says, in every process."""
        if self.world_size == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def extremes(self, tensors: Sequence[Tensor], *, largest: bool) -> None:
        """The smallest or largest of each tensor over all processes, in place."""
        if self.world_size > 1:
            kind = torch.distributed.ReduceOp.MAX if largest else torch.distributed.ReduceOp.MIN
            for tensor in tensors:
                torch.distributed.all_reduce(tensor, kind)

    def gather(self, value: Any) -> list[Any]:
        """What every process says, in the order of ranks."""
        if self.world_size == 1:
            return [value]
        box: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(box, value)
        return box

    def wait(self) -> None:
        """Until every process is here."""
        if self.world_size > 1:
            torch.distributed.barrier()


@contextmanager
def process_group(device: torch.device) -> Generator[Ranks]:
    """Join the processes that torchrun started (its RANK and WORLD_SIZE); alone without it."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks()
        return
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(torch.distributed.get_rank(), world_size)
    finally:
        torch.distributed.destroy_process_group()
