"""Every event that has a line in the log can be told, and numbers that are none do not break it."""

from __future__ import annotations

import math

from tunesmith.engine.narration import line_of


def test_a_step_is_told_in_the_words_that_programs_look_for() -> None:
    fields = {
        "step": 90,
        "total_steps": 100,
        "loss": 0.12,
        "learning_rate": 1e-4,
        "grad_norm": 1.5,
        "tokens_per_second": 1188.1,
    }
    assert line_of("step", fields).startswith("Step 90/100: training loss=0.1200, ")
    assert "loss=nan" in line_of("step", fields | {"loss": math.nan, "grad_norm": None})


def test_what_says_nothing_to_a_reader_has_no_line() -> None:
    assert line_of("progress", {"activity": "load", "done": 1, "total": 2, "unit": ""}) == ""
