"""How far an artefact may drift from the trained model, by the precision that it keeps.

Rounding weights changes every number a little; the limits are several times what rounding alone
does to real models, and far below what a wrong tensor, a wrong template or a wrong norm does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tunesmith.engine.exporting.parity.figures import Figures

Precision = Literal["float32", "float16", "bfloat16", "q8_0", "int8", "int4"]


@dataclass(frozen=True)
class Limits:
    """What is allowed. `tie` is the lead below which another best token says nothing."""

    tie: float
    top1_agreement_of_decided: float
    mean_logprob_difference: float
    max_logprob_difference: float
    mean_kl: float
    greedy_must_be_equal: bool = False  # where every position is decided


LIMITS: dict[Precision, Limits] = {
    "float32": Limits(1e-3, 1.0, 1e-4, 1e-2, 1e-6, greedy_must_be_equal=True),
    "float16": Limits(0.02, 0.995, 5e-3, 0.2, 1e-4),
    "bfloat16": Limits(0.1, 0.98, 4e-2, 1.0, 5e-3),
    "q8_0": Limits(0.1, 0.97, 5e-2, 1.0, 1e-2),
    "int8": Limits(0.2, 0.95, 0.1, 2.0, 3e-2),
    "int4": Limits(0.5, 0.85, 0.4, 6.0, 0.15),
}


def drift(figures: Figures, limits: Limits) -> list[str]:
    """What is beyond a limit, in words; empty when the artefact is equal enough."""
    found: list[str] = []
    for name, said in (
        ("mean_logprob_difference", "mean difference of log-probabilities"),
        ("max_logprob_difference", "largest difference of log-probabilities"),
        ("mean_kl", "mean KL divergence"),
    ):
        value, limit = getattr(figures, name), getattr(limits, name)
        if not value <= limit:  # NaN is beyond every limit
            found.append(f"{said} is {_number(value)}, the limit is {limit:g}")
    share, least = figures.top1_agreement_of_decided, limits.top1_agreement_of_decided
    if share < least:
        found.append(
            f"the likeliest token is the same at {share:.1%} of the decided positions, "
            f"the limit is {least:.1%}"
        )
    all_decided = figures.decided_positions == figures.positions
    if limits.greedy_must_be_equal and all_decided and figures.greedy_equal < figures.greedy_total:
        found.append(
            f"{figures.greedy_equal} of {figures.greedy_total} greedy answers are equal, "
            "all have to be"
        )
    if figures.template_equal < figures.template_total:
        found.append(
            f"{figures.template_equal} of {figures.template_total} chats become the same tokens, "
            "all have to"
        )
    return found


def _number(value: float) -> str:
    return "no number" if math.isnan(value) else f"{value:.3g}"
