"""The devices of this machine: GPUs by index, or its CPU."""

from __future__ import annotations

import importlib
import logging
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psutil

from tunesmith.server.workers import DeviceInfo

log = logging.getLogger(__name__)
CPU_FLAVOUR: Final = "local-cpu"


def find_devices(
    wanted: Sequence[int] | None = None, *, num_cpu_devices: int = 1
) -> list[DeviceInfo]:
    """The GPUs, or `num_cpu_devices` times the CPU where there is none.

    `wanted` chooses among them by index; one that does not exist is reported as missing.
    """
    found = gpus() or cpus(num_cpu_devices)
    if wanted is None:
        return found
    by_index = {device.index: device for device in found}
    kind = "Device" if found[0].flavour == CPU_FLAVOUR else "GPU"
    for index in wanted:
        if index not in by_index:
            log.warning("%s %s not found; available: %s", kind, index, ranges(by_index))
    missing = DeviceInfo(-1, flavour=found[0].flavour, is_missing=True)
    return [by_index.get(index, replace(missing, index=index)) for index in wanted]


def seen_again(known: Sequence[DeviceInfo]) -> list[DeviceInfo]:
    """The same GPUs as they are now: one that has vanished is missing, and never the CPU."""
    there = {device.index: device for device in gpus()}
    now: list[DeviceInfo] = []
    for device in known:
        found = there.get(device.index)
        now.append(found or replace(device, is_missing=True))
        if found is None and not device.is_missing:
            log.warning(
                "GPU %d has vanished; available: %s. Its job is tried again on another one",
                device.index,
                ranges(there) or "none",
            )
        elif found is not None and device.is_missing:
            log.info("GPU %d is there", device.index)
    return now


def ranges(indices: Iterable[int]) -> str:
    """0, 1, 2, 5 -> `0-2, 5`."""
    parts: list[list[int]] = []
    for index in sorted(indices):
        if parts and index == parts[-1][-1] + 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)


def warn_of_misnamed_variable(environment: Mapping[str, str]) -> None:
    """CUDA_VISIBLE_DEVICE, as a widely read guide prints it, has no effect on anything."""
    wrong, right = "CUDA_VISIBLE_DEVICE", "CUDA_VISIBLE_DEVICES"
    if wrong in environment and right not in environment:
        log.warning(
            "%s has no effect: the name is %s, with an S. All GPUs are used. "
            "Set %s=%s to choose among them.",
            wrong,
            right,
            right,
            environment[wrong],
        )


def gpus() -> list[DeviceInfo]:
    """What the NVIDIA driver tells; nothing without it or without nvidia-ml-py."""
    try:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except ImportError:
        return []
    except Exception as error:  # the library has a class for each of its error numbers
        log.debug("no NVIDIA driver: %s", error)
        return []
    try:
        return [_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    finally:
        nvml.nvmlShutdown()


def cpus(count: int) -> list[DeviceInfo]:
    """The CPU, as a device that takes a job; several where jobs shall run beside each other."""
    memory = psutil.virtual_memory().total // max(1, count)
    return [DeviceInfo(index, cpu_name(), memory, CPU_FLAVOUR) for index in range(count)]


def flavour_of(name: str) -> str:
    """`NVIDIA H200` -> `h200`, `NVIDIA GeForce RTX 4090` -> `rtx-4090`."""
    plain = re.sub(r"\b(nvidia|geforce|tesla|graphics|device)\b", " ", name.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "gpu"


def cpu_name() -> str:
    """Such as `AMD EPYC 9354`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _gpu(nvml: Any, index: int) -> DeviceInfo:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)
    name = name.decode() if isinstance(name, bytes) else str(name)
    memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    return DeviceInfo(index, name, memory, flavour_of(name))
