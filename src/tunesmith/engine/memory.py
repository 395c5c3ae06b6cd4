"""How much memory a device can give; the formula itself is in models/memory.py."""

from __future__ import annotations

import os

import psutil
import torch

from tunesmith.models.memory import (
    CPU_MICRO_BATCH,
    CUDA_MICRO_BATCH,
    LEAST_SHARE,
    MemoryEstimate,
    Places,
    Room,
    Shape,
    Trained,
    activation_bytes,
    choose_micro_batch,
    estimate_memory,
    kept_beside,
    with_checkpointing,
)

__all__ = [
    "CPU_MICRO_BATCH",
    "CUDA_MICRO_BATCH",
    "LEAST_SHARE",
    "MemoryEstimate",
    "Places",
    "Room",
    "Shape",
    "Trained",
    "activation_bytes",
    "choose_micro_batch",
    "estimate_memory",
    "free_memory",
    "kept_beside",
    "room_of",
    "with_checkpointing",
]


def room_of(device: torch.device) -> Room:
    """What is free now. Ask before the model is loaded: the estimate counts it too."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of torchrun: each has its own GPU
    return Room(free_memory(device), free_memory(torch.device("cpu")) // processes)


def free_memory(device: torch.device) -> int:
    """Bytes that this device can still give."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
