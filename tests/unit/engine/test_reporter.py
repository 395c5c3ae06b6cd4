"""What trackers are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.engine.reporter import Reporter
from tunesmith.recipe import parse_recipe
from tunesmith.runs import EventWriter, RunDir


@pytest.mark.filterwarnings("ignore")  # of tensorboard's own imports
def test_steps_that_are_done_again_stand_in_tensorboard_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = RunDir.create(tmp_path / "run", "name: x\n", recipe_name="x")
    recipe = parse_recipe({"model": "starter", "data": {"train": ["a.jsonl"]}})
    # Killed after step 5 with a checkpoint at step 3; gone on with from there.
    for attempt, first_step, steps in ((1, None, range(1, 6)), (2, 4, range(4, 8))):
        with EventWriter(run, attempt) as writer:
            reporter = Reporter(writer)
            reporter.use_trackers(recipe, run, first_step=first_step)
            for step in steps:
                reporter.emit("step", step=step, loss=step + 0.1 * attempt)
            reporter.close()
    found = EventAccumulator(str(run.tensorboard_dir))
    found.Reload()
    points = [(each.step, round(each.value, 4)) for each in found.Scalars("train/loss")]
    assert points == [(1, 1.1), (2, 2.1), (3, 3.1), (4, 4.2), (5, 5.2), (6, 6.2), (7, 7.2)]
