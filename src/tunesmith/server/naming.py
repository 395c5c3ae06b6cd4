"""Names of what a job makes: `ft:BASE:PROJECT:SUFFIX:` and the end of its id, then the step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_CHECKPOINT: Final = re.compile(r"ft:.*:([0-9a-z]{8}):ckpt-step-(\d{1,12})", re.DOTALL)


@dataclass(frozen=True)
class CheckpointName:
    """What the name of a checkpoint says about where to find it."""

    job_end: str  # the last characters of the job's id
    step: int


def model_name(base: str, project: str, suffix: str, job_id: str) -> str:
    """The name of a job's result; the base of a base's name."""
    root = base.split(":")[1] if base.startswith("ft:") and base.count(":") > 1 else base
    parts = (re.sub(r"[:\s]+", "-", root.strip()), _plain(project), _plain(suffix))
    return f"ft:{':'.join(parts)}:{job_id[-8:]}"


def _plain(part: str) -> str:
    """Letters, digits, `-`, `_` alone: a name stands in paths of URLs, where `/../` means another.

    a/../b c -> a-b-c
    """
    return re.sub(r"[^\w-]+", "-", part.strip())


def suffix_of(name: str, request: Mapping[str, Any] | None) -> str:
    """The suffix of a job's result: as a client of the OpenAI API chose it, else the job's name."""
    if request is not None and "training_file" in request:
        return str(request.get("suffix") or "")
    return name


def checkpoint_name(model: str, step: int) -> str:
    """ft:starter:default:shop:01abcdef -> ft:starter:default:shop:01abcdef:ckpt-step-88"""
    return f"{model}:ckpt-step-{step}"


def parse_checkpoint(name: str) -> CheckpointName | None:
    """None for what is no name of a checkpoint."""
    found = _CHECKPOINT.fullmatch(name)
    return CheckpointName(found[1], int(found[2])) if found else None
