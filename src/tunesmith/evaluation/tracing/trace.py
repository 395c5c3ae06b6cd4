"""For each failed row of an evaluation the training rows that are most like it. Read `trace` first.

A training row stands behind a wrong answer in two ways: it asks something like it, or it was
answered like it. So rows are ranked by the similarity of the questions, and half as much by that of
its answer to the wrong one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tunesmith.data.records import from_json
from tunesmith.errors import InputError
from tunesmith.evaluation.evaluate import PREDICTIONS, SCORES, engine_losses
from tunesmith.evaluation.rows import row_of
from tunesmith.evaluation.served import Weights
from tunesmith.evaluation.tracing.meaning import MeaningIndex
from tunesmith.evaluation.tracing.ngrams import NgramIndex
from tunesmith.evaluation.tracing.training_rows import (
    EpochLoss,
    Place,
    TrainingRow,
    read_training_rows,
)
from tunesmith.recipe import load_recipe
from tunesmith.runs import RunDir

ANSWER_WEIGHT = 0.5
LEAST_SIMILARITY = 0.05  # below that two texts share some letters by chance
MET = (
    "The loss before is that of the first epoch, as the training met the row: the weights had "
    "learned from the rows before it. The loss after is that of the last epoch."
)
ONE_EPOCH = "The run met every row once, so both losses are the same; --measure tells them apart."
BY_MEANING = "Rows are alike by their characters and, counted as much, by what {} makes of them."
MEASURED = "The loss before is that of the base model, the loss after that of the result."
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Failure:
    """A test row that was answered wrongly."""

    id: str
    question: str
    reference: str
    prediction: str
    score: float | None


@dataclass(frozen=True)
class Neighbour:
    """A training row that is like a failed one."""

    place: Place
    question: str
    answer: str
    question_similarity: float
    answer_similarity: float  # to the wrong answer
    loss_before: float
    loss_after: float
    losses: tuple[EpochLoss, ...]


@dataclass(frozen=True)
class Traced:
    """A failed row with its neighbours, the nearest first."""

    failure: Failure
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Suspect:
    """A training row that is near several failed ones."""

    place: Place
    question: str
    answer: str
    failures: int
    loss_after: float


@dataclass(frozen=True)
class Trace:
    """All failed rows of an evaluation that were looked at."""

    evaluation: str
    run: str
    score: str
    rule: str  # which rows count as failed
    limit: float  # of the score, beyond which a row has failed
    lower_is_better: bool
    rows: int
    failed: int
    training_rows: int
    traced: tuple[Traced, ...]
    suspects: tuple[Suspect, ...]
    notes: tuple[str, ...]
    rows_by_place: dict[Place, TrainingRow]

    def to_json(self) -> dict[str, Any]:
        """The trace as one JSON object."""
        shown = {**vars(self)}
        del shown["rows_by_place"]
        return {
            **shown,
            "traced": [asdict(each) for each in self.traced],
            "suspects": [asdict(each) for each in self.suspects],
        }

    def edits(self) -> list[dict[str, Any]]:
        """One line a training row near a failure, to be edited: see `retrain.py`."""
        places = {n.place for each in self.traced for n in each.neighbours}
        order = sorted(places, key=lambda place: (place.dataset, place.file, place.line))
        return [{**asdict(p), "record": self.rows_by_place[p].record} for p in order]


def trace(
    evaluation: Path,
    run: RunDir,
    *,
    score: str | None = None,
    below: float | None = None,
    most_failures: int = 20,
    neighbours: int = 5,
    measure: bool = False,
    embedder: Path | None = None,
    on_progress: OnProgress,
) -> Trace:
    """Find the failed rows, worst first, and what the run learned that is like them.

    Args:
        embedder: A folder with a sentence-embedding model: rows are then compared by meaning too.
        below: Rows with a score below it have failed; by default all that are not fully right,
            for a score between right and wrong those below its mean.
        measure: Let the engine measure the losses of the found rows, by the base and the result.
    """
    content = _scores(evaluation)
    name = score or content["primary"]
    failed = failed_rows(evaluation, content, name, below)
    failures = failed.rows
    learned = read_training_rows(run)
    chosen = failures[:most_failures]
    meaning = embedder and _meaning(embedder, learned.rows, chosen, on_progress)
    near = _Nearest(learned.rows, meaning or None, on_progress)
    traced: list[Traced] = []
    for number, failure in enumerate(chosen, start=1):
        traced.append(Traced(failure, near.of(failure, neighbours)))
        on_progress("match", number, len(chosen))
    if measure:
        traced = _measured(traced, {row.place: row for row in learned.rows}, run, on_progress)
    return Trace(
        evaluation=str(evaluation),
        run=str(run.path),
        score=name,
        rule=failed.rule,
        limit=failed.limit,
        lower_is_better=failed.lower_is_better,
        rows=len(content["by_row"]),
        failed=len(failures),
        training_rows=len(learned.rows),
        traced=tuple(traced),
        suspects=_suspects(traced),
        notes=(
            *_about_losses(learned.rows, measured=measure),
            *([BY_MEANING.format(embedder)] if embedder else []),
            *learned.notes,
        ),
        rows_by_place={row.place: row for row in learned.rows},
    )


# ---------------------------------------------------------------- failed rows


@dataclass(frozen=True)
class Failed:
    """The failed rows, worst first, and the rule that chose them."""

    rows: list[Failure]
    rule: str
    limit: float
    lower_is_better: bool


def failed_rows(
    evaluation: Path, content: dict[str, Any], name: str, below: float | None
) -> Failed:
    """The rows that a score calls failed; InputError where it says nothing about rows."""
    if name not in content["scores"]:
        raise InputError(
            f"{evaluation} has no score {name!r}.",
            hint=f"Its scores: {', '.join(content['scores'])}.",
            code="unknown_score",
        )
    values = {row["id"]: row.get(name) for row in content["by_row"]}
    known = [value for value in values.values() if value is not None]
    if not known:
        raise InputError(
            f"The score {name!r} says nothing about single rows.",
            hint=f"Choose another with --score: {', '.join(content['scores'])}.",
            code="score_without_rows",
        )
    lower_is_better = content["scores"][name].get("better") == "lower"
    limit, rule = _limit(known, name, below, lower_is_better)
    sign = -1 if lower_is_better else 1
    failed = {
        id: value
        for id, value in values.items()
        if value is not None and sign * value < sign * limit
    }
    found = [_failure(line, failed) for line in _predictions(evaluation) if line["id"] in failed]
    found.sort(key=lambda each: sign * (each.score or 0.0))
    return Failed(found, rule, limit, lower_is_better)


def _limit(
    values: Sequence[float], name: str, below: float | None, lower_is_better: bool
) -> tuple[float, str]:
    word = "above" if lower_is_better else "below"
    if below is not None:
        return below, f"{name} {word} {below:g}"
    if set(values) <= {0.0, 1.0} and not lower_is_better:
        return 1.0, f"{name} is wrong"
    mean = sum(values) / len(values)
    return mean, f"{name} {word} its mean of {mean:.3g}"


def _failure(line: dict[str, Any], scores: dict[str, float]) -> Failure:
    messages = line.get("messages") or []
    question = str(messages[-1].get("content") or "") if messages else ""
    reference = str(line.get("reference", ""))
    return Failure(
        id=line["id"],
        question=question or reference,
        reference=reference,
        prediction=str(line.get("prediction", "")),
        score=scores[line["id"]],
    )


def _scores(evaluation: Path) -> dict[str, Any]:
    file = evaluation / SCORES
    try:
        content = orjson.loads(file.read_bytes())
        if not {"primary", "scores", "by_row"} <= content.keys():
            raise ValueError("it is no list of scores")
    except FileNotFoundError:
        raise InputError(
            f"{evaluation} is no finished evaluation: {SCORES} is missing.",
            hint="Name a folder that `tunesmith evaluate ... --out` has written; of a comparison, "
            "the folder `tuned` in it.",
            code="no_evaluation",
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{file} cannot be read: {error}", code="no_evaluation") from error
    return content


def _predictions(evaluation: Path) -> list[dict[str, Any]]:
    file = evaluation / PREDICTIONS
    try:
        lines = file.read_bytes().split(b"\n")[:-1]
        found = {(told := orjson.loads(line))["id"]: told for line in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} cannot be read: {error}", code="no_evaluation") from error
    return list(found.values())  # of a row that was asked again, the last answer


# ---------------------------------------------------------------- neighbours


class _Nearest:
    """Training rows by what they ask and by what they answer."""

    def __init__(
        self, rows: list[TrainingRow], meaning: MeaningIndex | None, on_progress: OnProgress
    ) -> None:
        self._rows, self._meaning = rows, meaning
        on_progress("read", 0, 2)
        self._questions = NgramIndex(row.question for row in rows)
        on_progress("read", 1, 2)
        self._answers = NgramIndex(row.answer for row in rows)
        on_progress("read", 2, 2)

    def of(self, failure: Failure, count: int) -> tuple[Neighbour, ...]:
        """The nearest rows; fewer where nothing else is alike at all."""
        asked = self._questions.similarities(failure.question)
        answered = self._answers.similarities(failure.prediction)
        if self._meaning is not None:
            questions = [row.question for row in self._rows]
            answers = [row.answer for row in self._rows]
            asked = (asked + self._meaning.similarities(failure.question, questions)) / 2
            answered = (answered + self._meaning.similarities(failure.prediction, answers)) / 2
        rank = asked + ANSWER_WEIGHT * answered
        order = np.argsort(-rank, kind="stable")[:count]
        return tuple(
            self._neighbour(int(number), float(asked[number]), float(answered[number]))
            for number in order
            if rank[number] >= LEAST_SIMILARITY
        )

    def _neighbour(self, number: int, asked: float, answered: float) -> Neighbour:
        row = self._rows[number]
        return Neighbour(
            place=row.place,
            question=row.question,
            answer=row.answer,
            question_similarity=round(asked, 3),
            answer_similarity=round(answered, 3),
            loss_before=round(row.losses[0].loss, 4),
            loss_after=round(row.losses[-1].loss, 4),
            losses=row.losses,
        )


def _meaning(
    embedder: Path, rows: Sequence[TrainingRow], failures: Sequence[Failure], on: OnProgress
) -> MeaningIndex:
    """Vectors of all that is compared."""
    texts = [text for row in rows for text in (row.question, row.answer)]
    texts += [text for each in failures for text in (each.question, each.prediction)]
    return MeaningIndex(embedder, texts, on)


def _about_losses(rows: Sequence[TrainingRow], *, measured: bool) -> list[str]:
    if measured:
        return [MEASURED]
    return [MET, *([ONE_EPOCH] if all(len(row.losses) == 1 for row in rows) else [])]


def _measured(
    traced: Sequence[Traced],
    rows: dict[Place, TrainingRow],
    run: RunDir,
    on_progress: OnProgress,
) -> list[Traced]:
    """The same with losses of the whole models, before any step and after the last."""
    places = list(dict.fromkeys(n.place for each in traced for n in each.neighbours))
    if not places:
        return list(traced)
    asked = [row_of(str(at), from_json(rows[p].record), {}) for at, p in enumerate(places)]
    base = load_recipe(run.resolved_path).model.base
    pairs = zip(
        engine_losses(Weights(base), asked, on_progress),
        engine_losses(Weights(str(run.path)), asked, on_progress),
        strict=True,
    )
    found = dict(zip(places, pairs, strict=True))

    def told(neighbour: Neighbour) -> Neighbour:
        before, after = found[neighbour.place]
        if before is None or after is None:  # nothing of it is learned at the length of the pass
            return neighbour
        return replace(neighbour, loss_before=round(before[0], 4), loss_after=round(after[0], 4))

    return [replace(each, neighbours=tuple(map(told, each.neighbours))) for each in traced]


def _suspects(traced: Sequence[Traced]) -> tuple[Suspect, ...]:
    """Rows near more than one failure: those with the most first."""
    counts = Counter(n.place for each in traced for n in each.neighbours)
    known = {n.place: n for each in traced for n in each.neighbours}
    return tuple(
        Suspect(place, known[place].question, known[place].answer, count, known[place].loss_after)
        for place, count in counts.most_common()
        if count > 1
    )
