"""What kind of adapter a folder holds, by PEFT's settings; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tunesmith.models.files import read_json

LORA: Final = "LORA"
IN_FRONT: Final = frozenset({"PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"})


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
    """True for what is served beside its base, and where no other kind is named.

    Other kinds are merged into their base first.
    """
    return adapter_type(folder) in ("", LORA)


def is_in_front(folder: Path) -> bool:
    """True for learned vectors in front of the text, which no weight can take up."""
    return adapter_type(folder) in IN_FRONT
