"""Which answer of each pair a model prefers, measured by the engine without writing any."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow.parquet as pq

from tunesmith.data.records import to_json
from tunesmith.evaluation.engine_work import OnProgress, let_engine
from tunesmith.evaluation.files import PREFERRED
from tunesmith.evaluation.predictions import Prediction, line_of
from tunesmith.evaluation.rows import TestRow, reference_of
from tunesmith.evaluation.served import Weights
from tunesmith.runs.files import write_atomically


@dataclass(frozen=True)
class Preferences:
    """What the engine found of each row (see its `pairs` command); None where it found nothing."""

    measured: str  # `reward` or `log_prob`
    base: str | None  # what rewards of a language model are told from
    rows: list[Mapping[str, float] | None]


def engine_preferences(
    weights: Weights, rows: Sequence[TestRow], on_progress: OnProgress
) -> Preferences:
    """Both answers of every pair, as the model sees them."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-preferences-") as folder:
        data, out = Path(folder, "rows.jsonl"), Path(folder, "pairs.parquet")
        lines = [orjson.dumps(to_json(row.pair)) for row in rows if row.pair is not None]
        data.write_bytes(b"\n".join(lines))
        told = let_engine(
            *("pairs", *weights.words, "--data", str(data), "--out", str(out)),
            what="The preferences could not be measured",
            code="preferences_failed",
            on_progress=on_progress,
        )
        table = pq.read_table(out).to_pylist()
    by_line = {row.pop("row"): row for row in table}
    return Preferences(
        str(told["measured"]),
        told["base"],
        [by_line.get(number) for number in _lines(rows)],
    )


def preferred_answers(
    rows: Sequence[TestRow], found: Preferences, folder: Path
) -> dict[str, Prediction]:
    """Of each pair the answer that the model prefers, in the place of one that it wrote."""
    answers = {
        row.id: Prediction(row.id, row.digest, _preferred(row, values), 0.0, "preferred")
        for row, values in zip(rows, found.rows, strict=True)
    }
    lines = [line_of(row, answers[row.id]) for row in rows if answers[row.id].prediction]
    write_atomically(folder / PREFERRED, b"".join(lines))
    return answers


def _preferred(row: TestRow, values: Mapping[str, float] | None) -> str:
    if row.pair is None or values is None:
        return ""
    is_better = values["better"] > values["worse"]
    return reference_of((row.pair.chosen if is_better else row.pair.rejected)[-1])


def _lines(rows: Sequence[TestRow]) -> list[int]:
    """The line of each row in the engine's file; 0 for rows that are no pairs."""
    numbers: list[int] = []
    for row in rows:
        numbers.append(0 if row.pair is None else max(numbers, default=0) + 1)
    return numbers
