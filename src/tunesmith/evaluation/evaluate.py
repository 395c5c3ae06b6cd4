"""From a model and rows to a folder of answers and scores. Read `evaluate` first.

OUT/
  asked.json          what was asked: model, rows, settings
  predictions.jsonl   one line an answer, as they came
  preferred.jsonl     of pairs that were measured, the answer that the model prefers
  scores.json         the scores, for the model and row by row
  report.html         the same for people
  manifest.json       written last: files with sizes and SHA-256
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from tunesmith import __version__
from tunesmith.errors import InputError
from tunesmith.evaluation.endpoint import Asker, Endpoint, Sampling
from tunesmith.evaluation.engine_work import let_engine
from tunesmith.evaluation.files import (
    ASKED,
    MANIFEST,
    PREDICTIONS,
    PREFERENCES,
    REPORT,
    SCORES,
)
from tunesmith.evaluation.judging import Duel, judge_all
from tunesmith.evaluation.predictions import (
    OnProgress,
    Prediction,
    answer_rows,
    begin,
    read_predictions,
)
from tunesmith.evaluation.preferences import (
    Preferences,
    engine_preferences,
    preferred_answers,
)
from tunesmith.evaluation.rows import TestRow, TestSet
from tunesmith.evaluation.scores.score import Score
from tunesmith.evaluation.scoring import (
    WITHOUT_ANSWERS,
    Answers,
    Losses,
    Options,
    Selection,
    make_scores,
)
from tunesmith.evaluation.served import Place, Weights
from tunesmith.runs.files import write_atomically


@dataclass(frozen=True)
class Settings:
    """How a model is asked and scored."""

    sampling: Sampling = field(default_factory=Sampling)
    parallel: int = 8
    options: Options = field(default_factory=Options)
    judge: Endpoint | None = None


@dataclass(frozen=True)
class Evaluation:
    """The answers of one model to a test set, and their scores."""

    model: str
    address: str | None
    test: TestSet
    selection: Selection
    predictions: dict[str, Prediction]
    scores: list[Score]
    preferred: dict[str, Prediction] = field(default_factory=dict[str, Prediction])

    def shown(self, score: str) -> dict[str, Prediction]:
        """By row, what a score judges: the written answers, or those that are preferred."""
        return self.preferred if score in PREFERENCES and self.preferred else self.predictions

    @property
    def is_answered(self) -> bool:
        """Whether the model wrote anything; else what it thinks of given texts was measured."""
        return any(p.seconds or p.error for p in self.predictions.values())

    @property
    def refused(self) -> int:
        """Rows that the address refused to answer; they count as wrong."""
        return sum(bool(prediction.error) for prediction in self.predictions.values())


def evaluate(
    place: Place,
    test: TestSet,
    selection: Selection,
    folder: Path,
    settings: Settings,
    *,
    on_progress: OnProgress,
    judged: bool = True,
) -> Evaluation:
    """Ask the model for every row that has no answer yet, then score all of them.

    Args:
        judged: Compare each answer with its reference by the judge of the settings, if any.
    """
    begin(folder, _asked(place, test, settings.sampling))
    (folder / MANIFEST).unlink(missing_ok=True)
    judge = settings.judge if judged and not test.is_plain else None
    selection = _with_judge(selection, settings.judge, asked=judge is not None)
    answers = _measure(place, test, selection, folder, settings, on_progress)
    if judge is not None:
        duels = [_duel(row, answers.predictions[row.id]) for row in test.rows]
        opinions = judge_all(
            duels, folder, judge, parallel=settings.parallel, on_progress=on_progress
        )
        answers = replace(answers, judged=opinions)
    scores = make_scores(selection, answers)
    preferred: dict[str, Prediction] = {}
    if answers.preferences is not None:
        preferred = preferred_answers(test.rows, answers.preferences, folder)
    address = place.endpoint and place.endpoint.url
    return Evaluation(place.model, address, test, selection, answers.predictions, scores, preferred)


def _with_judge(selection: Selection, judge: Endpoint | None, *, asked: bool) -> Selection:
    """The scores with that of the judge, or without it where it is not asked here."""
    if "judge" in selection.names and judge is None:
        raise InputError(
            "The score `judge` needs a model to ask.",
            hint="Add --judge URL and --judge-model NAME.",
            code="judge_missing",
        )
    rest = tuple(name for name in selection.names if name != "judge")
    return replace(selection, names=(*rest, "judge") if asked else rest)


def _asked(place: Place, test: TestSet, sampling: Sampling) -> dict[str, Any]:
    endpoint = place.endpoint
    return {
        "model": place.model,
        "endpoint": endpoint and endpoint.url,
        "api_model": endpoint and endpoint.model,
        "data": test.name,
        "split": test.split,
        "rows": len(test.rows),
        "rows_sha256": test.digest,
        "sampling": asdict(sampling),
    }


def _measure(
    place: Place,
    test: TestSet,
    selection: Selection,
    folder: Path,
    settings: Settings,
    on_progress: OnProgress,
) -> Answers:
    """Answers where scores need them, and what the engine measures; served only when asked."""
    predictions = {row.id: Prediction(row.id, row.digest, "", 0.0) for row in test.rows}
    asks = set(selection.names) - WITHOUT_ANSWERS or settings.options.scorer is not None
    if asks:
        predictions = _answered(place, test, folder, settings, on_progress)
    answers = Answers(test.rows, predictions, settings.options, on_progress)
    if "perplexity" in selection.names:
        answers = replace(answers, losses=_losses(place, test, on_progress))
    if set(selection.names) & set(PREFERENCES):
        answers = replace(answers, preferences=_preferences(place, test, on_progress))
    return answers


def _answered(
    place: Place, test: TestSet, folder: Path, settings: Settings, on_progress: OnProgress
) -> dict[str, Prediction]:
    """An answer to every row, those that are there already and those that are asked for now."""
    if test.is_plain:
        raise InputError(
            f"{test.name} holds plain texts without questions, so only perplexity can be scored.",
            hint="Add --scores perplexity, or name a dataset of questions and answers.",
            code="nothing_to_ask",
        )
    if set(known := read_predictions(folder, test.rows)) >= {row.id for row in test.rows}:
        return {row.id: known[row.id] for row in test.rows}
    if place.endpoint is None and not place.weights().is_asked:
        raise _not_asked(place)
    return answer_rows(
        test.rows,
        folder,
        place.reach(folder / "serving.log", lambda: on_progress("Loading the model", 0, 0)),
        settings.sampling,
        parallel=settings.parallel,
        on_progress=on_progress,
    )


def _not_asked(place: Place) -> InputError:
    if place.weights().is_reward_model:
        return InputError(
            f"{place.model} is a reward model: it scores answers and writes none.",
            hint="Name rows with a better and a worse answer, and --scores preference_accuracy or "
            "none at all.",
            code="reward_model_writes_nothing",
        )
    return InputError(
        f"{place.model} holds vectors that layers attend to beside the text (adapter tuning), "
        "which are not served, so nothing can be asked of it here.",
        hint="Name --scores perplexity, which is measured, or preference rows; ask it with "
        "`tunesmith chat`, or train with adapter.kind: lora.",
        code="attention_not_served",
    )


def _losses(place: Place, test: TestSet, on_progress: OnProgress) -> tuple[Losses, str]:
    if place.endpoint is None:
        return engine_losses(place.weights(), test.rows, on_progress), "engine"
    return _endpoint_losses(place.endpoint, test, on_progress), "endpoint"


def _preferences(place: Place, test: TestSet, on_progress: OnProgress) -> Preferences:
    if place.endpoint is not None:
        raise InputError(
            "An endpoint does not tell how likely a given answer is in a chat.",
            hint="Name the model itself instead of --endpoint, or other scores.",
            code="preferences_need_model",
        )
    if not any(row.pair for row in test.rows):
        raise InputError(
            f"{test.name} holds no pairs of a better and a worse answer.",
            hint="Name preference rows, or other scores.",
            code="no_pairs",
        )
    return engine_preferences(place.weights(), test.rows, on_progress)


def _duel(row: TestRow, prediction: Prediction) -> Duel:
    """A model's answer against the reference."""
    request = orjson.dumps(row.messages).decode() if len(row.messages) > 1 else row.question
    key = hashlib.sha256(f"{row.digest}\n{prediction.prediction}".encode()).hexdigest()[:24]
    return Duel(key, request, None, row.reference, prediction.prediction)


