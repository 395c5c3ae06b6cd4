"""The curves of a run as pictures: loss of training and validation, learning rate below.

matplotlib takes half a second to import, so it is loaded when a picture is drawn, which is once,
at the end of a run.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.runs import Event, RunDir, read_events

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RAW, _SMOOTH, _VALIDATION, _RATE, _INK, _FAINT = (
    "#9db8d9",
    "#1f5fa8",
    "#d9622b",
    "#7a7f87",
    "#23272e",
    "#8b919a",
)
_SMOOTH_FROM = 20  # steps; below that every point is drawn as it is
_LEAST_WIDTH = 2.0  # steps on each side of the middle that count most: about 5 together
_MAX_POINTS = 2000
# Fonts with Chinese characters, in the order of preference; one of them is on most machines.
_CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "SimHei",
    "Arial Unicode MS",
)


@dataclass(frozen=True)
class Curves:
    """The series of a run: losses by step, NaN where a loss was not finite."""

    title: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    learning_rates: tuple[float, ...]
    validation: tuple[tuple[int, float], ...]
    best_step: int | None
    restarts: tuple[int, ...]


def draw_curves(run: RunDir) -> list[Path]:
    """Draw loss.png and loss.svg into the run directory; nothing when no step was made yet."""
    curves = collect(read_events(run)[0])
    if not curves.steps:
        return []
    with warnings.catch_warnings():
        # A character that no font of this machine has is drawn as a box, and that is all.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = draw(curves)
        paths = [run.path / "loss.png", run.path / "loss.svg"]
        for path in paths:
            figure.savefig(path, dpi=150)
    return paths


def collect(events: Iterable[Event]) -> Curves:
    """The series of all attempts; what was done again after a restart counts as it was at last."""
    steps: dict[int, tuple[float, float]] = {}
    validation: dict[int, float] = {}
    restarts: list[int] = []
    title, best_step, resuming = "", None, False
    for event in events:
        kind, step = event["type"], int(event.get("step") or 0)
        if kind == "started":
            title, resuming = _title(event), bool(steps)
        elif kind == "step":
            if resuming:  # what the attempt before did from here on is done again
                resuming = False
                restarts.append(step - 1)
                steps = {old: value for old, value in steps.items() if old < step}
                validation = {old: value for old, value in validation.items() if old < step}
            steps[step] = (_number(event.get("loss")), _number(event.get("learning_rate")))
        elif kind == "evaluation":
            validation[step] = _number(event.get("loss"))
            best_step = step if event.get("best") else best_step
    return Curves(
        title=title,
        steps=tuple(steps),
        losses=tuple(loss for loss, _ in steps.values()),
        learning_rates=tuple(rate for _, rate in steps.values()),
        validation=tuple(validation.items()),
        best_step=best_step if best_step in validation else None,
        restarts=tuple(step for step in restarts if 0 < step < max(steps, default=0)),
    )


def smooth(values: Sequence[float], width: float) -> list[float]:
    """Mean over the neighbours on both sides, near ones counting most; NaN leaves a gap.

    A mean of the past alone, as a live display has it, would lag behind a falling curve.
    """
    import numpy as np

    series = np.asarray(values, dtype=float)
    finite = np.isfinite(series)
    reach = min(len(series) - 1, int(3 * width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(width, 1e-9)) ** 2)
    total = np.convolve(np.where(finite, series, 0.0), kernel)[reach : reach + len(series)]
    weight = np.convolve(finite.astype(float), kernel)[reach : reach + len(series)]
    means = np.divide(total, weight, out=np.full_like(total, math.nan), where=finite)
    return [float(mean) for mean in means]


def draw(curves: Curves) -> Figure:
    """The picture: loss above, learning rate as a small panel below."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_style()):
        figure = Figure(figsize=(9, 5.4), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4.2, 1])
        _draw_losses(above, curves)
        _draw_rate(below, curves)
        title = curves.title if _can_draw(curves.title) else "Training"
        above.set_title(title, loc="left", fontsize=13, fontweight="bold", color=_INK, pad=10)
        _say_result(above, curves)
    return figure


