"""What the report of one model's evaluation shows."""

from __future__ import annotations

from typing import Any

from tunesmith.evaluation.evaluate import Evaluation
from tunesmith.evaluation.report.differences import marked
from tunesmith.evaluation.report.page import render
from tunesmith.evaluation.report.texts import number, score_help, score_title, unscored_text
from tunesmith.evaluation.scores.score import Score
from tunesmith.evaluation.statistics import Paired, paired_bootstrap

_MOST_ROWS = 12


def evaluation_page(evaluation: Evaluation, language: str) -> str:
    """The whole report as one HTML file."""
    primary = next(
        (s for s in evaluation.scores if s.name == evaluation.selection.primary),
        evaluation.scores[0],
    )
    best = 0.0 if primary.better == "lower" else 1.0
    numbered = [(v, n) for n, v in enumerate(primary.rows) if v is not None]
    numbered.sort(reverse=primary.better == "lower")
    shown = [n for v, n in numbered if not primary.is_verdict or v != best][:_MOST_ROWS]
    choice = evaluation.selection.choice
    return render(
        "evaluation.html.jinja",
        language,
        model=evaluation.model,
        test=evaluation.test,
        why=choice and choice.why(language),
        scores=_scores(evaluation, language),
        primary=score_title(primary.name, language),
        is_lower=primary.better == "lower",
        rows=[_row(evaluation, primary, place) for place in shown]
        if any(row.messages for row in evaluation.test.rows)
        else [],
    )


def _scores(evaluation: Evaluation, language: str) -> list[dict[str, Any]]:
    pairs = [Paired(s.sums_NK, s.sums_NK, s.aggregate) for s in evaluation.scores]
    return [
        {
            "title": score_title(score.name, language),
            "help": score_help(score.name, language),
            "value": number(score.value, score.unit),
            "low": number(each.base.low, score.unit),
            "high": number(each.base.high, score.unit),
            "rows": score.num_rows,
            "unscored": unscored_text(score.name, score.num_unscored, len(score.rows), language),
            "share": round(100 * score.value, 1)
            if score.unit == "share" and score.value == score.value
            else None,
            "is_primary": score.name == evaluation.selection.primary,
        }
        for score, each in zip(evaluation.scores, paired_bootstrap(pairs), strict=True)
    ]


def _row(evaluation: Evaluation, score: Score, place: int) -> dict[str, Any]:
    row = evaluation.test.rows[place]
    prediction = evaluation.shown(score.name)[row.id]
    return {
        "id": row.id,
        "question": row.question,
        "reference": row.reference,
        "pieces": marked(prediction.prediction, row.reference),
        "error": prediction.error,
        "is_preferred": prediction.finish == "preferred",
        "value": number(score.rows[place], score.unit),
    }
