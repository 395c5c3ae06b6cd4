"""Events become a state, and a state becomes text."""

from __future__ import annotations

import pytest

from tunesmith.cli.progress import (
    ASCII,
    HISTORY,
    UNICODE,
    Line,
    Progress,
    activity_text,
    advance,
    duration,
    notices,
    panel,
    plain_line,
    sparkline,
)

STARTED = {
    "type": "started",
    "name": "客服",
    "stage": "sft",
    "method": "lora",
    "device": "cpu",
    "attempt": 1,
}


def _after(*events: dict[str, object]) -> Progress:
    state = Progress()
    for event in events:
        state = advance(state, event)
    return state


def _step(number: int, loss: float | None = 2.0, **more: object) -> dict[str, object]:
    return {"type": "step", "step": number, "total_steps": 100, "loss": loss, **more}


def _text(lines: list[Line]) -> str:
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_the_panel_shows_bar_losses_speed_memory_and_time_left() -> None:
    state = _after(
        STARTED,
        {"type": "plan", "total_steps": 100, "epochs": 4},
        _step(
            50,
            1.25,
            epoch=2.0,
            learning_rate=5e-5,
            grad_norm=0.5,
            tokens_per_second=1900.4,
            memory_bytes=2 * 2**30,
            eta_seconds=134,
            token_accuracy=0.612,
        ),
        {"type": "evaluation", "step": 50, "loss": 1.5, "best": True},
        {"type": "checkpoint", "step": 50, "path": "checkpoints/step-000050"},
    )
    text = _text(panel(state, width=100, elapsed=61))
    for part in (
        "客服 · sft lora · cpu",
        "50/100  50%",
        "1m 01s",
        "left 2m 14s",
        "loss 1.2500",
        "smoothed 1.2500",
        "accuracy 61.2%",
        "epoch 2.00 of 4",
        "learning rate 5.00e-05",
        "1,900 tokens/s",
        "2.0 GiB",
        "validation 1.5000 at step 50 (the best)",
        "checkpoint at 50",
    ):
        assert part in text


def test_the_bar_is_as_full_as_the_training() -> None:
    bar = panel(_after(_step(25)), width=80, elapsed=0, marks=ASCII)[0]
    done, rest = bar[0][0], bar[1][0]
    assert set(done) == {"#"}
    assert set(rest) == {"."}
    assert len(done) / len(done + rest) == pytest.approx(0.25, abs=0.03)


def test_the_panel_without_unicode_is_ascii() -> None:
    state = _after(_step(1, 3.0), _step(2, 2.0), {"type": "checkpoint", "step": 2})
    assert _text(panel(state, width=80, elapsed=0, marks=ASCII)).isascii()


@pytest.mark.parametrize("width", [10, 40, 80, 300])
def test_the_panel_can_be_drawn_at_any_width_and_moment(width: int) -> None:
    events = [STARTED, {"type": "progress", "activity": "load"}, _step(1), {"type": "paused"}]
    for count in range(len(events) + 1):
        assert panel(_after(*events[:count]), width=width, elapsed=0.0)


def test_before_the_first_step_the_activity_is_shown() -> None:
    assert activity_text(Progress()) == "Starting the engine"
    event = {
        "type": "progress",
        "activity": "tokenise",
        "done": 1200,
        "total": 4000,
        "unit": "rows",
    }
    assert activity_text(_after(event)) == "Tokenising 1,200 of 4,000 rows"
    event = {"type": "progress", "activity": "download", "done": 0, "total": 2**30, "unit": "bytes"}
    assert activity_text(_after(event)) == "Downloading 0 B of 1.0 GiB"
    assert activity_text(_after({"type": "progress", "activity": "load"})) == "Loading"
    assert plain_line(_after({"type": "progress", "activity": "load"})) == "Loading"


def test_an_activity_ends_with_the_next_step() -> None:
    state = _after(_step(1), {"type": "progress", "activity": "evaluate", "total": 10, "done": 5})
    assert "Evaluating 5 of 10" in _text(panel(state, width=100, elapsed=0))
    assert "Evaluating" not in _text(panel(advance(state, _step(2)), width=100, elapsed=0))


