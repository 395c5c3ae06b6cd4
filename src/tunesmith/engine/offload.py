"""What layers keep for backward, in main memory until backward asks for it.

Whole memories are copied, each once: q, k and v of one product are views of one memory, and several
products keep the same input. What comes back has the same bits at the same strides, so the numbers
of a training stay the same. Copies stand in line with the work of the device, so a memory is free
for the next layer as soon as it has left, and never before.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef

LEAST_BYTES: Final = 1 << 20  # a copy of less takes longer to start than to make
MAIN_MEMORY: Final = torch.device("cpu")


class Offload:
    """The activations of layers that are away."""

    def __init__(self, place: torch.device = MAIN_MEMORY, least_bytes: int = LEAST_BYTES) -> None:
        self.num_bytes = 0  # that have left so far
        self._place, self._least_bytes = place, least_bytes
        # By the identity of the memory and how often it had been written to.
        self._away: weakref.WeakValueDictionary[tuple[int, int], _Memory] = (
            weakref.WeakValueDictionary()
        )

    @contextmanager
    def within(self, layer: nn.Module) -> Generator[None]:
        """What is kept for backward in here leaves, but for weights and what is small."""
        if not torch.is_grad_enabled():  # nothing is kept, and a written token should cost nothing
            yield
            return
        tensors = [*layer.parameters(), *layer.buffers()]
        own = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        with saved_tensors_hooks(partial(self._pack, own), _unpack):
            yield

    def _pack(self, own: Collection[int], tensor: Tensor) -> Tensor | _View:
        if type(tensor) is not Tensor:
            return tensor
        storage = tensor.untyped_storage()
        if storage.nbytes() < self._least_bytes or storage.data_ptr() in own:
            return tensor
        key = (storage._cdata, tensor._version)  # pyright: ignore[reportPrivateUsage]
        memory = self._away.get(key)
        if memory is None:
            memory = self._away[key] = _Memory(storage, self._place)
            self.num_bytes += storage.nbytes()
        return _View(memory, tensor)


class _Memory:
    """All bytes of one memory of the device, away; back while several views of it are wanted."""

    def __init__(self, storage: torch.UntypedStorage, place: torch.device) -> None:
        # While this is held, no other memory can have the same identity.
        self._identity = StorageWeakRef(storage)
        self._device = storage.device
        bytes_N = torch.empty(0, dtype=torch.uint8, device=self._device).set_(storage)
        # Without pinned memory the processor would have to wait for each copy.
        is_pinned = self._device.type == "cuda" and place.type == "cpu"
        self._away_N = torch.empty(
            storage.nbytes(), dtype=torch.uint8, device=place, pin_memory=is_pinned
        )
        self._away_N.copy_(bytes_N, non_blocking=True)
        self._back_N: Tensor | None = None
        self.num_wanted = 0

    def back(self) -> torch.UntypedStorage:
        """The memory for one of its views."""
        bytes_N = self._back_N
        if bytes_N is None:
            bytes_N = torch.empty_like(self._away_N, device=self._device, pin_memory=False)
            bytes_N.copy_(self._away_N, non_blocking=True)
        self.num_wanted -= 1
        self._back_N = bytes_N if self.num_wanted > 0 else None
        return bytes_N.untyped_storage()


class _View:
    """A tensor, as its place in a memory."""

    def __init__(self, memory: _Memory, tensor: Tensor) -> None:
        memory.num_wanted += 1
        self.memory = memory
        self.dtype, self.device = tensor.dtype, tensor.device
        self.layout = (tensor.storage_offset(), tensor.size(), tensor.stride())


def _unpack(kept: Tensor | _View) -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    empty: Any = torch.empty(0, dtype=kept.dtype, device=kept.device)
    return empty.set_(kept.memory.back(), *kept.layout)
