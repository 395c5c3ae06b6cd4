"""Promote, hold or reject: the rules of a gate applied to what was measured. Pure.

A tuned model is promoted when the primary score is certainly better and no rule speaks against it;
rejected when something is certainly worse; held in between, which says that nobody knows yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tunesmith.evaluation.scores.score import Better, Unit
from tunesmith.evaluation.statistics import Estimate
from tunesmith.recipe.gate import Gate

Result = Literal["promote", "hold", "reject"]
SIGN_LEVEL = 0.05
# Rules that could not be applied, or that speak against the model.
Weight = Literal["for", "note", "hold", "reject"]


@dataclass(frozen=True)
class Measured:
    """The primary score of both models, as far as the rules look at it."""

    name: str
    unit: Unit
    better: Better
    base: float
    tuned: float
    difference: Estimate  # tuned - base
    rows: int
    wins: int
    losses: int
    sign_p: float
    is_verdict: bool

    @property
    def gain(self) -> Estimate:
        """The difference, upwards where the tuned model is better."""
        d = self.difference
        return Estimate(-d.value, -d.high, -d.low) if self.better == "lower" else d


@dataclass(frozen=True)
class Forgetting:
    """What both models know of the general questions."""

    rows: int
    base: float
    tuned: float
    difference: Estimate


@dataclass(frozen=True)
class Growth:
    """How much longer and slower the answers became; None where nobody knows."""

    length: float | None = None
    latency: float | None = None


@dataclass(frozen=True)
class Reason:
    """One finding: a code with its numbers, and what it means for the model."""

    code: str
    weight: Weight
    values: dict[str, float | int | str] = field(default_factory=dict[str, float | int | str])


@dataclass(frozen=True)
class Verdict:
    """The result and the findings behind it, the deciding one first."""

    result: Result
    reasons: list[Reason]


def decide(gate: Gate, primary: Measured, forgetting: Forgetting | None, growth: Growth) -> Verdict:
    """Apply all rules; the worst finding decides."""
    found = [
        _primary(gate, primary),
        *_enough_rows(gate, primary),
        *_forgetting(gate, forgetting),
        *_growth("longer", growth.length, gate.max_length_growth),
        *_growth("slower", growth.latency, gate.max_latency_growth),
    ]
    order: dict[Weight, int] = {"reject": 0, "hold": 1, "for": 2, "note": 3}
    found.sort(key=lambda reason: order[reason.weight])
    results: dict[Weight, Result] = {"reject": "reject", "hold": "hold", "for": "promote"}
    return Verdict(results.get(found[0].weight, "hold"), found)


def _primary(gate: Gate, primary: Measured) -> Reason:
    gain = primary.gain
    told: dict[str, float | int | str] = {
        "score": primary.name,
        "unit": primary.unit,
        "base": primary.base,
        "tuned": primary.tuned,
        "difference": primary.difference.value,
        "low": primary.difference.low,
        "high": primary.difference.high,
        "confidence": gate.confidence,
        "rows": primary.rows,
        "wins": primary.wins,
        "losses": primary.losses,
        "sign_p": primary.sign_p,
        "min_gain": gate.min_gain,
    }
    if gain.high < 0:
        return Reason("worse", "reject", told)
    if primary.wins + primary.losses == 0:
        return Reason("no_difference", "hold", told)
    if not gain.low > gate.min_gain:  # NaN too
        return Reason("gain_too_small" if gain.low > 0 else "not_shown", "hold", told)
    # Where few rows differ, resampling is too sure of itself: five wins and no loss are chance
    # once in sixteen. The exact test on right and wrong answers knows that.
    if primary.is_verdict and primary.sign_p > SIGN_LEVEL:
        return Reason("too_few_differ", "hold", told)
    return Reason("better", "for", told)


def _enough_rows(gate: Gate, primary: Measured) -> list[Reason]:
    if primary.rows >= gate.min_rows:
        return []
    told: dict[str, float | int | str] = {"rows": primary.rows, "min_rows": gate.min_rows}
    return [Reason("too_few_rows", "hold", told)]


def _forgetting(gate: Gate, probe: Forgetting | None) -> list[Reason]:
    if probe is None or gate.max_forgetting is None:
        return [Reason("not_probed", "note")]
    lost = -probe.difference.value
    told: dict[str, float | int | str] = {
        "rows": probe.rows,
        "base": probe.base,
        "tuned": probe.tuned,
        "lost": lost,
        "low": -probe.difference.high,
        "high": -probe.difference.low,
        "most": gate.max_forgetting,
        "confidence": gate.confidence,
    }
    if -probe.difference.high > gate.max_forgetting:
        return [Reason("forgot", "reject", told)]
    if lost > gate.max_forgetting:
        return [Reason("may_have_forgotten", "hold", told)]
    if probe.base <= gate.max_forgetting:
        return [Reason("nothing_to_forget", "note", told)]
    return [Reason("remembers", "note", told)]


def _growth(code: str, found: float | None, most: float | None) -> list[Reason]:
    if found is None or most is None or found <= most:
        return []
    return [Reason(code, "hold", {"growth": found, "most": most})]
