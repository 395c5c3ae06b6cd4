"""Read the hand-written intents: questions and one answer for each intent and language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Intent:
    """What customers ask about one matter, in one language, and what the shop answers."""

    name: str
    language: str
    answer: str
    train: tuple[str, ...]
    heldout: tuple[str, ...]


def load_intents(language: str) -> list[Intent]:
    """Read the intents of one language in the order of its file."""
    text = (HERE / f"intents_{language}.yaml").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return [
        Intent(name, language, entry["answer"], tuple(entry["train"]), tuple(entry["heldout"]))
        for name, entry in entries.items()
    ]


def normalised(text: str) -> str:
    """Lower case letters, digits and Han characters only: trivial variants compare equal."""
    return re.sub(r"[\W_]+", "", text.lower())
