"""A scorer of the user: `score(row)` of a Python file, in a process of its own with limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.errors import InputError
from tunesmith.evaluation.scores.score import Score, mean_score
from tunesmith.evaluation.workers import scorer as program
from tunesmith.evaluation.workers.process import Limits, Worker, WorkerFailed

LIMITS = Limits(seconds=20.0, memory_bytes=2 << 30, processes=None)


class ScorerFailed(InputError):
    """The scorer of the user gave no score."""

    code = "scorer_failed"


def custom_scores(
    file: Path, rows: Sequence[tuple[str, Mapping[str, Any]]], limits: Limits = LIMITS
) -> list[Score]:
    """The scores of a file, by their names; a bare number is named as the file is.

    Args:
        rows: Id and fields of each row, as the scorer gets them.
    """
    if not file.is_file():
        raise ScorerFailed(
            f"There is no scorer {file}.", hint="It is a Python file with score(row)."
        )
    found: list[dict[str, float | None]] = []
    with Worker(Path(str(program.__file__)), str(file.resolve()), limits=limits) as worker:
        for name, row in rows:
            found.append(_ask(worker, file, name, row, limits))
    names = list(dict.fromkeys(name for values in found for name in values))
    return [_score(name, [values.get(name) for values in found]) for name in names]


def _score(name: str, values: Sequence[float | None]) -> Score:
    """A share where all values lie between 0 and 1, as those of a share do; else a number."""
    is_share = all(value is None or 0 <= value <= 1 for value in values)
    return mean_score(name, values, unit="share" if is_share else "number")


def _ask(
    worker: Worker, file: Path, name: str, row: Mapping[str, Any], limits: Limits
) -> dict[str, float | None]:
    try:
        answer = worker.ask(dict(row))
    except WorkerFailed as failure:
        raise ScorerFailed(
            f"{file.name} gave no score for row {name}: {_told(failure, limits)}.",
            hint="All answers of the model are kept: mend the scorer and give the command again.",
            row=name,
            reason=failure.reason,
        ) from failure
    if "error" in answer:
        raise ScorerFailed(
            f"{file.name} failed at row {name}: {str(answer['error']).strip()}",
            hint="score(row) returns a number, a dictionary of numbers, or None for no score.",
            row=name,
            reason="error",
        )
    if "values" in answer:
        return dict(answer["values"])
    return {file.stem: answer.get("value")}


def _told(failure: WorkerFailed, limits: Limits) -> str:
    words = failure.told.splitlines()[-1:] or [""]
    return {
        "slow": f"it took longer than {limits.seconds:g} s",
        "died": f"its process ended ({words[0] or 'without a word'}); it may use "
        f"{limits.memory_bytes >> 20} MB",
        "garbled": f"what it sent is no answer ({failure.told[:80]!r})",
    }[failure.reason]