def test_a_loss_that_is_not_finite_is_called_nan_and_not_averaged() -> None:
    """FAULTS row 5: NaN arrives as null."""
    state = _after(_step(1, 2.0), _step(2, None))
    assert state.loss_is_nan
    assert state.smoothed == 2.0
    assert "loss NaN" in _text(panel(state, width=80, elapsed=0))
    assert "loss NaN" in plain_line(state)


def test_the_smoothed_loss_starts_at_the_first_loss_and_follows() -> None:
    state = _after(*[_step(n, 4.0) for n in range(1, 4)])
    assert state.smoothed == pytest.approx(4.0)
    for n in range(4, 80):
        state = advance(state, _step(n, 1.0))
    assert state.smoothed == pytest.approx(1.0, abs=0.01)


def test_the_curve_is_thinned_and_never_grows_without_bound() -> None:
    state = _after(*[_step(n, float(n)) for n in range(1, 5000)])
    assert len(state.curve) <= HISTORY
    assert list(state.curve) == sorted(state.curve)


def test_a_sparkline_runs_from_high_to_low() -> None:
    assert sparkline((3.0, 2.0, 1.0), UNICODE) == "█▅▁"
    assert sparkline((1.0, 1.0), UNICODE) == "▁▁"
    assert sparkline((1.0,), UNICODE) == ""


def test_a_plain_line_says_it_all_in_one_line() -> None:
    state = _after(_step(7, 1.5, learning_rate=1e-4, tokens_per_second=900.0, eta_seconds=65))
    line = plain_line(state)
    assert line == (
        "step 7/100 (7%)  loss 1.5000 (smoothed 1.5000)  lr 1.00e-04  900 tokens/s  left 1m 05s"
    )


def test_a_resumed_run_says_from_where_and_forgets_what_is_done_again() -> None:
    event = {**STARTED, "attempt": 2, "resumed_from_step": 40}
    state = _after(_step(55), {"type": "failed", "message": "x"}, event)
    assert state.step == 40
    assert state.status == "running"
    assert state.title[-1] == "attempt 2"
    assert [notice.text for notice in notices(event)] == ["Resumed from step 40 (attempt 2)"]


def test_the_best_validation_stays_when_a_later_one_is_worse() -> None:
    state = _after(
        {"type": "evaluation", "step": 10, "loss": 1.0, "best": True},
        {"type": "evaluation", "step": 20, "loss": 1.2, "best": False},
        {"type": "evaluation", "step": 30, "loss": None, "best": False},
    )
    assert state.best == (10, 1.0)
    assert state.validation == (20, 1.2)


def test_every_event_that_matters_leaves_a_line() -> None:
    plan = {
        "type": "plan",
        "total_steps": 1200,
        "rows": 3600,
        "validation_rows": 100,
        "trainable_parameters": 2_100_000,
        "parameters": 596_000_000,
        "memory_bytes_estimate": 3 * 2**30,
        "seconds_estimate": 130,
    }
    assert notices(plan)[0].text == (
        "Plan: 1,200 steps, 3,600 rows, 100 for validation, 2.1 M trainable parameters (0.4%), "
        "about 3.0 GiB, about 2m 10s"
    )
    warning = notices({"type": "warning", "message": "12 rows truncated", "hint": "raise it"})[0]
    assert (warning.style, warning.text, warning.hint) == (
        "warning",
        "12 rows truncated",
        "raise it",
    )
    evaluation = {"type": "evaluation", "step": 5, "loss": 0.5, "token_accuracy": 0.5, "best": True}
    assert notices(evaluation)[0].text == (
        "step 5: validation loss 0.5000, token accuracy 50.0%, the best so far"
    )
    assert notices({"type": "evaluation", "step": 5, "loss": None})[0].text.endswith("loss NaN")
    assert notices({"type": "checkpoint", "step": 5})[0].text == "step 5: checkpoint saved"
    assert notices(_step(1)) == []


def test_an_event_of_an_unknown_kind_changes_nothing() -> None:
    state = _after(_step(3))
    assert advance(state, {"type": "from the future"}) == state
    assert advance(state, {}) == state
    assert notices({"type": "from the future"}) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-3, "0s"),
        (59.6, "1m 00s"),
        (134, "2m 14s"),
        (3720, "1h 02m"),
        (200_000, "2d 7h"),
    ],
)
def test_times_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
