"""This process and its machine: how it holds memory, and how much of everything it uses."""

from __future__ import annotations

import ctypes
import sys

import psutil
import torch

_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD = -4, -1, -2  # mallopt's parameters, <malloc.h>


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks instead of giving them back to the system at once.

    Otherwise each large temporary tensor is fresh memory that the kernel has to clear, page by
    page, which costs a tenth of a training step on the CPU.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 1 << 30)
    mallopt(_TOP_PAD, 64 << 20)


def memory_in_use(device: torch.device) -> int:
    """Bytes: peak reserved memory of the GPU, or resident memory of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return psutil.Process().memory_info().rss


def utilisation(device: torch.device) -> float | None:
    """Share of time in percent that the GPU computes, or that the machine's cores have computed
    since the last call, whoever they work for; None where nobody measures it."""
    if device.type == "cpu":
        return psutil.cpu_percent()
    if device.type != "cuda":
        return None
    try:
        return float(torch.cuda.utilization(device))
    except (RuntimeError, ModuleNotFoundError):  # no NVML on this system
        return None
