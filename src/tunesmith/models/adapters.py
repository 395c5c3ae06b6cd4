"""What kind of adapter a folder holds, by PEFT's settings; no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tunesmith.models.files import read_json

LORA: Final = "LORA"
# What a plain LoRA may not have, with what it would mean.
_NOT_PLAIN: Final = {
    "use_dora": "DoRA",
    "modules_to_save": "whole layers that were trained beside the adapters",
    "layer_replication": "replicated layers",
    "trainable_token_indices": "trained tokens",
    "target_parameters": "adapters on parameters",
    "alora_invocation_tokens": "activated LoRA",
}
IN_FRONT: Final = frozenset({"PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"})
BESIDE: Final = "ADAPTION_PROMPT"


def adapter_type(folder: Path) -> str:
    """PEFT's name for it, such as LORA or OFT; empty where its settings do not say."""
    settings: Any = read_json(folder / "adapter_config.json")
    return str(settings.get("peft_type") or "").upper() if isinstance(settings, dict) else ""


def named_base(folder: Path) -> str:
    """` (its base)` for the end of a sentence; empty where its settings do not name one."""
    settings: Any = read_json(folder / "adapter_config.json")
    name = settings.get("base_model_name_or_path") if isinstance(settings, dict) else None
    return f" ({name})" if name else ""


def is_lora(folder: Path) -> bool:
    """True for low-rank matrices beside weights, and where no other kind is named."""
    return adapter_type(folder) in ("", LORA)


def is_in_front(folder: Path) -> bool:
    """True for learned vectors in front of the text, which no weight can take up."""
    return adapter_type(folder) in IN_FRONT


def is_beside(folder: Path) -> bool:
    """True for learned vectors that layers attend to beside the text (adapter tuning)."""
    return adapter_type(folder) == BESIDE


def not_plain(settings: Mapping[str, Any]) -> list[str]:
    """What an adapter has besides the two matrices of each layer, or in their place; in words."""
    kind = str(settings.get("peft_type") or "").upper()
    reasons = [] if kind == LORA else [f"the kind {kind or 'that is not named'}"]
    reasons += [what for key, what in _NOT_PLAIN.items() if settings.get(key)]
    return reasons + (["biases"] if settings.get("bias", "none") != "none" else [])


def scale_of_layer(layer: str, rank: int, settings: Mapping[str, Any]) -> float:
    """Alpha by rank, as PEFT takes it: patterns name layers by the end of their names."""
    patterns: Mapping[str, float] = settings.get("alpha_pattern") or {}
    alpha = next(
        (value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", layer)),
        settings.get("lora_alpha", rank),
    )
    return float(alpha) / (math.sqrt(rank) if settings.get("use_rslora") else rank)
