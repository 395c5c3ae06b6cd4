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
_BATCH = 8  # rows of a padded batch, for what packing saves
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Plan:
    """What a training would do, for the estimate of its tokens."""

    epochs: int = 1
    batch_size: int = 8


def statistics(lengths: Lengths, plan: Plan, max_length: int | None = None) -> dict[str, Any]:
    """All figures as one JSON object; lengths are in tokens."""
    rows = len(lengths)
    recommended, why = recommend(lengths)
    chosen = max_length or recommended
    tallies = lengths.tallies
    return {
        "rows_read": sum(tally["rows_read"] for tally in tallies),
        "rows_kept": sum(tally["rows_kept"] for tally in tallies),
        "training_rows": rows,
        "dropped": _dropped(tallies),
        "turns": summary(lengths.answers),
        "tokens": summary(lengths.lengths),
        "prompt_tokens": summary(lengths.lengths - lengths.label_counts),
        "answer_tokens": summary(lengths.label_counts),
        "histogram": histogram(lengths.lengths),
        "answer_histogram": histogram(lengths.label_counts),
        "max_lengths": [at_length(lengths, cut) for cut in _told_cuts(lengths, chosen)],
        "recommended": {"max_length": recommended, "why": why},
        "max_length": chosen,
        "epoch": _epoch(lengths, chosen),
        "token_num": _token_num(rows, chosen, plan),
        "packing": _packing(lengths, chosen),
        "advice": advice(rows),
    }


def summary(values: Ints) -> dict[str, float]:
    """Mean, median, p5, p95, p99, smallest, largest and sum; percentiles are values that occur."""
    if not len(values):
        return dict.fromkeys(("mean", "median", "p5", "p95", "p99", "min", "max", "total"), 0)
    p5, median, p95, p99 = np.percentile(values, [5, 50, 95, 99], method="higher")
    return {
        "mean": round(float(values.mean()), 1),
        "median": int(median),
        "p5": int(p5),
        "p95": int(p95),
        "p99": int(p99),
        "min": int(values.min()),
        "max": int(values.max()),
        "total": int(values.sum(dtype=np.int64)),
    }


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
    wanted = {cut for cut in lengths.cuts if 512 <= cut <= max(enough, 512)}
    return sorted(wanted | ({chosen} & set(lengths.cuts)))


def at_length(lengths: Lengths, cut: int) -> dict[str, Any]:
    """What is lost when rows are cut at a length."""
    whole = lengths.lengths <= cut
    kept = lengths.kept_at(cut)
    lost = np.maximum(lengths.lengths - cut, 0).sum(dtype=np.int64)
    labels = int(lengths.label_counts.sum(dtype=np.int64))
    return {
        "max_length": cut,
        "rows_whole": int(whole.sum()),
        "share_whole": round(float(whole.mean()), 6) if len(lengths) else 1.0,
        "tokens_lost": int(lost),
        "label_tokens_lost": labels - int(kept.sum(dtype=np.int64)),
        "rows_without_labels": int((kept == 0).sum()),
    }


def recommend(lengths: Lengths) -> tuple[int, str]:
    """The smallest usual length that keeps 99 of 100 rows whole and 99% of what is learned."""
    cuts = [cut for cut in lengths.cuts if cut >= 512 and cut & (cut - 1) == 0]
    labels = max(1, int(lengths.label_counts.sum(dtype=np.int64)))
    for cut in cuts:
        found = at_length(lengths, cut)
        kept = 1 - found["label_tokens_lost"] / labels
        if found["share_whole"] >= _ENOUGH and kept >= _ENOUGH:
            return cut, (
                f"the smallest of {', '.join(map(str, cuts[:4]))}, ... that keeps "
                f"{found['share_whole']:.1%} of the rows whole and {kept:.1%} of the answers"
            )
    return cuts[-1], "no usual length keeps 99% of the rows whole: split the long rows"


def _epoch(lengths: Lengths, cut: int) -> dict[str, int]:
    return {
        "rows": int((lengths.kept_at(cut) > 0).sum()),
        "tokens": int(np.minimum(lengths.lengths, cut).sum(dtype=np.int64)),
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
    cut_lengths = np.minimum(lengths.lengths, cut)
    shuffled = np.random.default_rng(0).permutation(cut_lengths)
    padded = sum(
        int(part.max()) * len(part)
        for part in np.array_split(shuffled, max(1, len(shuffled) // _BATCH))
        if len(part)
    )
    tokens = int(cut_lengths.sum(dtype=np.int64))
    saved = 1 - tokens / padded if padded else 0.0
    return {"padded_tokens": padded, "tokens": tokens, "saved": round(saved, 4)}


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
