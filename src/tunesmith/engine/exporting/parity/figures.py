"""Differences between two walks, as numbers. Pure functions.

Shapes: N positions of an answer, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.engine.exporting.parity.walks import Walk


@dataclass(frozen=True)
class RowFigures:
    """One prompt. A position is decided when the reference's best token leads by the tie width."""

    positions: int
    agreed: int
    decided: int
    agreed_of_decided: int
    sum_difference: float  # of |log p|, of the reference's tokens
    max_difference: float
    sum_kl: float
    max_kl: float


@dataclass(frozen=True)
class Figures:
    """All prompts together."""

    positions: int
    decided_positions: int
    top1_agreement: float
    top1_agreement_of_decided: float
    mean_logprob_difference: float
    max_logprob_difference: float
    mean_kl: float
    max_kl: float
    greedy_equal: int
    greedy_total: int
    template_equal: int
    template_total: int


def compare(reference: Walk, artefact: Walk, *, tie: float) -> RowFigures:
    """How much the artefact differs on one answer of the reference.

    KL is the sum over the whole vocabulary of p log(p / q), p being the reference.
    """
    p_NV, q_NV = reference.log_probs_NV.double(), artefact.log_probs_NV.double()
    tokens_N = torch.tensor(reference.answer)[:, None]
    difference_N = (p_NV - q_NV).gather(1, tokens_N)[:, 0].abs()
    kl_N = (p_NV.exp() * (p_NV - q_NV)).nan_to_num(nan=math.nan).sum(-1).clamp(min=0)
    best_N = q_NV.argmax(-1) == p_NV.argmax(-1)
    best_N &= ~q_NV.isnan().any(-1)
    decided_N = _lead(p_NV) > tie
    return RowFigures(
        positions=len(difference_N),
        agreed=int(best_N.sum()),
        decided=int(decided_N.sum()),
        agreed_of_decided=int((best_N & decided_N).sum()),
        sum_difference=float(difference_N.sum()),
        max_difference=_largest(difference_N),
        sum_kl=float(kl_N.sum()),
        max_kl=_largest(kl_N),
    )


def combine(
    rows: Sequence[RowFigures], *, greedy: Sequence[bool], template: Sequence[bool]
) -> Figures:
    """The figures of all prompts; NaN anywhere stays NaN."""
    positions = sum(row.positions for row in rows)
    decided = sum(row.decided for row in rows)
    return Figures(
        positions=positions,
        decided_positions=decided,
        top1_agreement=_share(sum(row.agreed for row in rows), positions),
        top1_agreement_of_decided=_share(sum(row.agreed_of_decided for row in rows), decided),
        mean_logprob_difference=sum(row.sum_difference for row in rows) / max(positions, 1),
        max_logprob_difference=_worst([row.max_difference for row in rows]),
        mean_kl=sum(row.sum_kl for row in rows) / max(positions, 1),
        max_kl=_worst([row.max_kl for row in rows]),
        greedy_equal=sum(greedy),
        greedy_total=len(greedy),
        template_equal=sum(template),
        template_total=len(template),
    )


def _lead(log_probs_NV: Tensor) -> Tensor:
    best_N2 = log_probs_NV.topk(2, -1).values
    return best_N2[:, 0] - best_N2[:, 1]


def _largest(values: Tensor) -> float:
    return float(values.max()) if len(values) else 0.0  # NaN wins in torch


def _worst(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else max(values, default=0.0)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