def _draw_losses(axes: Axes, curves: Curves) -> None:
    steps, losses = curves.steps, curves.losses
    if len(steps) >= _SMOOTH_FROM:
        axes.plot(*_thin(steps, losses), color=_RAW, lw=0.9, alpha=0.75, label="training")
        smoothed = smooth(losses, max(_LEAST_WIDTH, len(steps) / 80))
        axes.plot(*_thin(steps, smoothed), color=_SMOOTH, lw=2, label="training, smoothed")
    else:
        axes.plot(steps, losses, color=_SMOOTH, lw=1.8, marker="o", ms=3.5, label="training")
    _draw_validation(axes, curves)
    for number, step in enumerate(curves.restarts):
        label = "resumed" if number == 0 else None
        axes.axvline(step, color=_FAINT, lw=1, ls=(0, (2, 3)), label=label)
    axes.set_ylim(*_limits(curves))
    axes.set_ylabel("loss")
    axes.legend(frameon=False, loc="upper right", fontsize=9.5, labelcolor=_INK)


def _draw_validation(axes: Axes, curves: Curves) -> None:
    if not curves.validation:
        return
    steps, losses = zip(*curves.validation, strict=True)
    dots: dict[str, Any] = {"marker": "o", "ms": 5, "mec": "white", "mew": 0.8}
    axes.plot(steps, losses, color=_VALIDATION, lw=1.6, label="validation", **dots)
    if curves.best_step is not None:
        best = dict(curves.validation)[curves.best_step]
        ring: dict[str, Any] = {"marker": "o", "ms": 11, "mfc": "none", "mew": 1.6, "ls": ""}
        axes.plot([curves.best_step], [best], mec=_VALIDATION, **ring)


def _draw_rate(axes: Axes, curves: Curves) -> None:
    steps, rates = _thin(curves.steps, curves.learning_rates)
    axes.plot(steps, rates, color=_RATE, lw=1.4)
    axes.fill_between(steps, rates, color=_RATE, alpha=0.12, lw=0)
    peak = max((rate for rate in rates if math.isfinite(rate)), default=0.0)
    if peak > 0:
        axes.set_ylim(0, 1.15 * peak)
        axes.set_yticks([0, peak], ["0", f"{peak:.1e}".replace(".0e", "e")])
    axes.set_ylabel("learning\nrate")
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(_whole_numbers(8))
    axes.margins(x=0.01)


def _thin(steps: Sequence[int], values: Sequence[float]) -> tuple[Sequence[int], Sequence[float]]:
    """At most a few thousand points: more cannot be seen and make the SVG heavy."""
    stride = -(-len(steps) // _MAX_POINTS)
    return steps[::stride], values[::stride]


def _say_result(axes: Axes, curves: Curves) -> None:
    best = dict(curves.validation).get(curves.best_step or -1)
    if best is None or not math.isfinite(best):
        return
    text = f"best validation loss {best:.4f} at step {curves.best_step:,}"
    axes.set_title(text, loc="right", fontsize=10, color=_VALIDATION, pad=10)


def _limits(curves: Curves) -> tuple[float, float]:
    """Room for the curves; a few wild values at the start must not flatten all the rest."""
    values = [*curves.losses, *(loss for _, loss in curves.validation)]
    finite = sorted(value for value in values if math.isfinite(value))
    if not finite:
        return 0.0, 1.0
    low, high = finite[0], finite[-1]
    usual = finite[int(0.98 * (len(finite) - 1))]
    if high > 2.5 * usual > 0:
        high = 1.3 * usual
    room = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
    return low - room, high + room


def _style() -> Any:
    return {
        "font.family": ["DejaVu Sans", *_installed_cjk_fonts()[:1]],
        "axes.edgecolor": "#c9ced6",
        "axes.labelcolor": _INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": "#e8ebef",
        "axes.axisbelow": True,
        "xtick.color": _FAINT,
        "ytick.color": _FAINT,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "axes.labelsize": 10,
        "svg.fonttype": "none",
    }


def _whole_numbers(count: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count, integer=True)


def _installed_cjk_fonts() -> list[str]:
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [name for name in _CJK_FONTS if name in installed]


def _can_draw(text: str) -> bool:
    return text.isascii() or bool(_installed_cjk_fonts()) or all(ord(c) < 0x2E80 for c in text)


def _title(event: Event) -> str:
    method = " ".join(str(event[key]) for key in ("stage", "method") if event.get(key))
    return "  ·  ".join(part for part in (str(event.get("name") or ""), method) if part)


def _number(value: Any) -> float:
    return float(value) if value is not None else math.nan
