"""The rows of an evaluation one by one: what was asked and answered, and who was better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from tunesmith.errors import InputError
from tunesmith.evaluation.files import PREDICTIONS, PREFERENCES, PREFERRED, SCORES

Outcome = Literal["won", "lost", "same"]
_SIDES: Final = ("base", "tuned")


@dataclass(frozen=True)
class Answered:
    """One answer and its score; `error` where the model refused the request."""

    text: str
    value: float | None
    seconds: float
    finish_reason: str
    error: str


@dataclass(frozen=True)
class Row:
    """One row of the test; `base` is missing where a model was scored alone."""

    id: str
    messages: Sequence[Any]
    reference: str
    base: Answered | None
    tuned: Answered
    outcome: Outcome | None

    @property
    def difference(self) -> float:
        if self.base is None or self.base.value is None or self.tuned.value is None:
            return 0.0
        return abs(self.tuned.value - self.base.value)


@dataclass(frozen=True)
class Rows:
    """Part of the rows, those that differ most first, and how many there are of each outcome."""

    items: Sequence[Row]
    total: int
    counts: Mapping[str, int]
    score: str


def rows_of(
    folder: Path,
    document: Mapping[str, Any],
    *,
    score: str = "",
    outcome: str = "",
    skip: int = 0,
    limit: int = 100,
) -> Rows:
    """Rows judged by one score, the primary one unless another is named."""
    score = score or str(document["primary"])
    known: Mapping[str, Any] = document["scores"]
    if score not in known:
        raise InputError(
            f"This evaluation has no score {score}.",
            hint=f"It has {', '.join(known)}.",
            code="unknown_score",
            score=score,
            known=list(known),
            param="score",
        )
    found = _compared(folder, known[score], score) if "tuned" in document else _alone(folder, score)
    wanted = [row for row in found if outcome in ("", row.outcome)]
    wanted.sort(key=lambda row: -row.difference)
    counts = {word: sum(row.outcome == word for row in found) for word in ("won", "lost", "same")}
    return Rows(wanted[skip : skip + limit], len(wanted), counts, score)


def _compared(folder: Path, contest: Mapping[str, Any], score: str) -> list[Row]:
    won, lost = set(contest["wins"]), set(contest["losses"])
    base, tuned = (_answers(folder / side, score) for side in _SIDES)
    rows: list[Row] = []
    for row_id, (told, answer) in tuned.items():
        outcome: Outcome = "won" if row_id in won else "lost" if row_id in lost else "same"
        beside = base[row_id][1] if row_id in base else None
        rows.append(Row(row_id, told["messages"], told["reference"], beside, answer, outcome))
    return rows


def _alone(folder: Path, score: str) -> list[Row]:
    """Of one model; the lowest values first, which `difference` leaves as they are."""
    rows = [
        Row(row_id, told["messages"], told["reference"], None, answer, None)
        for row_id, (told, answer) in _answers(folder, score).items()
    ]
    return sorted(rows, key=lambda row: (row.tuned.value is None, row.tuned.value or 0.0))


def _answers(folder: Path, score: str) -> dict[str, tuple[dict[str, Any], Answered]]:
    """By row, in the order of the test set."""
    scores = orjson.loads((folder / SCORES).read_bytes())["by_row"]
    judged = PREFERRED if score in PREFERENCES else PREDICTIONS
    file = folder / judged if (folder / judged).is_file() else None
    lines = [] if file is None else file.read_bytes().split(b"\n")[:-1]
    told = {line["id"]: line for line in map(orjson.loads, lines)}
    return {
        each["id"]: (told[each["id"]], _answered(told[each["id"]], each.get(score)))
        for each in scores
        if each["id"] in told
    }


def _answered(told: Mapping[str, Any], value: float | None) -> Answered:
    return Answered(
        text=told["prediction"],
        value=value,
        seconds=told["seconds"],
        finish_reason=told["finish"],
        error=told["error"],
    )
