"""A number for every row, as a column of a new version. Read `Scores` and `write` first.

version -> Scores (a value a row: by reasons, by a classifier, or measured by the engine)
        -> report.py says what they show
        -> new version, whose rows are the same but for the columns
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from tunesmith.data.editing import rewrite
from tunesmith.data.pool import in_order
from tunesmith.data.preferences import JUDGEMENTS
from tunesmith.data.quality.classifier import Classifier, trained_on
from tunesmith.data.quality.examples import Example
from tunesmith.data.quality.heuristics import names_of, quality_of, reasons_of_rows
from tunesmith.data.quality.texts import pairs_of
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.rows import StoredRow, stored_rows
from tunesmith.data.store.version import Rows
from tunesmith.data.tokenise import Progress
from tunesmith.errors import DataError, InputError

Method = Literal["heuristics", "classifier", "perplexity"]
METHODS: tuple[Method, ...] = ("heuristics", "classifier", "perplexity")
COLUMNS: dict[Method, str] = {
    "heuristics": "quality",
    "classifier": "quality",
    "perplexity": "perplexity",
}
# Names that a condition understands otherwise, so that no column may have them.
TAKEN = (
    *("id", "line", "file", "kind", "text", "question", "answer"),
    *("turns", "length", "question_length", "answer_length"),
)
_SMALL = 4 << 20  # bytes; starting processes takes longer than scoring less than this
LEAST_LABELS = 20  # of each kind, for a classifier of the user's own
_HELD_OUT_EVERY = 5
Floats = npt.NDArray[np.float32]
Part = tuple[Floats, npt.NDArray[np.uint32]]


@dataclass(frozen=True)
class Scores:
    """One value a row, in the order of the version; NaN for a row that cannot be scored."""

    by: Method
    column: str
    values: Floats
    reasons: npt.NDArray[np.uint32] | None = None  # bits of heuristics.REASONS
    facts: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def low_is_bad(self) -> bool:
        return self.by != "perplexity"

    @property
    def reasons_column(self) -> str:
        return f"{self.column}_reasons"


def by_heuristics(version: Version, *, processes: int, on_progress: Progress) -> Scores:
    """Quality by named reasons."""
    values, reasons = _scored(version, _judge_by_reasons, processes, on_progress)
    return Scores("heuristics", COLUMNS["heuristics"], values, reasons)


def by_classifier(
    version: Version, classifier: Classifier, *, processes: int, on_progress: Progress
) -> Scores:
    """Quality as a classifier has learned it."""
    judge = partial(_judge_by_classifier, classifier=classifier)
    values, _ = _scored(version, judge, processes, on_progress)
    return Scores("classifier", COLUMNS["classifier"], values, facts=classifier.facts)


def by_losses(version: Version, losses: Path, facts: dict[str, Any]) -> Scores:
    """Perplexity from the mean losses that the engine has measured: a table of row and loss."""
    table = pq.read_table(losses)
    rows, loss = table["row"].to_numpy(), table["loss"].to_numpy()
    values = np.full(version.manifest.rows, np.nan, np.float32)
    places = {int(number): at for at, number in enumerate(version.column("id").tolist())}
    with np.errstate(over="ignore"):
        perplexity = np.minimum(np.exp(loss.astype(np.float64)), 1e9)
    values[[places[int(row)] for row in rows.tolist()]] = perplexity
    return Scores("perplexity", COLUMNS["perplexity"], values, facts=facts)


def write(
    catalog: Catalog, version: Version, scores: Scores, *, on_progress: Progress
) -> Version | None:
    """The version with the columns; None where every row has them already."""
    told = zip(
        _rounded(scores.values),
        (scores.reasons if scores.reasons is not None else scores.values).tolist(),
        strict=True,
    )

    def change(row: StoredRow) -> StoredRow:
        value, bits = next(told)
        extra = {name: v for name, v in row.extra.items() if name != scores.reasons_column}
        extra[scores.column] = value
        if scores.reasons is not None:
            extra[scores.reasons_column] = names_of(bits)
        return row if extra == row.extra else row.with_extra(extra)

    operation = {"operation": "score", "by": scores.by, "column": scores.column}
    if "model" in scores.facts:
        operation["model"] = scores.facts["model"]
    return rewrite(catalog, version, change, operation=operation, on_progress=on_progress)


def _rounded(values: Floats) -> list[float | None]:
    """Three digits after the point for what is below 100, else none."""
    return [
        None if value != value else round(value, 3) if value < 100 else float(round(value))
        for value in values.tolist()
    ]


# ---------------------------------------------------------------- rows of a version


def _scored(
    version: Version,
    judge: Callable[[Rows], Part],
    processes: int,
    on_progress: Progress,
) -> Part:
    processes = processes if version.size > _SMALL else 1
    parts: list[Part] = []
    done = 0
    for part in in_order(judge, version.batches(rows=1024), processes=processes):
        parts.append(part)
        done += len(part[0])
        on_progress("Scoring", done, version.manifest.rows)
    values, reasons = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(reasons)


def _judge_by_reasons(rows: Rows) -> Part:
    bits = reasons_of_rows(list(stored_rows([rows])))
    return quality_of(bits), bits


def _judge_by_classifier(rows: Rows, classifier: Classifier) -> Part:
    quality = classifier.quality(pairs_of(list(stored_rows([rows]))))
    return quality, np.zeros(len(quality), np.uint32)


# ---------------------------------------------------------------- labels of the user


def classifier_of_labels(version: Version, column: str) -> Classifier:
    """A classifier of the rows whose column says good (true) or bad (false).

    Every fifth labelled row is held out, so that the report can say how well it does.
    """
    examples = [
        Example(pair, good, "good" if good else "bad")
        for batch in version.batches(rows=1024)
        for good, pair in _labelled(list(stored_rows([batch])), column)
    ]
    counts = [sum(e.good == wanted for e in examples) for wanted in (True, False)]
    if min(counts) < LEAST_LABELS:
        raise DataError(
            f"{version.label} has {counts[0]} rows whose {column} is true and {counts[1]} whose "
            f"{column} is false; a classifier needs {LEAST_LABELS} of each.",
            hint=f"Label more rows in a column named {column}: true for good, false for bad.",
            code="too_few_labels",
            column=column,
            good=counts[0],
            bad=counts[1],
            least=LEAST_LABELS,
        )
    held: list[Example] = []
    training: list[Example] = []
    for good in (True, False):
        own = [example for example in examples if example.good == good]
        held += own[::_HELD_OUT_EVERY]
        training += [e for number, e in enumerate(own) if number % _HELD_OUT_EVERY]
    return trained_on(training, held)


def _labelled(rows: Sequence[StoredRow], column: str) -> list[tuple[bool, tuple[str, str]]]:
    marked = [(label_of(row.extra.get(column), row, column), row) for row in rows]
    wanted = [(good, row) for good, row in marked if good is not None]
    pairs = pairs_of([row for _, row in wanted])
    return [(good, pair) for (good, _), pair in zip(wanted, pairs, strict=True)]


def label_of(value: Any, row: StoredRow, column: str) -> bool | None:
    """True, false, or None where the row has no label."""
    if value is None or value == "":
        return None
    known = JUDGEMENTS.get(str(value).strip().lower())
    if known is None:
        raise InputError(
            f"Row {row.id}: {column} is {str(value)[:40]!r}, which is neither true nor false.",
            hint="Good rows: true, 1, yes or good. Bad rows: false, 0, no or bad.",
            code="bad_label",
            row=row.id,
            column=column,
            value=str(value)[:40],
        )
    return known
