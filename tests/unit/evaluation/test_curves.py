"""The curves of a run as pictures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tunesmith.evaluation.curves import collect, draw, draw_curves, smooth
from tunesmith.runs import EventWriter, RunDir, read_events

_SMOOTHED = "training, smoothed"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "运行 one", "name: x\n", recipe_name="x")


def _write(run: RunDir, attempt: int, first: int, last: int, name: str = "bot") -> None:
    with EventWriter(run, attempt) as events:
        events.emit("started", name=name, stage="sft", method="lora", attempt=attempt)
        for step in range(first, last + 1):
            loss = math.nan if step == 7 else 3 / step + attempt
            events.emit("step", step=step, loss=loss, learning_rate=1e-4 / step)
            if step % 5 == 0:
                events.emit("evaluation", step=step, loss=4 / step, best=True)


def test_a_png_and_an_svg_are_drawn(run: RunDir) -> None:
    _write(run, 1, 1, 40)
    png, svg = draw_curves(run)
    assert (png, svg) == (run.path / "loss.png", run.path / "loss.svg")
    assert png.read_bytes().startswith(b"\x89PNG")
    text = svg.read_text()
    for label in ("bot", "training, smoothed", "validation", "learning", "at step 40"):
        assert label in text


def test_a_run_without_a_step_has_no_picture(run: RunDir) -> None:
    assert draw_curves(run) == []
    _write(run, 1, 1, 0)
    assert draw_curves(run) == []
    assert not (run.path / "loss.png").exists()


@pytest.mark.parametrize("last", [1, 2, 19, 20, 3000])
def test_a_run_of_any_length_can_be_drawn(run: RunDir, last: int) -> None:
    _write(run, 1, 1, last)
    for path in draw_curves(run):
        assert path.stat().st_size < 2_000_000


def test_losses_that_are_all_nan_can_be_drawn(run: RunDir) -> None:
    """FAULTS row 5."""
    with EventWriter(run, 1) as events:
        events.emit("step", step=1, loss=math.nan, learning_rate=math.nan)
        events.emit("evaluation", step=1, loss=math.nan, best=True)
    assert len(draw_curves(run)) == 2


def test_a_chinese_name_is_drawn_or_left_out_but_stops_nothing(run: RunDir) -> None:
    _write(run, 1, 1, 25, name="客服机器人")
    assert len(draw_curves(run)) == 2


def test_after_a_restart_the_last_attempt_counts_and_the_place_is_marked(run: RunDir) -> None:
    """FAULTS row 1: the curve is continuous with a restart mark."""
    _write(run, 1, 1, 30)
    _write(run, 2, 21, 40)
    curves = collect(read_events(run)[0])
    assert curves.steps == tuple(range(1, 41))
    assert curves.restarts == (20,)
    assert curves.losses[19] == pytest.approx(3 / 20 + 1)
    assert curves.losses[20] == pytest.approx(3 / 21 + 2)
    assert math.isnan(curves.losses[6])
    assert curves.best_step == 40
    assert any("resumed" in t.get_text() for t in draw(curves).axes[0].get_legend().get_texts())


def test_smoothing_follows_without_lag_and_keeps_gaps() -> None:
    line = [float(n) for n in range(50)]
    smoothed = smooth(line, 3)
    assert smoothed[10:40] == pytest.approx(line[10:40])
    assert math.isnan(smooth([1.0, math.nan, 1.0], 2)[1])
    assert smooth([1.0, math.nan, 1.0], 2)[::2] == pytest.approx([1.0, 1.0])
    assert smooth([2.0], 5) == pytest.approx([2.0])


def test_the_smoothed_line_of_a_short_run_is_smoother_than_the_raw_one(run: RunDir) -> None:
    with EventWriter(run, 1) as events:
        for step in range(1, 21):
            events.emit("step", step=step, loss=2.0 + step % 2, learning_rate=1e-4)
    axes = draw(collect(read_events(run)[0])).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    raw, smoothed = (max(y[3:-3]) - min(y[3:-3]) for y in (lines["training"], lines[_SMOOTHED]))
    assert raw == 1
    assert smoothed < 0.1
