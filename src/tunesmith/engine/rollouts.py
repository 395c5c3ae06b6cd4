"""Answers that the model has written in a step, as rows to learn from; and what they are worth.

An answer is one row of a token table: its question, then its tokens as labels, the one that ended
it included.

Shapes: P questions, G answers to each.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tunesmith.data.batches import Rows, micro_batches
from tunesmith.data.table import NO_NOTES, TokenTable
from tunesmith.engine.batch import flat_batch
from tunesmith.engine.fused import Backbone
from tunesmith.engine.head import Head
from tunesmith.engine.stages.policy import Rollouts, Values, at_temperature
from tunesmith.engine.stages.stage import log_probs
from tunesmith.recipe import Grpo
from tunesmith.runs.files import write_atomically

EPSILON = 1e-4  # beside the spread of rewards, so that equal ones divide by something


@dataclass(frozen=True)
class Answer:
    """One answer to the question at `place` of a step, its number `turn` of the group."""

    place: int
    turn: int
    row: int  # of the question in its table
    ids: tuple[int, ...]  # the end included
    is_cut: bool  # no end came within max_answer_tokens
    text: str


def advantages_of(rewards_PG: NDArray[np.float64], settings: Grpo) -> NDArray[np.float64]:
    """By how much each answer is better than its group; 0 where its reward is NaN."""
    known = ~np.isnan(rewards_PG)
    counts = known.sum(1, keepdims=True)
    sums = np.where(known, rewards_PG, 0.0).sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        if settings.advantage == "rloo":
            advantages = rewards_PG - (sums - rewards_PG) / (counts - 1)
        else:
            advantages = rewards_PG - sums / counts
        if settings.scale_rewards != "none":
            advantages = advantages / (_spread(rewards_PG, settings.scale_rewards) + EPSILON)
    return np.where(np.isfinite(advantages), advantages, 0.0)


def _spread(rewards_PG: NDArray[np.float64], over: str) -> NDArray[np.float64]:
    """Standard deviation of known rewards, of a sample: n - 1."""
    axis = 1 if over == "group" else None
    known = ~np.isnan(rewards_PG)
    count = known.sum(axis, keepdims=True)
    values = np.where(known, rewards_PG, 0.0)
    mean = values.sum(axis, keepdims=True) / count
    squares = np.where(known, (rewards_PG - mean) ** 2, 0.0).sum(axis, keepdims=True)
    return np.sqrt(squares / (count - 1))


def described(
    answers: Sequence[Answer], rewards: Sequence[float | None], parts: Sequence[dict[str, float]]
) -> dict[str, float]:
    """Means over the answers of a step; rewards over those that have one."""
    known = [reward for reward in rewards if reward is not None]
    groups: dict[int, set[float]] = {}
    for answer, reward in zip(answers, rewards, strict=True):
        if reward is not None:
            groups.setdefault(answer.place, set()).add(reward)
    told = {
        "reward": _mean(known),
        "reward_std": float(np.std(known, ddof=1)) if len(known) > 1 else 0.0,
        "reward_equal_share": _mean([float(len(found) == 1) for found in groups.values()]),
        "answer_tokens": _mean([float(len(answer.ids)) for answer in answers]),
        "cut_share": _mean([float(answer.is_cut) for answer in answers]),
        "skipped_share": 1 - len(known) / max(len(answers), 1),
    }
    for name in dict.fromkeys(name for part in parts for name in part):
        told[f"reward_{name}"] = _mean([part[name] for part in parts if name in part])
    return told


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def answers_table(
    questions: TokenTable, answers: Sequence[Answer], *, mask_cut: bool = False
) -> TokenTable:
    """The answers behind their questions; with `mask_cut` nothing is learned of those cut off."""
    ids: list[NDArray[np.uint32]] = []
    targets: list[NDArray[np.uint8]] = []
    for answer in answers:
        asked = questions.row(answer.row)[0]
        ids += [asked, np.array(answer.ids, np.uint32)]
        learned = 0 if mask_cut and answer.is_cut else 1
        targets += [np.zeros(len(asked), np.uint8), np.full(len(answer.ids), learned, np.uint8)]
    rows = np.array([answer.row for answer in answers], np.int64)
    counts = np.array([len(part) for part in ids], np.int64).reshape(-1, 2).sum(1)
    return _table(questions, rows, _joined(ids, np.uint32), _joined(targets, np.uint8), counts)


def _table(
    questions: TokenTable,
    rows: Rows,
    ids: NDArray[np.uint32],
    targets: NDArray[np.uint8],
    lengths: Rows,
) -> TokenTable:
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    of_question = ("sources", "lines", "digests", "desirable", "margins")
    return replace(
        questions,
        ids=ids,
        targets=targets,
        offsets=offsets,
        lengths=lengths,
        full_lengths=lengths,
        label_counts=np.array([targets[start:end].sum() for start, end in spans], np.int64),
        records=np.arange(len(lengths), dtype=np.int64),
        splits=np.zeros(len(lengths), np.int64),
        **{name: getattr(questions, name)[rows] for name in of_question},
        marks={},
        notes=NO_NOTES,
    )


def _joined(parts: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


@torch.no_grad()
def token_values(
    backbone: Backbone,
    head: Head,
    table: TokenTable,
    *,
    temperature: float,
    budget: int,
    device: torch.device,
) -> Values:
    """Log-probabilities of the labels of all rows, row by row."""
    head = at_temperature(head, temperature)
    found: dict[int, NDArray[np.float32]] = {}
    for rows in micro_batches(np.arange(len(table), dtype=np.int64), table.lengths, budget):
        values_N = log_probs(backbone, head, flat_batch(table, rows.tolist(), device)).log_probs_N
        parts = values_N.cpu().split(table.label_counts[rows].tolist())
        found |= {int(row): part.numpy() for row, part in zip(rows, parts, strict=True)}
    return [found[row] for row in range(len(table))]


# ---------------------------------------------------------------- kept with a checkpoint


def save_rollouts(path: Path, rollouts: Rollouts, rows: Rows, **about: Any) -> None:
    """Answers that further updates will learn from, so that a resumed run has the same ones."""
    table = rollouts.table
    arrays: dict[str, Any] = {
        "ids": table.ids, "targets": table.targets, "lengths": table.lengths, "rows": rows,
        "advantages": rollouts.advantages_B,
    }  # fmt: skip
    for name in ("old", "reference"):
        values = getattr(rollouts, name)
        if values is not None:
            arrays[name] = _joined(values, np.float32)
    text = json.dumps({**about, "told": dict(rollouts.told or {})})
    buffer = io.BytesIO()
    np.savez(buffer, about=np.array(text), **arrays)
    write_atomically(path, buffer.getvalue())


def load_rollouts(path: Path, questions: TokenTable) -> tuple[Rollouts, Rows, dict[str, Any]]:
    """The answers, the rows of their questions, and what was told about them."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads(str(arrays["about"]))
    rows = arrays["rows"]
    table = _table(questions, rows, *(arrays[name] for name in ("ids", "targets", "lengths")))
    borders = np.cumsum(table.label_counts)[:-1]
    values = {
        name: list(np.split(arrays[name], borders)) if name in arrays else None
        for name in ("old", "reference")
    }
    found = Rollouts(table, arrays["advantages"], **values, told=about.pop("told"))
    return found, rows, about
