"""The checks of `tunesmith doctor` that need no torch: each is a line with a status and a mend."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from tunesmith import __version__
from tunesmith.runs.files import format_bytes

Status = Literal["ok", "warning", "error"]
_GIB = 1024**3


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, and what to do about it."""

    name: str
    status: Status
    detail: str
    mend: str = ""


@dataclass(frozen=True)
class Library:
    """A library with the versions that are supported: from `least` on, below `limit`."""

    name: str
    least: str
    limit: str = ""
    extra: str = ""


LIBRARIES = (
    Library("torch", "2.11", "2.14", extra="engine"),
    Library("transformers", "5.17", extra="engine"),
    Library("peft", "0.21", extra="engine"),
    Library("safetensors", "0.6", extra="engine"),
    Library("tokenizers", "0.22"),
    Library("pyarrow", "18.0"),
    Library("pydantic", "2.10"),
)


def local_checks(folder: Path, environment: Mapping[str, str]) -> list[Check]:
    """All checks of this machine that need neither torch nor a network."""
    memory = psutil.virtual_memory()
    return [
        check_python(),
        *(check_library(library) for library in LIBRARIES),
        check_processor(),
        check_memory(memory.total, memory.available, cgroup_limit()),
        check_disk(folder),
        check_sqlite(sqlite3.sqlite_version),
        check_encoding(),
        *check_gpu_variable(environment),
    ]


def check_python() -> Check:
    version = platform.python_version()
    detail = f"tunesmith {__version__}, Python {version}, {platform.system()} {platform.machine()}"
    return Check("versions", "ok", detail)


def check_library(library: Library) -> Check:
    try:
        version = importlib.metadata.version(library.name)
    except importlib.metadata.PackageNotFoundError:
        package = f"tunesmith[{library.extra}]" if library.extra else library.name
        return Check(library.name, "error", "not installed", f"pip install '{package}'")
    return judge_version(library, version)


def judge_version(library: Library, version: str) -> Check:
    """Whether a version lies in the supported range."""
    number = version_numbers(version)
    if number < version_numbers(library.least):
        mend = f"pip install -U '{library.name}>={library.least}'"
        return Check(library.name, "error", f"{version} is too old", mend)
    if library.limit and number >= version_numbers(library.limit):
        mend = f"pip install '{library.name}<{library.limit}'"
        return Check(library.name, "warning", f"{version} is newer than any tested", mend)
    return Check(library.name, "ok", version)


def check_processor() -> Check:
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return Check("processor", "ok", f"{physical} cores, {usable} threads usable")


def check_memory(total: int, available: int, limit: int | None) -> Check:
    if limit is not None and limit < total:
        total, available = limit, min(available, limit)
    detail = f"{format_bytes(available)} free of {format_bytes(total)}"
    if available < 2 * _GIB:
        mend = "Close other programs; below 2 GiB only the starter model fits."
        return Check("memory", "warning", detail, mend)
    return Check("memory", "ok", detail)


def cgroup_limit(path: Path = Path("/sys/fs/cgroup/memory.max")) -> int | None:
    """The limit of a container in bytes; None when there is none."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def check_disk(folder: Path) -> Check:
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    detail = f"{format_bytes(free)} free in {place}"
    if not os.access(place, os.W_OK):
        mend = "Work in a folder that you may write to, or set TUNESMITH_DATA_DIR."
        return Check("disk", "error", f"{place} cannot be written", mend)
    if free < _GIB:
        return Check("disk", "error", detail, "Free some space: a checkpoint would not fit.")
    if free < 10 * _GIB:
        return Check("disk", "warning", detail, "A model of 7 B parameters alone needs 15 GiB.")
    return Check("disk", "ok", detail)


def check_sqlite(version: str) -> Check:
    """WAL corrupts with several connections in 3.7.0 to 3.51.2, but for the lines mended."""
    if wal_is_safe(version):
        return Check("sqlite", "ok", version)
    detail = f"{version} has a bug in WAL mode, so the rollback journal is used"
    mend = (
        "Nothing is at risk. SQLite 3.51.3 or newer, or PostgreSQL, lets more people write at once."
    )
    return Check("sqlite", "warning", detail, mend)


def wal_is_safe(version: str) -> bool:
    """Whether this version of SQLite may use its WAL mode with several connections."""
    number = version_numbers(version)
    if number < (3, 7, 0) or number >= (3, 51, 3):
        return True
    return number[:2] in ((3, 50), (3, 44)) and number >= (
        (3, 50, 7) if number[:2] == (3, 50) else (3, 44, 6)
    )


def check_encoding() -> Check:
    encoding = sys.getfilesystemencoding()
    if encoding.lower().replace("-", "") == "utf8":
        return Check("encoding", "ok", "UTF-8")
    mend = "Set PYTHONUTF8=1, or a locale such as C.UTF-8."
    return Check("encoding", "warning", f"file names are {encoding}", mend)


def check_gpu_variable(environment: Mapping[str, str]) -> list[Check]:
    """A line only when the name without its S is set: it has no effect."""
    if "CUDA_VISIBLE_DEVICE" not in environment or "CUDA_VISIBLE_DEVICES" in environment:
        return []
    value = environment["CUDA_VISIBLE_DEVICE"]
    detail = f"CUDA_VISIBLE_DEVICE={value} has no effect: the name lacks an S at its end"
    return [Check("environment", "warning", detail, f"Set CUDA_VISIBLE_DEVICES={value} instead.")]


def check_hub(name: str, address: str, timeout: float = 3.0) -> Check:
    """Whether a model hub answers. Without it, local models and the starter still work."""
    try:
        request = urllib.request.Request(address, method="HEAD", headers=_HEADERS)
        with urllib.request.urlopen(request, timeout=timeout):
            return Check(name, "ok", f"{address} answers")
    except urllib.error.HTTPError as answer:  # it answers, though not with a page
        return Check(name, "ok", f"{address} answers (status {answer.code})")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Check(name, "warning", f"{address} is not reachable: {reason}", HUB_MEND)


def hub_addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """The hubs to ask, as the environment names them."""
    return {
        "hub": environment.get("HF_ENDPOINT") or "https://huggingface.co",
        "modelscope": environment.get("MODELSCOPE_DOMAIN_URL") or "https://modelscope.cn",
    }


def version_numbers(version: str) -> tuple[int, ...]:
    """'2.13.0+cpu' -> (2, 13, 0)."""
    numbers: list[int] = []
    for part in version.split("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


_HEADERS = {"User-Agent": f"tunesmith/{__version__}"}
HUB_MEND = (
    "Local models and `base: starter` work without it. Behind a proxy set HTTPS_PROXY; "
    "a mirror goes into HF_ENDPOINT."
)
