"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Machine:
    """Enough to tell two machines apart; a figure without it means nothing."""

    processor: str
    physical_cores: int
    memory_gb: int
    system: str
    python: str
    torch: str
    load_before: float  # of the last minute: above 0.5 somebody else was at work


def describe_machine() -> Machine:
    """Look at the machine now."""
    return Machine(
        processor=_processor(),
        physical_cores=psutil.cpu_count(logical=False) or os.cpu_count() or 0,
        memory_gb=round(psutil.virtual_memory().total / 2**30),
        system=platform.platform(),
        python=platform.python_version(),
        torch=version("torch"),
        load_before=round(psutil.getloadavg()[0], 2),
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
