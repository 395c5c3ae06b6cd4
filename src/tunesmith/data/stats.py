"""Statistics of a dataset in tokens: lengths, which max_length to take, what training will cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.data.lengths import Lengths

_BINS = 24
_ENOUGH = 0.99  # share of whole rows and of labels that a recommended length keeps
_RULE = "99 of 100 rows whole and 99% of the answers"
_FORCING = 5  # rows named that force a length
_MUCH = 0.005  # of all labels in one row: worth a word
_WINDOW = 2048  # of documents, whose length decides nothing
_BATCH = 8  # rows of a padded batch, for what packing saves
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Plan:
    """What a training would do, for the estimate of its tokens."""

    epochs: int = 1
    batch_size: int = 8


def statistics(lengths: Lengths, plan: Plan, max_length: int | None = None) -> dict[str, Any]:
    """All figures as one JSON object; lengths are in tokens."""
    recommended = recommend(lengths)
    chosen = max_length or recommended["max_length"]
    tallies = lengths.tallies
    epoch = _epoch(lengths, chosen)
    return {
        "rows_read": sum(tally["rows_read"] for tally in tallies),
        "rows_kept": sum(tally["rows_kept"] for tally in tallies),
        "training_rows": sum(tally["training_rows"] for tally in tallies),  # a pair is one
        "documents": int(lengths.documents.sum()),
        "context": lengths.context,
        "dropped": _dropped(tallies),
        "turns": summary(lengths.answers),
        "tokens": summary(lengths.lengths),
        "prompt_tokens": summary(lengths.lengths - lengths.label_counts),
        "answer_tokens": summary(lengths.label_counts),
        "histogram": histogram(lengths.lengths),
        "answer_histogram": histogram(lengths.label_counts),
        "max_lengths": [at_length(lengths, cut) for cut in _told_cuts(lengths, chosen)],
        "recommended": recommended,
        "max_length": chosen,
        "epoch": epoch,
        "token_num": _token_num(epoch["rows"], chosen, plan),
        "packing": _packing(lengths, chosen),
        "advice": advice(len(lengths)),
    }


def summary(values: Ints) -> dict[str, float]:
    """Mean, median, p5, p95, p99, smallest, largest and sum.

    Percentiles lie between two values in proportion, as numpy and spreadsheets have them.
    """
    if not len(values):
        return dict.fromkeys(("mean", "median", "p5", "p95", "p99", "min", "max", "total"), 0)
    p5, median, p95, p99 = map(_short, np.percentile(values, [5, 50, 95, 99]).tolist())
    return {
        "mean": _short(float(values.mean())),
        "median": median,
        "p5": p5,
        "p95": p95,
        "p99": p99,
        "min": int(values.min()),
        "max": int(values.max()),
        "total": int(values.sum(dtype=np.int64)),
    }


def _short(value: float) -> float:
    """With one decimal, and without one where it is 0."""
    rounded = round(value, 1)
    return int(rounded) if rounded == int(rounded) else rounded


def histogram(values: Ints) -> dict[str, Any]:
    """Counts in bins of equal width up to the 99th percentile; the last bin holds all beyond."""
    if not len(values):
        return {"width": 1, "counts": [], "beyond": 0}
    top = float(np.percentile(values, 99, method="higher"))
    width = _round_width(max(1.0, (top + 1) / _BINS))
    bins = math.ceil((top + 1) / width)
    counts = np.bincount(np.minimum(values // width, bins), minlength=bins + 1)
    return {"width": width, "counts": counts[:bins].tolist(), "beyond": int(counts[bins:].sum())}


def _round_width(width: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, ..."""
    power = 10 ** math.floor(math.log10(width))
    return next(int(step * power) for step in (1, 2, 5, 10) if step * power >= width)


