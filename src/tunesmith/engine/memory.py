"""How much memory a device can give; the formula itself is in models/memory.py."""

from __future__ import annotations

import psutil
import torch

from tunesmith.models.memory import (
    CPU_MICRO_BATCH,
    CUDA_MICRO_BATCH,
    MemoryEstimate,
    Places,
    Shape,
    Trained,
    activation_bytes,
    choose_micro_batch,
    estimate_memory,
    kept_beside,
)

__all__ = [
    "CPU_MICRO_BATCH",
    "CUDA_MICRO_BATCH",
    "MemoryEstimate",
    "Places",
    "Shape",
    "Trained",
    "activation_bytes",
    "choose_micro_batch",
    "estimate_memory",
    "free_memory",
    "kept_beside",
]


def free_memory(device: torch.device) -> int:
    """Bytes that this device can still give."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
