"""What the report of a comparison shows, from the verdict down to single rows."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median
from typing import Any

from tunesmith.evaluation.compare import Comparison, Contest, Probe
from tunesmith.evaluation.evaluate import Evaluation
from tunesmith.evaluation.report.differences import marked
from tunesmith.evaluation.report.page import render
from tunesmith.evaluation.report.pictures import histogram, interval_bar, reach_of
from tunesmith.evaluation.report.texts import (
    number,
    reason_text,
    score_help,
    score_title,
    signed,
    unscored_text,
)
from tunesmith.evaluation.scores.score import Score
from tunesmith.evaluation.statistics import RESAMPLES, SEED

_MOST_ROWS = 12
_SIGNS = {"higher": 1, "lower": -1, "neither": 0}


def comparison_page(comparison: Comparison, language: str) -> str:
    """The whole report as one HTML file."""
    primary = comparison.primary
    return render(
        "comparison.html.jinja",
        language,
        verdict=comparison.verdict.result,
        reasons=[
            {"text": reason_text(reason, language), "weight": reason.weight}
            for reason in comparison.verdict.reasons
        ],
        base=comparison.base.model,
        tuned=comparison.tuned.model,
        test=comparison.test,
        confidence=f"{100 * comparison.gate.confidence:g} %",
        scores=_scores(comparison, language),
        alone=[
            {
                "title": score_title(score.name, language),
                "help": score_help(score.name, language),
                "value": number(score.value, score.unit),
            }
            for score in comparison.alone
        ],
        wins=_rows(comparison, primary, primary.wins),
        losses=_rows(comparison, primary, primary.losses),
        num_wins=len(primary.wins),
        num_losses=len(primary.losses),
        probe=comparison.probe and _probe(comparison.probe, language),
        changes=_changes(comparison),
        gate=comparison.gate.model_dump(mode="json"),
        resamples=f"{RESAMPLES:,}",
        seed=SEED,
    )


def _scores(comparison: Comparison, language: str) -> list[dict[str, Any]]:
    """The rows of the table; scores of one unit share an axis."""
    judged = [each for each in comparison.contests if each.name not in ("length", "latency")]
    reaches = {
        unit: reach_of([c.compared.difference for c in judged if c.base.unit == unit])
        for unit in {each.base.unit for each in judged}
    }
    first = comparison.gate.primary
    judged.sort(key=lambda contest: contest.name != first)
    return [_score(each, reaches[each.base.unit], first, language) for each in judged]


def _score(contest: Contest, reach: float, primary: str, language: str) -> dict[str, Any]:
    compared, unit = contest.compared, contest.base.unit
    total, all_rows = max(1, contest.num_rows), len(contest.base.rows)
    return {
        "title": score_title(contest.name, language),
        "help": score_help(contest.name, language),
        "unscored": unscored_text(contest.name, all_rows - contest.num_rows, all_rows, language),
        "is_primary": contest.name == primary,
        "base": number(compared.base.value, unit),
        "tuned": number(compared.tuned.value, unit),
        "difference": signed(compared.difference.value, unit),
        "low": signed(compared.difference.low, unit),
        "high": signed(compared.difference.high, unit),
        "bar": interval_bar(compared.difference, reach, sign=_SIGNS[contest.base.better]),
        "flipped": contest.base.better == "lower",
        "wins": len(contest.wins),
        "ties": contest.ties,
        "losses": len(contest.losses),
        "shares": [
            round(100 * count / total, 2)
            for count in (len(contest.wins), contest.ties, len(contest.losses))
        ],
        "p": f"{contest.sign_p:.2g}" if contest.sign_p >= 0.001 else "< 0.001",
    }


def _rows(comparison: Comparison, contest: Contest, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """The rows with the largest differences."""

    def size(number: int) -> float:
        base, tuned = contest.base.rows[number], contest.tuned.rows[number]
        assert base is not None
        assert tuned is not None
        return -abs(tuned - base)

    chosen = sorted(numbers, key=lambda number: (size(number), number))[:_MOST_ROWS]
    return [_row(comparison.base, comparison.tuned, contest, number) for number in chosen]


def _row(base: Evaluation, tuned: Evaluation, contest: Contest, place: int) -> dict[str, Any]:
    row, unit = base.test.rows[place], contest.base.unit
    return {
        "id": row.id,
        "question": row.question,
        "reference": row.reference,
        "answers": [
            _answer(evaluation, score, place, unit)
            for evaluation, score in ((base, contest.base), (tuned, contest.tuned))
        ],
    }


def _answer(evaluation: Evaluation, score: Score, place: int, unit: str) -> dict[str, Any]:
    row = evaluation.test.rows[place]
    prediction = evaluation.shown(score.name)[row.id]
    return {
        "pieces": marked(prediction.prediction, row.reference),
        "error": prediction.error,
        "is_preferred": prediction.finish == "preferred",
        "value": _verdict_mark(score, place, unit),
        "is_right": score.is_verdict and score.rows[place] == 1,
        "is_verdict": score.is_verdict,
    }


def _verdict_mark(score: Score, place: int, unit: str) -> str:
    value = score.rows[place]
    if score.is_verdict:
        return "\u2713" if value == 1 else "\u2717"
    return number(value, unit)


def _probe(probe: Probe, language: str) -> dict[str, Any]:
    contest = probe.contest
    return {
        "name": probe.base.test.name,
        "rows": contest.num_rows,
        "title": score_title(contest.name, language),
        "base": number(contest.compared.base.value, contest.base.unit),
        "tuned": number(contest.compared.tuned.value, contest.base.unit),
        "difference": signed(contest.compared.difference.value, contest.base.unit),
        "low": signed(contest.compared.difference.low, contest.base.unit),
        "high": signed(contest.compared.difference.high, contest.base.unit),
        "bar": interval_bar(
            contest.compared.difference, reach_of([contest.compared.difference]), sign=1
        ),
        "forgotten": [_row(probe.base, probe.tuned, contest, n) for n in contest.losses[:40]],
        "learnt": [_row(probe.base, probe.tuned, contest, n) for n in contest.wins[:40]],
        "num_forgotten": len(contest.losses),
        "num_learnt": len(contest.wins),
    }


def _changes(comparison: Comparison) -> list[dict[str, Any]]:
    """Distributions of length and latency."""
    growth = {"length": comparison.growth.length, "latency": comparison.growth.latency}
    found: list[dict[str, Any]] = []
    for contest in comparison.contests:
        if contest.name not in growth:
            continue
        sides = [[v for v in s.rows if v is not None] for s in (contest.base, contest.tuned)]
        if not all(sides):
            continue
        columns = histogram(sides[0], sides[1])
        unit, change = contest.base.unit, growth[contest.name]
        found.append(
            {
                "name": contest.name,
                "columns": columns,
                "end": number(columns[-1].end, unit),
                "medians": [number(median(side), unit) for side in sides],
                "means": [number(mean(side), unit) for side in sides],
                "growth": None if change is None else signed(change, "share") + " %",
                "reference": number(contest.base.about["reference"], unit)
                if "reference" in contest.base.about
                else None,
            }
        )
    return found