def _told_cuts(lengths: Lengths, chosen: int) -> list[int]:
    """The lengths from 512 up to the first that holds every row, and the chosen one."""
    longest = int(lengths.lengths.max(initial=0))
    enough = next((cut for cut in lengths.cuts if cut >= longest), lengths.cuts[-1])
    limit = min(max(enough, 512), lengths.context or enough)
    wanted = {cut for cut in lengths.cuts if 512 <= cut <= limit}
    return sorted(wanted | ({chosen} & set(lengths.cuts)))


def at_length(lengths: Lengths, cut: int) -> dict[str, Any]:
    """What is lost when rows are cut at a length."""
    whole = lengths.lengths <= cut
    kept = lengths.kept_at(cut)
    beyond = np.where(lengths.documents, 0, np.maximum(lengths.lengths - cut, 0))
    lost = beyond.sum(dtype=np.int64)
    labels = int(lengths.label_counts.sum(dtype=np.int64))
    return {
        "max_length": cut,
        "rows_whole": int(whole.sum()),
        "share_whole": round(float(whole.mean()), 6) if len(lengths) else 1.0,
        "tokens_lost": int(lost),
        "label_tokens_lost": labels - int(kept.sum(dtype=np.int64)),
        "rows_without_labels": int((kept == 0).sum()),
        "windows": int(lengths.rows_at(cut)[lengths.documents].sum()),
    }


def recommend(lengths: Lengths) -> dict[str, Any]:
    """The smallest usual length that keeps 99 of 100 rows whole and 99% of what is learned.

    Never more than the model takes. `rejected` is what the next shorter one would lose, and
    `forced_by` names the rows that lose most of it.
    """
    limit = lengths.context or lengths.cuts[-1]
    cuts = [cut for cut in lengths.cuts if _is_usual(cut) and cut <= limit]
    cuts = cuts or [limit]
    if len(lengths) and lengths.documents.all():
        return _for_documents(cuts)
    at = next((n for n, cut in enumerate(cuts) if _keeps_enough(lengths, cut)), None)
    if at is None:
        # The model's context may be no power of two: all of it is better than the one below.
        most = "all that the model takes" if lengths.context else "the longest that is usual"
        return _found(lengths, limit, f"{limit:,} tokens are {most}: {{kept}}; split long rows")
    told = _found(lengths, cuts[at], f"{{kept}}; the rule is {_RULE}, and this is the smallest")
    return told | (_rejected(lengths, cuts[at - 1], told["why"]) if at else {})


def _is_usual(cut: int) -> bool:
    return cut >= 512 and cut & (cut - 1) == 0


def _for_documents(cuts: list[int]) -> dict[str, Any]:
    cut = max([cut for cut in cuts if cut <= _WINDOW] or cuts[:1])
    why = f"plain text is split into windows of max_length and loses nothing; {cut:,} is usual"
    return {"max_length": cut, "why": why}


def _found(lengths: Lengths, cut: int, why: str) -> dict[str, Any]:
    return {"max_length": cut, "why": why.format(kept=f"it keeps {_kept(lengths, cut)}")}


def _shares(lengths: Lengths, cut: int) -> tuple[float, float]:
    """Of rows that stay whole, and of labels that are left."""
    found = at_length(lengths, cut)
    labels = max(1, int(lengths.label_counts.sum(dtype=np.int64)))
    return found["share_whole"], 1 - found["label_tokens_lost"] / labels


def _keeps_enough(lengths: Lengths, cut: int) -> bool:
    return min(_shares(lengths, cut)) >= _ENOUGH


def _kept(lengths: Lengths, cut: int) -> str:
    whole, labels = _shares(lengths, cut)
    return f"{_percent(whole)} of the rows whole and {_percent(labels)} of the answers"


def _percent(share: float) -> str:
    """Rounded down: 98.97% is not the 99% that the rule asks for."""
    return f"{math.floor(share * 1000) / 10:.1f}%"


