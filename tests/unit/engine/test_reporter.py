"""What trackers are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.engine.reporter import Reporter
from tunesmith.recipe import parse_recipe
from tunesmith.runs import EventWriter, RunDir, read_events


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
                reporter.emit("step", **_step(step, loss=step + 0.1 * attempt))
            reporter.close()
    found = EventAccumulator(str(run.tensorboard_dir))
    found.Reload()
    points = [(each.step, round(each.value, 4)) for each in found.Scalars("train/loss")]
    assert points == [(1, 1.1), (2, 2.1), (3, 3.1), (4, 4.2), (5, 5.2), (6, 6.2), (7, 7.2)]


def _step(step: int, *, loss: float) -> dict[str, float]:
    return {
        "step": step,
        "total_steps": 7,
        "loss": loss,
        "learning_rate": 1e-4,
        "grad_norm": 1.0,
        "tokens_per_second": 100.0,
    }


@pytest.mark.slow  # starts the program of the package
def test_wandb_works_offline_and_its_key_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    key = "f00dfeed" * 5
    for name, value in (("MODE", "offline"), ("API_KEY", key), ("SILENT", "true")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    run = RunDir.create(tmp_path / "run", "name: x\n", recipe_name="x")
    report = {"wandb": True, "wandb_project": "shop", "wandb_tags": ["a"], "tensorboard": False}
    recipe = parse_recipe({"model": "starter", "data": {"train": ["a.jsonl"]}, "report": report})
    with EventWriter(run, 1) as writer:
        reporter = Reporter(writer)
        reporter.use_trackers(recipe, run)
        for step in (1, 2):
            reporter.emit("step", **_step(step, loss=1.0))
        reporter.close()
    assert not [each for each in read_events(run)[0] if each["type"] == "warning"]
    (record,) = run.path.glob("wandb/offline-run-*/*.wandb")
    assert b"shop" in record.read_bytes()
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert not [path for path in files if key.encode() in path.read_bytes()]
