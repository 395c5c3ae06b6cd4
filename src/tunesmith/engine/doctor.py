"""`python -m tunesmith.engine doctor --json`: what torch finds on this machine."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import Literal

import torch

Status = Literal["ok", "warning", "error"]
LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "bitsandbytes")


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, and what to do about it."""

    name: str
    status: Status
    detail: str
    mend: str = ""


def main(arguments: list[str]) -> int:
    """Print the checks; 1 when there is an error among them."""
    parser = argparse.ArgumentParser(prog="tunesmith.engine doctor")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args(arguments)
    checks = engine_checks()
    if options.json:
        document = {
            "checks": [asdict(check) for check in checks],
            "versions": versions(),
            "devices": devices(),
        }
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    else:
        for check in checks:
            sys.stdout.write(f"{check.status:<8} {check.name:<8} {check.detail}\n")
            if check.mend:
                sys.stdout.write(f"{'':<18}{check.mend}\n")
    return 1 if any(check.status == "error" for check in checks) else 0


def engine_checks() -> list[Check]:
    """Devices, number formats and threads; the versions are checked without torch."""
    return [check_devices(), *check_bfloat16(), check_threads()]


def check_devices() -> Check:
    """Which devices there are, and what `device: auto` takes."""
    found = devices()
    named = ", ".join(_described(device) for device in found)
    if len(found) > 1:
        return Check("devices", "ok", named)
    if torch.version.cuda is None and not torch.backends.mps.is_available():
        if _has_nvidia_gpu():
            return Check(
                "devices",
                "warning",
                f"{named}; there is an NVIDIA GPU, but torch {torch.__version__} has no CUDA",
                "Install a CUDA build of torch: see pytorch.org, 'Get started'.",
            )
        return Check("devices", "ok", f"{named}; no GPU, so small models train best here")
    return Check(
        "devices",
        "warning",
        f"{named}; torch has CUDA {torch.version.cuda} but finds no GPU",
        "Check the driver with nvidia-smi, and CUDA_VISIBLE_DEVICES.",
    )


def _has_nvidia_gpu() -> bool:
    return os.path.exists("/proc/driver/nvidia/version")


def _described(device: dict[str, object]) -> str:
    size = device.get("memory_bytes")
    memory = f", {size / 1024**3:.0f} GiB" if isinstance(size, int) else ""
    return f"{device['id']} ({device['name']}{memory})"


def check_bfloat16() -> list[Check]:
    """Without bfloat16 a GPU computes in float32, which takes twice the memory."""
    if not torch.cuda.is_available():
        return []
    if torch.cuda.is_bf16_supported():
        return [Check("bfloat16", "ok", "supported")]
    return [
        Check(
            "bfloat16",
            "warning",
            "not supported by this GPU: models compute in float32, in twice the memory",
            "Write model.dtype: float16 for half of it.",
        )
    ]


def check_threads() -> Check:
    """A process that is held to one thread trains slowly on the CPU."""
    threads = torch.get_num_threads()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{threads} of {usable} usable processors for torch"
    if usable is not None and threads < usable // 2 and not torch.cuda.is_available():
        return Check(
            "threads", "warning", detail, "Unset OMP_NUM_THREADS, or raise it, to train faster."
        )
    return Check("threads", "ok", detail)


def versions() -> dict[str, str | None]:
    """Versions of the engine's libraries; None for what is not installed."""
    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return {**found, "cuda": torch.version.cuda}


def devices() -> list[dict[str, object]]:
    """Every device that a recipe may name, the CPU first."""
    found: list[dict[str, object]] = [
        {"id": "cpu", "name": torch.backends.cpu.get_cpu_capability(), "bfloat16": True}
    ]
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        found.append(
            {
                "id": f"cuda:{number}",
                "name": properties.name,
                "memory_bytes": properties.total_memory,
                "capability": f"{properties.major}.{properties.minor}",
                "bfloat16": torch.cuda.is_bf16_supported(),
            }
        )
    if torch.backends.mps.is_available():
        found.append({"id": "mps", "name": "Apple GPU", "bfloat16": False})
    return found
