"""Scores of pairs: does the model find the better answer better, and by how much?

A reward model is asked for its scores, a language model for the mean log-probability of a label.
Where it is known what a language model was trained from, its rewards are those of DPO (Rafailov
and others 2023): beta times what an answer gained on that model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.evaluation.scores.score import Score, mean_score

Pair = Mapping[str, float]


def preference_scores(
    rows: Sequence[Pair | None], *, measured: str, base: str | None
) -> list[Score]:
    """The scores of what the engine measured; those against a base only where it was known."""
    by = {"measured": measured}
    found = [
        _accuracy("preference_accuracy", rows, "better", "worse", by),
        _margin("preference_margin", rows, "better", "worse", by),
    ]
    if base is None:
        return found
    beside = {"base": base}
    apart = [None if row is None else row["kl"] for row in rows]
    return [
        *found,
        _accuracy("reward_accuracy", rows, "better_reward", "worse_reward", beside),
        _margin("reward_margin", rows, "better_reward", "worse_reward", beside),
        mean_score("kl", apart, better="neither", unit="number", about=beside),
    ]


def _accuracy(
    name: str, rows: Sequence[Pair | None], better: str, worse: str, about: Mapping[str, str]
) -> Score:
    right = [None if row is None else float(row[better] > row[worse]) for row in rows]
    return mean_score(name, right, is_verdict=True, about=about)


def _margin(
    name: str, rows: Sequence[Pair | None], better: str, worse: str, about: Mapping[str, str]
) -> Score:
    margins = [None if row is None else row[better] - row[worse] for row in rows]
    return mean_score(name, margins, unit="number", about=about)
