"""What datasets and chat templates are called: rules for names, which load nothing else.

shop, shop@3       a dataset of the data directory: its newest version, or the third
builtin:general    rows that ship with the package
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BUILTIN = "builtin:"
BUILTIN_DATASETS = {  # what ships with the package, and its file among the examples
    "general": "general.jsonl",
    "probe": "probe.jsonl",
    "shop": "customer-service/train.jsonl",
}
TEMPLATES = ("alpaca", "chatml", "gemma", "glm4", "llama3", "mistral")
VERSION_MANIFEST = "manifest.json"  # a folder with this file is a published version
_NAME = re.compile(r"[^\W_][\w.-]{0,99}")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))}


@dataclass(frozen=True)
class Reference:
    """A dataset and, where it is written, one of its versions."""

    name: str
    version: int | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


def builtin_datasets(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and role of each dataset of a recipe, written as a mapping, that ships with us."""
    data: Mapping[str, Any] = recipe.get("data") or {}
    named = [(source, "train") for source in data.get("train") or ()]
    named += [(data.get(role) or {}, role) for role in ("validation", "test")]
    found = [
        (source["dataset"], role) for source, role in named if is_builtin(source.get("dataset", ""))
    ]
    return list(dict.fromkeys(found))


def parse_reference(text: str) -> Reference | None:
    """`name` or `name@3`; None for what cannot be a dataset's name, such as a path."""
    name, at, version = text.partition("@")
    if not is_name(name) or (at and not version.isdecimal()):
        return None
    return Reference(name, int(version) if at else None)


def is_name(name: str) -> bool:
    """Letters and digits of any script, with `_`, `-` and `.` inside; 100 characters at most."""
    plain = unicodedata.normalize("NFC", name) == name
    return bool(plain and _NAME.fullmatch(name)) and name.split(".")[0].lower() not in _RESERVED


def is_builtin(name: str) -> bool:
    """True for a dataset that ships with the package; a file of such a name is `./builtin:...`."""
    return name.startswith(BUILTIN)