def engine_losses(weights: Weights, rows: Sequence[TestRow], on_progress: OnProgress) -> Losses:
    """The mean loss of each reference, measured by the engine in the tokens of training."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-losses-") as folder:
        data, out = Path(folder, "rows.jsonl"), Path(folder, "losses.parquet")
        data.write_bytes(b"".join(orjson.dumps(_for_engine(row)) + b"\n" for row in rows))
        let_engine(
            *("score", *weights.words, "--data", str(data), "--out", str(out)),
            what="The losses could not be measured",
            code="losses_failed",
            on_progress=on_progress,
        )
        table = pq.read_table(out).to_pydict()
    found = dict(zip(table["row"], zip(table["loss"], table["tokens"], strict=True), strict=True))
    return [found.get(number) for number in range(1, len(rows) + 1)]


def _for_engine(row: TestRow) -> dict[str, Any]:
    """The row as training reads it, where nothing but the reference is learned."""
    if not row.messages:
        return {"text": row.reference}
    earlier = [m | ({"weight": 0} if m["role"] == "assistant" else {}) for m in row.messages]
    tools = {"tools": row.tools} if row.tools else {}
    return {"messages": [*earlier, {"role": "assistant", "content": row.reference}], **tools}


def _endpoint_losses(endpoint: Endpoint, test: TestSet, on_progress: OnProgress) -> Losses:
    """Losses of plain texts; an address shows no way to put a chat into the model's template."""
    if not test.is_plain:
        raise InputError(
            "An endpoint tells no perplexity of answers in a chat, only of plain texts.",
            hint="Name the model itself instead of --endpoint, or leave perplexity out.",
            code="perplexity_needs_model",
        )
    losses: list[tuple[float, int] | None] = []
    with Asker(endpoint) as asker:
        for row in test.rows:
            losses.append(asker.loss(row.reference))
            on_progress("Scoring", len(losses), len(test.rows))
    return losses