def _rejected(lengths: Lengths, cut: int, why: str) -> dict[str, Any]:
    """Why not the next shorter length, and which rows lose most of their answers there."""
    lost = lengths.label_counts - lengths.kept_at(cut)
    worst = [int(row) for row in np.argsort(-lost, kind="stable")[:_FORCING] if lost[row]]
    total = max(1, int(lengths.label_counts.sum(dtype=np.int64)))
    forced = [
        {
            "source": lengths.tallies[int(lengths.sources[row])]["source"],
            "row" if lengths.stored else "line": int(lengths.lines[row]),
            "tokens": int(lengths.lengths[row]),
            "label_tokens_lost": int(lost[row]),
            "share": round(int(lost[row]) / total, 4),
        }
        for row in worst
    ]
    why += f". {cut:,} would keep {_kept(lengths, cut)}"
    if forced and forced[0]["share"] >= _MUCH:
        first = forced[0]
        place = f"row {first['row']}" if lengths.stored else f"{first['source']}: {first['line']}"
        why += f"; {place} alone loses {first['share']:.1%} of all answers there: look at it"
    whole, labels = _shares(lengths, cut)
    told = {"max_length": cut, "share_whole": whole, "share_of_answers": round(labels, 6)}
    return {"why": why, "rejected": told, "forced_by": forced}


def _epoch(lengths: Lengths, cut: int) -> dict[str, int]:
    """What one pass takes; rows of which nothing would be learned are left out of training."""
    return {
        "rows": int(lengths.rows_at(cut).sum()),
        "tokens": int(lengths.tokens_at(cut).sum(dtype=np.int64)),
        "label_tokens": int(lengths.kept_at(cut).sum(dtype=np.int64)),
    }


def _token_num(rows: int, max_length: int, plan: Plan) -> dict[str, int]:
    """token_num = step x batch_size x sequence, as hosted platforms estimate their price."""
    steps = max(1, math.ceil(rows * plan.epochs / plan.batch_size))
    return {
        "epochs": plan.epochs,
        "steps": steps,
        "batch_size": plan.batch_size,
        "sequence": max_length,
        "token_num": steps * plan.batch_size * max_length,
    }


def _packing(lengths: Lengths, cut: int) -> dict[str, float]:
    """Slots of batches padded to their longest row, in random order, against the tokens in them."""
    cut_lengths = _training_rows(lengths, cut)
    shuffled = np.random.default_rng(0).permutation(cut_lengths)
    padded = sum(
        int(part.max()) * len(part)
        for part in np.array_split(shuffled, max(1, len(shuffled) // _BATCH))
        if len(part)
    )
    tokens = int(cut_lengths.sum(dtype=np.int64))
    saved = 1 - tokens / padded if padded else 0.0
    return {"padded_tokens": padded, "tokens": tokens, "saved": round(saved, 4)}


def _training_rows(lengths: Lengths, cut: int) -> npt.NDArray[np.int64]:
    """The length of each row that is trained on: the windows of documents one by one."""
    rows, tokens = lengths.rows_at(cut), lengths.tokens_at(cut)
    windows = np.repeat(tokens, rows)
    number = np.arange(len(windows)) - np.repeat(np.cumsum(rows) - rows, rows)
    return np.minimum(windows - number * cut, cut)


def _dropped(tallies: list[dict[str, Any]]) -> dict[str, int]:
    dropped: dict[str, int] = {}
    for tally in tallies:
        for reason, lines in tally["dropped"].items():
            dropped[reason] = dropped.get(reason, 0) + lines["count"]
    return dropped


def advice(rows: int) -> str:
    """What the number of rows suggests; figures after the platforms' own recommendations."""
    if rows < 100:
        return (
            f"{rows} rows are fewer than the 100 that training asks for. Write more of them: "
            "variety in how people ask helps most."
        )
    if rows < 1000:
        return (
            f"{rows} rows teach a style or one narrow task. For more, some thousand rows that you "
            "have read yourself help more than longer training."
        )
    if rows <= 20_000:
        return (
            f"{rows} rows are enough for most tasks (about 10,000 refined rows usually are): from "
            "here on better rows help more than more rows."
        )
    return (
        f"{rows} rows are more than most tasks need (about 10,000 refined rows are usually "
        "enough): keep the best and the most different ones."
    )
