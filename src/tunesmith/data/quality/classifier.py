"""A text-quality classifier: logistic regression on what answers look like, in numpy alone.

A row becomes three kinds of features: hashed n-grams of the answer's characters, of their classes
(capital, digit, Chinese, end of a sentence, ...), and the measures of measures.py. The classes and
measures are what carries over to other subjects; the characters catch garbled text and phrases.

`own_classifier` is trained on tunesmith's own rows at its first use (some seconds) and remembered;
`trained_on` takes labels of the user's own rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from tunesmith.data import cache
from tunesmith.data.quality.examples import Example, example_files, own_examples
from tunesmith.data.quality.measures import measure
from tunesmith.data.quality.texts import Pair
from tunesmith.data.quality.vectors import (
    Block,
    characters,
    classes_of,
    ngrams,
    weigh,
)

Floats = npt.NDArray[np.floating[Any]]
_CHARACTER_BITS, _CLASS_BITS = 14, 13
_CHARACTER_SIZES, _CLASS_SIZES = (1, 2, 3), (2, 3, 4, 5)
_MEASURED = 22  # numbers of `_numbers`
NUM_FEATURES = (1 << _CHARACTER_BITS) + (1 << _CLASS_BITS) + _MEASURED + 1
_PASSES = 120
_RATE = 0.1
_DECAY = 3e-4
_ROWS_AT_ONCE = 512
MOST_CHARACTERS = 4000  # of an answer; its last 500 are among them


@dataclass(frozen=True)
class Classifier:
    """Weights, and what is known about how well they do."""

    weights: Floats
    mean: Floats  # of the measured numbers of the training rows
    spread: Floats
    facts: dict[str, Any]

    def quality(self, pairs: Sequence[Pair]) -> Floats:
        """The probability that each row is good."""
        parts = [
            _sigmoid(_scores(self.weights, self._block(pairs[at : at + _ROWS_AT_ONCE])))
            for at in range(0, len(pairs), _ROWS_AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _block(self, pairs: Sequence[Pair]) -> Block:
        return _with_numbers(_hashed(pairs), (_numbers(pairs) - self.mean) / self.spread)


def own_classifier(cache_dir: Path) -> Classifier:
    """Trained on the rows that ship with tunesmith, once."""
    files = [cache.file_digest(path, cache_dir) for path in example_files()]
    key = cache.fingerprint([cache.code_fingerprint(), files])

    def build(draft: Path) -> None:
        made = _trained_on_own_rows()
        np.savez(draft / "weights.npz", weights=made.weights, mean=made.mean, spread=made.spread)
        (draft / "facts.json").write_bytes(orjson.dumps(made.facts))

    folder = cache.build_once(cache_dir, f"classifier-{key}", build)
    with np.load(folder / "weights.npz") as arrays:
        return Classifier(**arrays, facts=orjson.loads((folder / "facts.json").read_bytes()))


def trained_on(training: Sequence[Example], held_out: Sequence[Example]) -> Classifier:
    """A classifier of labelled rows; its facts say how it does on rows it has not seen."""
    pairs = [example.pair for example in training]
    numbers = _numbers(pairs)
    mean, spread = numbers.mean(0), numbers.std(0) + 1e-3
    blocks = [
        _with_numbers(_hashed(pairs[at : at + _ROWS_AT_ONCE]), part)
        for at, part in (
            (at, (numbers[at : at + _ROWS_AT_ONCE] - mean) / spread)
            for at in range(0, len(pairs), _ROWS_AT_ONCE)
        )
    ]
    good = np.array([example.good for example in training])
    # Both labels count the same, however many rows have them.
    shares = np.where(good, 0.5 / max(1, good.sum()), 0.5 / max(1, (~good).sum()))
    weights = _fit(_joined(blocks), good.astype(np.float32), shares.astype(np.float32))
    made = Classifier(weights, mean, spread, {})
    return Classifier(weights, mean, spread, _facts(made, training, held_out))


def _trained_on_own_rows() -> Classifier:
    return trained_on(*own_examples())


def _facts(
    made: Classifier, training: Sequence[Example], held: Sequence[Example]
) -> dict[str, Any]:
    """Shares of the held-out rows that are judged rightly, at a quality of 0.5."""
    called_good = made.quality([example.pair for example in held]) >= 0.5
    right = called_good == np.array([example.good for example in held])
    told: dict[str, list[bool]] = {}
    for example, is_right in zip(held, right.tolist(), strict=True):
        told.setdefault(example.kind, []).append(is_right)
        if example.language:
            label = "good" if example.good else "bad"
            told.setdefault(f"{example.language} {label}", []).append(is_right)
    good = [r for e, r in zip(held, right.tolist(), strict=True) if e.good]
    bad = [r for e, r in zip(held, right.tolist(), strict=True) if not e.good]
    counts = Counter(example.good for example in training)
    return {
        "training_rows": {"good": counts[True], "bad": counts[False]},
        "held_out_rows": {"good": len(good), "bad": len(bad)},
        # The mean of both labels: guessing gives 0.5, however many rows have each.
        "accuracy": round((_share(good) + _share(bad)) / 2, 3),
        "recognised": {kind: round(_share(hits), 3) for kind, hits in told.items()},
    }


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else 0.0


# ---------------------------------------------------------------- features


def _hashed(pairs: Sequence[Pair]) -> Block:
    """N-grams of characters, then of classes, in features of their own."""
    answers = [_clipped(answer) for _, answer in pairs]
    seen = characters(answers)
    lower = characters([answer.lower() for answer in answers])
    words = weigh(ngrams(lower, _CHARACTER_SIZES, _CHARACTER_BITS), 1 << _CHARACTER_BITS)
    shapes = weigh(ngrams(seen, _CLASS_SIZES, _CLASS_BITS, classes_of(seen)), 1 << _CLASS_BITS)
    assert words.values is not None
    assert shapes.values is not None
    return Block(
        np.concatenate([words.rows, shapes.rows]),
        np.concatenate([words.features, shapes.features + (1 << _CHARACTER_BITS)]),
        len(pairs),
        np.concatenate([words.values, shapes.values]),
    )


def _clipped(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return text[: MOST_CHARACTERS - 500] + text[-500:]


def _numbers(pairs: Sequence[Pair]) -> Floats:
    """[rows, _MEASURED]: the measures, the widths as logarithms, and a few of them squared."""
    told = [measure(question, answer).numbers() for question, answer in pairs]
    raw = np.array(told, np.float64).reshape(len(pairs), -1)
    raw[:, :2] = np.log1p(raw[:, :2])
    return np.concatenate([raw, raw**2], axis=1).astype(np.float32)


def _with_numbers(block: Block, numbers: Floats) -> Block:
    """The block with dense features and the constant behind the hashed ones."""
    count = numbers.shape[1]
    assert count == _MEASURED
    assert block.values is not None
    # Dense features would outweigh the n-grams, whose rows have length 1.
    dense = np.concatenate([np.clip(numbers, -4, 4) / 4, np.ones((len(numbers), 1))], axis=1)
    first = NUM_FEATURES - count - 1
    return Block(
        np.concatenate([block.rows, np.repeat(np.arange(len(numbers)), count + 1)]),
        np.concatenate([block.features, np.tile(np.arange(first, NUM_FEATURES), len(numbers))]),
        block.num_rows,
        np.concatenate([block.values, dense.reshape(-1).astype(np.float32)]),
    )


def _joined(blocks: Sequence[Block]) -> Block:
    starts = np.cumsum([0, *(block.num_rows for block in blocks)])
    rows = [block.rows + start for block, start in zip(blocks, starts, strict=False)]
    values = [block.values for block in blocks if block.values is not None]
    features = np.concatenate([block.features for block in blocks])
    return Block(np.concatenate(rows), features, int(starts[-1]), np.concatenate(values))


# ---------------------------------------------------------------- fitting


def _scores(weights: Floats, block: Block) -> Floats:
    assert block.values is not None
    products = weights[block.features] * block.values
    return np.bincount(block.rows, products, block.num_rows).astype(np.float32)


def _fit(block: Block, labels: Floats, shares: Floats) -> Floats:
    """Least logistic loss by Adam over all rows at once: the same result every time."""
    assert block.values is not None
    weights = np.zeros(NUM_FEATURES, np.float64)
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, _PASSES + 1):
        errors = shares * (_sigmoid(_scores(weights, block)) - labels)
        gradient = np.bincount(block.features, errors[block.rows] * block.values, NUM_FEATURES)
        gradient += _DECAY * weights * (np.abs(weights) > 0)
        first += 0.1 * (gradient - first)
        second += 0.01 * (gradient**2 - second)
        rate = _RATE * min(1.0, 2 * (1 - step / (_PASSES + 1)))
        corrected = np.sqrt(second / (1 - 0.99**step)) + 1e-8
        weights -= rate * first / (1 - 0.9**step) / corrected
    return weights.astype(np.float32)


def _sigmoid(scores: Floats) -> Floats:
    return (1 / (1 + np.exp(-np.clip(scores, -30, 30)))).astype(np.float32)
