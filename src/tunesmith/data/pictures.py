"""Pictures of a dataset's statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def length_picture(facts: dict[str, Any], path: Path) -> None:
    """Histograms of tokens a row and tokens an answer, with the recommended length."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 1)
    for axis, key, title, colour in (
        (axes[0], "histogram", "tokens a row", "#2f6fb3"),
        (axes[1], "answer_histogram", "learned tokens a row", "#3a9a6b"),
    ):
        _bars(axis, facts[key], title, colour)
    recommended = facts["recommended"]["max_length"]
    if axes[0].get_xlim()[1] >= recommended:
        axes[0].axvline(recommended, color="#b3412f", linestyle="--", linewidth=1)
        axes[0].text(recommended, axes[0].get_ylim()[1] * 0.95, f" {recommended}", color="#b3412f")
    whole = facts["tokens"]
    figure.suptitle(
        f"{facts['training_rows']:,} rows, {whole['mean']:,} tokens on average, "
        f"longest {whole['max']:,}; recommended max_length {recommended:,}"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _bars(axis: Any, histogram: dict[str, Any], title: str, colour: str) -> None:
    width, counts = histogram["width"], histogram["counts"]
    starts = [number * width for number in range(len(counts))]
    axis.bar(starts, counts, width=width, align="edge", color=colour, edgecolor="white")
    beyond = histogram["beyond"]
    if beyond:
        axis.bar(
            [len(counts) * width], [beyond], width=width, align="edge", color=colour, alpha=0.4
        )
    axis.set_xlabel(title + (f" (the last bar: {beyond:,} rows beyond)" if beyond else ""))
    axis.set_ylabel("rows")
    axis.spines[["top", "right"]].set_visible(False)
