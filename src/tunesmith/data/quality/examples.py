"""Labelled rows of our own: those that ship with tunesmith, and the same rows spoiled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tunesmith.data.quality.corruptions import CORRUPTIONS
from tunesmith.data.quality.texts import Pair
from tunesmith.examples import example_directory

_SEED = 2024
_SUPPORT_ROWS = 300  # of 840 that resemble each other: more would drown the general corpus
_HELD_OUT_EVERY = 5  # of the general corpus


@dataclass(frozen=True)
class Example:
    """A pair with its label; `kind` is "good", or the way in which it was spoiled."""

    pair: Pair
    good: bool
    kind: str
    language: str = ""


def example_files() -> list[Path]:
    """What the classifier is trained and tested on."""
    support = example_directory("customer-service")
    return [
        support.parent / "general.jsonl",
        support / "train.jsonl",
        support / "heldout.jsonl",
    ]


def own_examples() -> tuple[list[Example], list[Example]]:
    """(training, held out): no row of the second part, spoiled or not, is in the first."""
    general, support, held_support = ([_pair(row) for row in _read(f)] for f in example_files())
    held = general[::_HELD_OUT_EVERY] + held_support
    training = [p for number, p in enumerate(general) if number % _HELD_OUT_EVERY]
    every = max(1, len(support) // _SUPPORT_ROWS)
    training += support[::every]
    return with_spoiled(training, _SEED), with_spoiled(held, _SEED + 1)


def with_spoiled(rows: Sequence[tuple[Pair, str]], seed: int) -> list[Example]:
    """Each row as it is, and once spoiled in every way."""
    by_language: defaultdict[str, list[str]] = defaultdict(list)
    for (_, answer), language in rows:
        by_language[language].append(answer)
    examples: list[Example] = []
    for number, ((question, answer), language) in enumerate(rows):
        examples.append(Example((question, answer), True, "good", language))
        for kind, (name, corrupt) in enumerate(CORRUPTIONS.items()):
            chance = np.random.default_rng([seed, number, kind])
            others = by_language[language]
            other = next(
                (
                    others[at]
                    for at in chance.integers(0, len(others), 8).tolist()
                    if others[at] != answer
                ),
                answer[::-1],
            )
            pair = corrupt(question, answer, other, chance)
            examples.append(Example(pair, False, name, language))
    return examples


def _read(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines() if line]


def _pair(row: dict[str, Any]) -> tuple[Pair, str]:
    if "messages" in row:
        return (row["messages"][0]["content"], row["messages"][1]["content"]), row["language"]
    return (row["question"], row["answer"]), row["language"]
