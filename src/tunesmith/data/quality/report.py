"""What scores show: how they are distributed, the worst and best rows, and what to do next."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.data.quality.heuristics import PENALTIES, REASONS, names_of
from tunesmith.data.quality.score import Scores
from tunesmith.data.quality.texts import asked_and_said
from tunesmith.data.store import Version
from tunesmith.data.store.rows import StoredRow, stored_rows

SHOWN = 10  # rows at each end
_SHARE = 0.05  # of the rows that are proposed for reading
_BINS = 10
_EXCERPT = 200  # characters
_STRANGE = 500.0  # a median perplexity of texts that a model does not know
WARNING = (
    "Filters err, in both directions: a short answer may be the right one, and a fluent one may be "
    "false. Read the rows before you remove them, and keep the version you came from."
)
WARNING_ZH = (
    "筛选会误判：短回答可能正是正确答案，流畅的回答也可能是错的。"
    "删除前请先人工查看，并保留原来的版本。"
)
Ints = npt.NDArray[np.int64]


def report(version: Version, scores: Scores, written: Version) -> dict[str, Any]:
    """All of it as one JSON object; `written` is the version that has the columns."""
    values = scores.values
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    if not scores.low_is_bad:
        order = order[::-1]
    worst = order[:SHOWN]
    best = order[::-1][: min(SHOWN, max(0, len(order) - len(worst)))]
    texts = _rows_at(version, np.concatenate([worst, best]))
    return {
        "subject": version.label,
        "by": scores.by,
        "column": scores.column,
        "version": written.label,
        "rows": len(values),
        "scored": len(known),
        "distribution": distribution(values[known]),
        **_reasons(scores),
        "worst": [_told(texts[at], at, scores) for at in worst.tolist()],
        "best": [_told(texts[at], at, scores) for at in best.tolist()],
        "commands": _commands(written, scores, values[known]),
        "facts": scores.facts,
        "notes": _notes(scores, values[known]),
        "warning": WARNING,
    }


def distribution(values: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Mean, percentiles, and counts in ten bins; perplexities in bins that double."""
    if not len(values):
        return {}
    p1, p5, median, p95, p99 = np.percentile(values, [1, 5, 50, 95, 99]).tolist()
    named = {"mean": float(values.mean()), "min": float(values.min()), "p1": p1, "p5": p5}
    named |= {"median": median, "p95": p95, "p99": p99, "max": float(values.max())}
    edges = _edges(values)
    counts = np.histogram(values, edges)[0]
    told: dict[str, Any] = {name: round(value, 3) for name, value in named.items()}
    return told | {"edges": edges, "counts": counts.tolist()}


def _notes(scores: Scores, values: npt.NDArray[np.float32]) -> list[str]:
    """What would make the values mean less than they seem to."""
    if scores.by != "perplexity" or not len(values):
        return []
    median = float(np.median(values))
    if median <= _STRANGE:
        return []
    return [
        f"Half of the rows have a perplexity above {median:,.0f}: the model hardly knows such "
        "texts, so that its order says little. Take a larger model, or one trained on such texts."
    ]


def _edges(values: npt.NDArray[np.float32]) -> list[float]:
    """Up to 1 in tenths; beyond, by powers of two."""
    highest = float(values.max())
    if highest <= 1:
        return [round(step / _BINS, 1) for step in range(_BINS + 1)]
    edges = [1.0]
    while edges[-1] <= highest:
        edges.append(edges[-1] * 2)
    return edges


def _reasons(scores: Scores) -> dict[str, Any]:
    """How many rows have each reason, the heaviest first."""
    if scores.reasons is None:
        return {}
    counts = {
        name: int((scores.reasons >> np.uint32(number) & np.uint32(1)).sum())
        for number, name in enumerate(REASONS)
    }
    met = [name for name in REASONS if counts[name]]
    met.sort(key=lambda name: -PENALTIES[name])
    return {
        "reasons": [{"name": n, "rows": counts[n], "penalty": PENALTIES[n]} for n in met],
        "without_reason": int((scores.reasons == 0).sum()),
    }


def _told(row: StoredRow, at: int, scores: Scores) -> dict[str, Any]:
    question, answer = asked_and_said(row.record)
    value = float(scores.values[at])
    told: dict[str, Any] = {
        "id": row.id,
        scores.column: round(value, 3) if value < 100 else round(value),
        "question": question[:_EXCERPT],
        "answer": answer[:_EXCERPT],
    }
    if scores.reasons is not None:
        told["reasons"] = names_of(int(scores.reasons[at]))
    return told


def _commands(
    written: Version, scores: Scores, values: npt.NDArray[np.float32]
) -> dict[str, list[str]]:
    """Commands, word by word, that show and that remove the worst rows: about one in twenty."""
    limit = threshold(values, scores.low_is_bad)
    if limit is None:
        return {}
    bad, good = ("<", ">=") if scores.low_is_bad else (">", "<=")
    column, name = scores.column, written.label
    unscored = len(values) < len(scores.values)
    seen = f"{column} != None and {column} {bad} {limit:g}" if unscored else ""
    kept = f"{column} == None or {column} {good} {limit:g}" if unscored else ""
    return {
        "review": [
            *("data", "show", name, "--where", seen or f"{column} {bad} {limit:g}"),
            *("--limit", "50"),
        ],
        "remove": ["data", "keep", name, "--where", kept or f"{column} {good} {limit:g}"],
        "undo": ["data", "rollback", f"{written.manifest.name}@{written.manifest.parent}"],
    }


def threshold(values: npt.NDArray[np.float32], low_is_bad: bool) -> float | None:
    """A round value beyond which about one row in twenty lies; None where all rows are alike."""
    if not len(values) or values.min() == values.max():
        return None
    if low_is_bad:
        limit = float(np.ceil(np.quantile(values, _SHARE) * 50 + 1e-6) / 50)  # steps of 0.02
        while not (values < limit).any():
            limit += 0.02
        return round(min(limit, float(values.max())), 2)
    limit = float(np.quantile(values, 1 - _SHARE))
    step = 10 ** max(0, int(np.floor(np.log10(max(limit, 1)))) - 1)
    rounded = float(np.floor(limit / step) * step)
    return rounded if rounded >= values.min() else round(limit, 3)


def _rows_at(version: Version, places: Ints) -> dict[int, StoredRow]:
    """The rows at some places of the version."""
    found: dict[int, StoredRow] = {}
    wanted = np.sort(places)
    start = 0
    for batch in version.batches():
        here = wanted[(wanted >= start) & (wanted < start + len(batch))]
        if len(here):
            rows = stored_rows([batch.take(here - start)])
            found.update(zip(here.tolist(), rows, strict=True))
        start += len(batch)
    return found
