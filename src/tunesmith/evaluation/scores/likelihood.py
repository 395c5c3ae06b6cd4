"""Perplexity: how well a model expects the reference answers, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tunesmith.evaluation.scores.score import Score
from tunesmith.evaluation.statistics import Floats


def perplexity_score(losses: Sequence[tuple[float, int] | None], *, by: str) -> Score:
    """Perplexity over all label tokens.

    Args:
        losses: Mean loss and number of tokens of each row; None where it has none.
        by: Who measured: `engine` or `endpoint`.
    """
    sums = [(0.0, 0.0) if each is None else (each[0] * each[1], each[1]) for each in losses]
    rows = [None if each is None else float(np.exp(each[0])) for each in losses]
    sums_NK = np.array(sums, np.float64).reshape(len(losses), 2)
    return Score(
        "perplexity", rows, sums_NK, perplexity, better="lower", unit="number", about={"by": by}
    )


def perplexity(sums: Floats) -> Floats:
    """exp of the mean loss where the sums are (loss, tokens)."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.exp(sums[..., 0] / sums[..., 1])