def scores_document(evaluation: Evaluation) -> dict[str, Any]:
    """All that scores.json says."""
    test, selection = evaluation.test, evaluation.selection
    answered = [evaluation.predictions[row.id] for row in test.rows]
    tokens = [p.completion_tokens for p in answered if p.completion_tokens is not None]
    return {
        "model": evaluation.model,
        "endpoint": evaluation.address,
        "data": test.name,
        "split": test.split,
        "rows": len(test.rows),
        "skipped": test.skipped,
        "refused": evaluation.refused,
        "cut_off": sum(prediction.finish == "length" for prediction in answered),
        "completion_tokens": sum(tokens) if tokens else None,
        "primary": selection.primary,
        "chosen_because": selection.choice and selection.choice.why(),
        "scores": {score.name: score_facts(score) for score in evaluation.scores},
        "by_row": [
            {"id": row.id, **{s.name: s.rows[number] for s in evaluation.scores}}
            for number, row in enumerate(test.rows)
        ],
    }


def finish(evaluation: Evaluation, folder: Path, page: str) -> dict[str, Any]:
    """Write scores, report and manifest; the document of the scores."""
    document = scores_document(evaluation)
    write_json(folder / SCORES, document)
    write_atomically(folder / REPORT, page)
    write_manifest(folder, "evaluation")
    return document


def score_facts(score: Score) -> dict[str, Any]:
    """A score as documents have it; NaN is null."""
    return {
        "value": finite(score.value),
        "better": score.better,
        "unit": score.unit,
        "rows": score.num_rows,
        **score.about,
    }


def finite(value: float) -> float | None:
    """The number, or None where it is none."""
    return value if math.isfinite(value) else None


def write_json(path: Path, document: Any) -> None:
    """A document that is complete or absent."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
    write_atomically(path, orjson.dumps(document, option=options))


def write_manifest(folder: Path, kind: str) -> None:
    """The last file of a folder: with it, all others are complete."""
    files = [
        {
            "name": path.relative_to(folder).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".log" and path != folder / MANIFEST
    ]
    made = datetime.now(UTC).isoformat(timespec="seconds")
    document = {"kind": kind, "tunesmith": __version__, "created": made, "files": files}
    write_json(folder / MANIFEST, document)


__all__ = ["ASKED", "MANIFEST", "PREDICTIONS", "REPORT", "SCORES", "Evaluation", "evaluate"]
