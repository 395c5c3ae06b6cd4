"""How often the verdict is wrong: planted answers, no training.

    python benchmarks/verdict.py [--trials 100] [--rows 400] [--json]

null    both models come from the same recipe and differ in their seed only. Each row has a chance
        of being answered right that belongs to the row; a seed moves it a little up or down.
        Promoting is a mistake: at most 5 of 100.
gain    the tuned model answers 5 points more of 400 rows right, and 10% of the rows differ: 30 won
        for 10 lost on average. Not promoting is a mistake: at least 80 of 100 are found.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np

from tunesmith.evaluation.compare import contests_of, judge_contests
from tunesmith.evaluation.scores.score import Score, mean_score
from tunesmith.evaluation.statistics import Floats
from tunesmith.evaluation.verdict import Growth
from tunesmith.recipe.gate import Gate

RESAMPLES = 10_000
Plant = Callable[[np.random.Generator, int], tuple[Floats, Floats]]


def null(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    """Right answers of two trainings that differ in their seed."""
    difficulty = rng.normal(0.5, 1.5, rows)
    chances = [1 / (1 + np.exp(-(difficulty + rng.normal(0, 0.7, rows)))) for _ in range(2)]
    # The same prompt decides much of an answer: draws of both models share their luck.
    luck = rng.random(rows)
    own = rng.random((2, rows)) < 0.3
    draws = [np.where(own[side], rng.random(rows), luck) for side in range(2)]
    base, tuned = (
        (draw < chance).astype(np.float64) for draw, chance in zip(draws, chances, strict=True)
    )
    return base, tuned


def texts(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    """The same for a score between 0 and 1, such as ROUGE: most rows hardly move, some much."""
    level = rng.beta(2, 2, rows)
    moved = [level + rng.standard_t(3, rows) * 0.05 for _ in range(2)]
    base, tuned = (np.clip(each, 0, 1) for each in moved)
    return base, tuned


def gain(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    """The tuned model wins 7.5% of the rows and loses 2.5%, on average."""
    kinds = rng.random(rows)
    base = (rng.random(rows) < 0.6).astype(np.float64)
    tuned = base.copy()
    won, lost = kinds < 0.075, (kinds >= 0.075) & (kinds < 0.1)
    base[won], tuned[won] = 0, 1
    base[lost], tuned[lost] = 1, 0
    return base, tuned


def verdicts(
    plant: Plant, trials: int, rows: int, *, seed: int, is_verdict: bool, resamples: int = RESAMPLES
) -> Counter[str]:
    """How many trials end in each verdict."""
    rng = np.random.default_rng(seed)
    gate = Gate(primary="planted", general="none")
    found: Counter[str] = Counter()
    for trial in range(trials):
        base, tuned = (_score(values, is_verdict) for values in plant(rng, rows))
        contests = contests_of(
            [base], [tuned], confidence=gate.confidence, resamples=resamples, seed=trial
        )
        found[judge_contests(gate, contests, None, Growth()).result] += 1
    return found


def _score(values: Floats, is_verdict: bool) -> Score:
    return mean_score("planted", values.tolist(), is_verdict=is_verdict)


def main() -> int:
    """Run all plants; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    few = max(50, options.rows // 8)
    plants: dict[str, tuple[Plant, int, bool]] = {
        f"null, right or wrong, {options.rows} rows": (null, options.rows, True),
        f"null, right or wrong, {few} rows": (null, few, True),
        f"null, texts, {options.rows} rows": (texts, options.rows, False),
        f"null, texts, {few} rows": (texts, few, False),
        f"gain of 5 points, {options.rows} rows": (gain, options.rows, True),
    }
    missed = False
    document: dict[str, dict[str, int]] = {}
    for name, (plant, rows, is_verdict) in plants.items():
        found = verdicts(plant, options.trials, rows, seed=options.seed, is_verdict=is_verdict)
        share = found["promote"] / options.trials
        goal = share >= 0.8 if plant is gain else share <= 0.05
        missed |= not goal
        document[name] = {each: found[each] for each in ("promote", "hold", "reject")}
        if not options.json:
            told = ", ".join(f"{each} {document[name][each]:>3}" for each in document[name])
            print(f"{name:<36} {told}   {'ok' if goal else 'MISSED'}")
    if options.json:
        print(json.dumps({"trials": options.trials, "seed": options.seed, "verdicts": document}))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
