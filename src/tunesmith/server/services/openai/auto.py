"""What "auto" comes to, from the number of training rows. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_DEFAULT_EPOCHS: Final = 3
_MOST_EPOCHS: Final = 25
_FEWEST_EXAMPLES, _MOST_EXAMPLES = 100, 25_000  # seen in a training, counted each time
_UPDATES_AN_EPOCH: Final = 10
MOST_BATCH: Final = 256
_BETA: Final = 0.1
_EVALUATIONS: Final = 10  # in a training
_EVALUATED_QUESTIONS: Final = 100  # each asks for an answer to be written
# A model that answers well already is moved with care: this share of the rate for learning answers.
_RATE_SHARE: Final = {"supervised": 1.0, "dpo": 0.1, "reinforcement": 0.1}
# The hyper-parameters that every method has.
SHARED: Final = ("n_epochs", "batch_size", "learning_rate_multiplier")


@dataclass(frozen=True)
class Numbers:
    """The hyper-parameters that are in force; `own`: those that only this method has."""

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    own: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def document(self) -> dict[str, Any]:
        """All of them, by the names of the API."""
        shared = {name: getattr(self, name) for name in SHARED}
        return {**shared, **self.own}

    def told(self) -> str:
        shown = {
            name: value if isinstance(value, str) else f"{value:g}"
            for name, value in self.document().items()
        }
        return ", ".join(f"{name}={value}" for name, value in shown.items())


@dataclass(frozen=True)
class Recommended:
    """What is advised for a model and so many rows (services/advice)."""

    batch_size: int
    learning_rate: float

    @classmethod
    def of(cls, values: Mapping[str, Any], method: str) -> Recommended:
        """From the fields of a recipe that are advised for learning answers."""
        rate = float(values["training.learning_rate"]) * _RATE_SHARE[method]
        return cls(int(values["training.batch_size"]), rate)


def decide(asked: Mapping[str, Any], rows: int, recommended: Recommended) -> Numbers:
    """Numbers in place of every "auto"."""
    epochs = asked["n_epochs"]
    batch = asked["batch_size"]
    multiplier = asked["learning_rate_multiplier"]
    if epochs == "auto":
        epochs = num_epochs(rows)
    if batch == "auto":
        batch = batch_size(rows, recommended.batch_size)
    own = {name: value for name, value in asked.items() if name not in SHARED}
    for name in [name for name, value in own.items() if value == "auto"]:
        own[name] = _decided(name, epochs * math.ceil(rows / batch))
    return Numbers(epochs, batch, 1.0 if multiplier == "auto" else multiplier, own)


def _decided(name: str, steps: int) -> float:
    """A number of one method, in a training of so many steps."""
    numbers: dict[str, float] = {
        "beta": _BETA,
        "compute_multiplier": 1.0,
        "eval_interval": max(1, steps // _EVALUATIONS),
        "eval_samples": _EVALUATED_QUESTIONS,
    }
    return numbers[name]


def num_epochs(rows: int) -> int:
    """3, but so many that 100 examples are seen, 25 at most; and no more than 25,000 examples."""
    if rows * _DEFAULT_EPOCHS < _FEWEST_EXAMPLES:
        return min(_MOST_EPOCHS, _FEWEST_EXAMPLES // max(rows, 1))
    if rows * _DEFAULT_EPOCHS > _MOST_EXAMPLES:
        return max(1, _MOST_EXAMPLES // rows)
    return _DEFAULT_EPOCHS


def batch_size(rows: int, recommended: int) -> int:
    """The recommended one, but at least ten updates an epoch."""
    return max(1, min(recommended, rows // _UPDATES_AN_EPOCH, MOST_BATCH))
