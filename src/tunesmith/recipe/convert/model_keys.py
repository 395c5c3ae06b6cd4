"""LLaMA-Factory's keys that change the model itself: new tokens, and parts trained with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from tunesmith.recipe.capabilities import TABLES


class Job(Protocol):
    """The job file on its way to a recipe, as far as a key needs it."""

    out: dict[str, Any]

    def get(self, key: str, default: Any = None) -> Any: ...
    def set(self, key: str, name: str, value: Any, reason: str = "") -> None: ...
    def taken(self, key: str, reason: str) -> None: ...
    def refuse(self, key: str, reason: str) -> None: ...


def _words(job: Job, key: str, value: Any) -> None:
    """add_tokens, add_special_tokens, and the older new_special_tokens."""
    to = "model.new_tokens" if key == "add_tokens" else "model.new_special_tokens"
    words = _listed(value)
    if not words:
        job.taken(key, "off, as here")
    elif key == "new_special_tokens" and job.get("add_special_tokens"):
        job.taken(key, "has no effect: add_special_tokens wins over it")
    else:
        job.set(key, to, words, "their vectors are trained")


def _parts(job: Job, key: str, value: Any) -> None:
    """additional_target: the vectors of new tokens are trained without their whole table."""
    names = _listed(value)
    kept = [name for name in names if name.rpartition(".")[2] not in TABLES]
    if job.get("finetuning_type", "lora") != "lora":
        job.taken(key, f"has no effect: finetuning_type is {job.get('finetuning_type')}")
    elif value is None:
        job.taken(key, "empty: the default is used")
    elif not any(map(job.get, _ADDING)) or kept == names:
        job.set(key, "adapter.modules_to_save", value)
    elif kept:
        job.set(key, "adapter.modules_to_save", kept, "of the tables only the new tokens learn")
    else:
        job.taken(key, "of the tables only the new tokens learn")


def _rope(job: Job, key: str, value: Any) -> None:
    """There as here the factor follows from cutoff_len."""
    if value in (None, False, "", "none"):
        job.taken(key, "off, as here")
    elif value == "dynamic":
        job.set(key, "model.rope_scaling", value, "acts where the result is used; factor 2")
        job.out["model.rope_factor"] = 2.0
    else:
        job.set(key, "model.rope_scaling", value, "by as much as cutoff_len needs")


def _listed(value: Any) -> list[str]:
    items = cast("list[Any]", value) if isinstance(value, list) else str(value or "").split(",")
    return [name for item in items if (name := str(item).strip())]


_ADDING = ("add_tokens", "add_special_tokens", "new_special_tokens")
MODEL_KEYS: Mapping[str, Callable[[Job, str, Any], None]] = {
    **dict.fromkeys(_ADDING, _words),
    "additional_target": _parts,
    "rope_scaling": _rope,
}
"""What becomes of each key."""
