"""Answers that are labels: accuracy and macro F1."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tunesmith.evaluation.scores.score import Score, mean_score
from tunesmith.evaluation.scores.texts import normalise
from tunesmith.evaluation.statistics import Floats


def label_of(prediction: str, labels: Sequence[str]) -> str | None:
    """The label that a prediction is, or the only one that it names; None for anything else.

    >>> label_of("The sentiment is Positive.", ["positive", "negative"])
    'positive'
    """
    text = normalise(prediction)
    if text in labels:
        return text
    # "not positive" names positive, but so does "positive": only labels inside others are dropped.
    named = [label for label in labels if _names(text, label)]
    named = [label for label in named if not any(label != o and label in o for o in named)]
    return named[0] if len(named) == 1 else None


def _names(text: str, label: str) -> bool:
    if not label:
        return False
    edges = (r"(?<!\w)", r"(?!\w)") if label.isascii() else ("", "")
    return re.search(f"{edges[0]}{re.escape(label)}{edges[1]}", text) is not None


def class_scores(predictions: Sequence[str], references: Sequence[str]) -> list[Score]:
    """Accuracy, and macro F1: the mean over labels of the references, seldom ones alike."""
    wanted = [normalise(reference) for reference in references]
    labels = sorted(set(wanted))
    given = [label_of(prediction, labels) for prediction in predictions]
    right = [float(g == w) for g, w in zip(given, wanted, strict=True)]
    sums_NK = _confusion(given, wanted, labels)
    about = {"labels": len(labels), "without_label": sum(g is None for g in given)}
    return [
        mean_score("accuracy", right, is_verdict=True, about=about),
        Score("macro_f1", list(right), sums_NK, macro_f1, is_verdict=True, about=about),
    ]


def _confusion(given: Sequence[str | None], wanted: Sequence[str], labels: list[str]) -> Floats:
    """For each row and label: was it both, was it given, was it wanted."""
    place = {label: number for number, label in enumerate(labels)}
    hits_N3L = np.zeros((len(wanted), 3, len(labels)), np.float64)
    for row, (g, w) in enumerate(zip(given, wanted, strict=True)):
        hits_N3L[row, 2, place[w]] = 1
        if g is not None:
            hits_N3L[row, 1, place[g]] = 1
            hits_N3L[row, 0, place[w]] = float(g == w)
    return hits_N3L.reshape(len(wanted), -1)


def macro_f1(sums: Floats) -> Floats:
    """Mean over labels of 2 x both / (given + wanted); those that a resample lacks are left out."""
    both, given, wanted = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    there = (given + wanted) > 0
    f1 = 2 * both / np.where(there, given + wanted, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (f1 * there).sum(axis=-1) / there.sum(axis=-1)
