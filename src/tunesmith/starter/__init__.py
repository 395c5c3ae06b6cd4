"""The starter model (`base: starter`): weights, tokenizer, chat template.

Read `model/config.json` first: its architecture. tools/starter builds it from its corpus.
"""

from __future__ import annotations

from pathlib import Path


def starter_directory() -> Path:
    """Return the model folder, which plain transformers can load."""
    return Path(__file__).parent / "model"
