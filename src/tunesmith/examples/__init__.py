"""Example data that ships with the package. Read `README.md` first.

Each folder holds a README, its rows and a recipe; `general.jsonl` is a corpus to mix with others.
"""

from __future__ import annotations

from pathlib import Path


def example_directory(name: str) -> Path:
    """Return the folder of one example, such as `customer-service`."""
    return Path(__file__).parent / name
