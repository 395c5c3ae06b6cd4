"""What the curves of a training say, in words. Read `read_curves` first.

A pure function of numbers: the loss of each step, the loss on validation rows, and how far the
training is. It names what is seen with the figures that led to it, and what to change next.

The steps are cut into ten stretches of equal length, and a stretch stands for its median, so that
noise hides no trend.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal

Weight = Literal["note", "good", "warning"]
STRETCHES: Final = 10
LEAST_POINTS: Final = 20  # below that no shape can be told
LEAST_VALIDATIONS: Final = 6  # from which on their last third is told from its first value
EARLY_SHARE: Final = 0.1  # of the steps that are planned
NOISY: Final = 0.3  # spread within a stretch, as a share of its median
FLAT: Final = 0.02  # fall over the whole training that counts as none
STILL: Final = 0.03  # fall over the last third that shows that more steps would help
RISEN: Final = 1.1  # times the lowest stretch
OVERFITTED: Final = 1.03  # times the lowest validation loss
BAND: Final = (0.7, 1.4)  # the loss that fine-tuned dialogues usually end at


@dataclass(frozen=True)
class Curve:
    """A training as far as it is. Values that are not finite are left out before."""

    losses: Sequence[float]  # by step
    validation: Sequence[tuple[int, float]] = ()  # step, loss
    learning_rate: float | None = None  # the highest so far
    done_steps: int = 0
    total_steps: int | None = None
    is_over: bool = False
    has_band: bool = True  # the loss is that of answers, for which a usual end is known


@dataclass(frozen=True)
class Finding:
    """One thing that is seen, with its figures. `changes` are fields of a next recipe."""

    code: str
    weight: Weight
    numbers: dict[str, float | int] = field(default_factory=dict[str, float | int])
    changes: dict[str, Any] = field(default_factory=dict[str, Any])

    def told(self, language: str) -> tuple[str, str]:
        """What is seen, and what to do, in English or Chinese."""
        texts = TEXTS[self.code]["zh" if language == "zh" else "en"]
        return texts[0].format(**self.numbers), texts[1].format(**self.numbers)


def read_curves(curve: Curve) -> list[Finding]:
    """All that can be said, the most urgent first; early on only that it is early."""
    if len(curve.losses) < LEAST_POINTS or _is_early(curve):
        return [_early(curve)]
    stretches = _stretches(curve.losses)
    medians = [statistics.median(part) for part in stretches]
    found = [
        *_rising(curve, medians),
        *_not_falling(curve, medians),
        *_noisy(stretches),
        *_overfitting(curve),
        *_where_it_ends(curve, medians),
    ]
    return found


def _is_early(curve: Curve) -> bool:
    planned = curve.total_steps or 0
    return not curve.is_over and curve.done_steps < EARLY_SHARE * planned


def _early(curve: Curve) -> Finding:
    numbers: dict[str, float | int] = {"points": len(curve.losses), "least": LEAST_POINTS}
    return Finding("too_short" if curve.is_over else "early", "note", numbers)


def _stretches(losses: Sequence[float]) -> list[Sequence[float]]:
    edges = [round(n * len(losses) / STRETCHES) for n in range(STRETCHES + 1)]
    return [losses[start:end] for start, end in pairwise(edges)]


def _rising(curve: Curve, medians: Sequence[float]) -> list[Finding]:
    lowest = min(medians)
    if medians[-1] <= RISEN * lowest or medians.index(lowest) > STRETCHES - 3:
        return []
    numbers = {"lowest": _round(lowest), "now": _round(medians[-1])}
    return [Finding("rising", "warning", numbers, _slower(curve, 0.3))]


def _not_falling(curve: Curve, medians: Sequence[float]) -> list[Finding]:
    first, last = medians[0], min(medians[1:])
    if first <= 0 or (first - last) / first >= FLAT:
        return []
    numbers = {"first": _round(first), "last": _round(medians[-1])}
    if curve.learning_rate is not None and curve.learning_rate < 1e-5:
        return [Finding("not_falling_slow", "warning", numbers, _slower(curve, 5.0))]
    return [Finding("not_falling", "warning", numbers)]


def _noisy(stretches: Sequence[Sequence[float]]) -> list[Finding]:
    later = [part for part in stretches[STRETCHES // 2 :] if len(part) > 1]
    shares = [statistics.pstdev(part) / abs(statistics.median(part) or 1.0) for part in later]
    if not shares:
        return []
    spread = statistics.median(shares)
    if spread <= NOISY:
        return []
    return [Finding("fluctuating", "warning", {"percent": round(100 * spread)})]


def _overfitting(curve: Curve) -> list[Finding]:
    if not curve.validation:
        return [Finding("no_validation", "note")] if curve.is_over else []
    best_step, best = min(curve.validation, key=lambda each: each[1])
    last_step, last = curve.validation[-1]
    if last <= OVERFITTED * best or last_step == best_step:
        return []
    numbers = {"step": best_step, "best": _round(best), "last": _round(last)}
    if best_step == 0:  # measured before the first update
        return [Finding("never_better", "warning", numbers, _slower(curve, 0.3))]
    return [Finding("overfitting", "warning", numbers)]


def _where_it_ends(curve: Curve, medians: Sequence[float]) -> list[Finding]:
    """Whether more steps would help, and where the loss lies."""
    last = medians[-1]
    fall = _fall_at_end(curve, medians)
    low, high = BAND
    numbers: dict[str, float | int] = {"loss": _round(last), "low": low, "high": high}
    overfitted = bool(_overfitting(curve)) and bool(curve.validation)
    if not curve.has_band:
        return []
    if last < low:
        return [Finding("below_band", "note", numbers)]
    if last > high and not overfitted:
        code = "above_band_falling" if fall > STILL else "above_band"
        return [Finding(code, "note", numbers | {"percent": round(100 * fall)})]
    if fall > STILL and curve.is_over and not overfitted:
        return [Finding("still_falling", "note", numbers | {"percent": round(100 * fall)})]
    return [Finding("in_band", "good", numbers)] if low <= last <= high else []


def _fall_at_end(curve: Curve, medians: Sequence[float]) -> float:
    """The share by which the loss fell over the last third; on validation rows, which are always
    the same, where there are enough values."""
    if len(curve.validation) >= LEAST_VALIDATIONS:
        last_step, last = curve.validation[-1]
        earlier = [loss for step, loss in curve.validation if step <= last_step * 2 / 3]
        before = earlier[-1] if earlier else last
    else:
        before, last = medians[STRETCHES - 4], medians[-1]
    return (before - last) / before if before > 0 else 0.0


def _slower(curve: Curve, factor: float) -> dict[str, Any]:
    if not curve.learning_rate:
        return {}
    return {"training.learning_rate": _round(curve.learning_rate * factor)}


def _round(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}") if math.isfinite(value) else value


# code -> language -> (what is seen, what to do)
TEXTS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "early": {
        "en": ("It is early: {points} steps were measured.", "Wait; the first steps say little."),
        "zh": ("训练刚开始，只有 {points} 步。", "请再等等，初期的曲线说明不了问题。"),
    },
    "too_short": {
        "en": (
            "The training had only {points} steps, too few to read a curve from.",
            "Train for more epochs, or with a smaller batch, to get {least} steps or more.",
        ),
        "zh": (
            "训练只有 {points} 步，曲线太短，无法判断。",
            "请增加训练轮数或减小批大小，使步数达到 {least} 以上。",
        ),
    },
    "rising": {
        "en": (
            "The loss rises: it was {lowest} and is {now}.",
            "The learning rate is too high; a third of it is proposed.",
        ),
        "zh": ("loss 在上升：曾降到 {lowest}，现在是 {now}。", "学习率过高，建议降到三分之一。"),
    },
    "not_falling": {
        "en": (
            "The loss does not fall: {first} at first, {last} now.",
            "Look at the learning rate, at whether the model fits the task, and at the data: does "
            "the preview show answers where they are learned?",
        ),
        "zh": (
            "loss 没有下降趋势：开始 {first}，现在 {last}。",
            "请检查学习率、模型是否适合该任务，以及数据：预览中学习的部分是否是答案？",
        ),
    },
    "not_falling_slow": {
        "en": (
            "The loss does not fall: {first} at first, {last} now.",
            "The learning rate is very low; five times as much is proposed.",
        ),
        "zh": ("loss 没有下降趋势：开始 {first}，现在 {last}。", "学习率太低，建议提高到五倍。"),
    },
    "fluctuating": {
        "en": (
            "The loss fluctuates strongly, by {percent}% from step to step.",
            "Noise in the data, or parameters: look at the rows of the spikes, take a larger batch "
            "or a lower learning rate.",
        ),
        "zh": (
            "loss 波动很大，相邻步之间约 {percent}%。",
            "可能是数据有噪声或参数不当：请查看尖峰处的数据，增大批大小或降低学习率。",
        ),
    },
    "overfitting": {
        "en": (
            "The validation loss was best at step {step} ({best}) and is {last} now: the model "
            "learns the rows by heart.",
            "The best step is kept. Train for fewer epochs, or with more rows.",
        ),
        "zh": (
            "验证 loss 在第 {step} 步最好（{best}），现在是 {last}：模型开始死记训练数据。",
            "平台会保留最佳步。请减少训练轮数，或增加数据。",
        ),
    },
    "never_better": {
        "en": (
            "The validation loss is {last} and was never below the {best} of before the training.",
            "The learning rate is too high, or the validation rows are of another kind; a third of "
            "the rate is proposed.",
        ),
        "zh": (
            "验证 loss 现在是 {last}，从未低于训练前的 {best}。",
            "学习率过高，或验证数据与训练数据不同类；建议把学习率降到三分之一。",
        ),
    },
    "no_validation": {
        "en": (
            "Nothing was held out, so nobody can see whether the model overfits.",
            "Hold a tenth of the rows out for validation.",
        ),
        "zh": ("没有验证集，无法判断是否过拟合。", "建议拆出十分之一的数据用于验证。"),
    },
    "below_band": {
        "en": (
            "The loss is {loss}, below the usual band of {low} to {high}.",
            "The model may know the rows by heart: compare its answers on rows that it has not "
            "seen. Short fixed answers reach such values rightly.",
        ),
        "zh": (
            "loss 为 {loss}，低于常见区间 {low}-{high}。",
            "模型可能死记了数据，请用未见过的数据对比回答；简短固定的答案达到这样的值是正常的。",
        ),
    },
    "in_band": {
        "en": (
            "The loss is {loss}, within the usual band of {low} to {high}.",
            "It can be stopped here; the result is kept.",
        ),
        "zh": ("loss 为 {loss}，处于常见区间 {low}-{high}。", "可以在此停止，结果会保留。"),
    },
    "still_falling": {
        "en": (
            "The loss still fell at the end, by {percent}% over the last third, to {loss}.",
            "More epochs would help.",
        ),
        "zh": (
            "结束时 loss 仍在下降（最后三分之一下降 {percent}%，到 {loss}）。",
            "可增加训练轮数。",
        ),
    },
    "above_band": {
        "en": (
            "The loss is {loss}, above the usual band of {low} to {high}, and hardly fell over "
            "the last third.",
            "Look at the data and the learning rate; a larger model or rank may learn more.",
        ),
        "zh": (
            "loss 为 {loss}，高于常见区间 {low}-{high}，且最后三分之一几乎没有下降。",
            "请检查数据和学习率；更大的模型或秩可能学到更多。",
        ),
    },
    "above_band_falling": {
        "en": (
            "The loss is {loss}, above the usual band of {low} to {high}, and still falls.",
            "The model is under-trained: let it go on, or train for more epochs.",
        ),
        "zh": (
            "loss 为 {loss}，高于常见区间 {low}-{high}，仍在下降。",
            "训练不足：请继续训练，或增加训练轮数。",
        ),
    },
}
