"""What `tunesmith train` says at the end; whole trainings are in tests/integration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli.follow import Outcome
from tunesmith.cli.progress import Progress, advance
from tunesmith.cli.submit import create_run, read_submission
from tunesmith.cli.train import as_document, report
from tunesmith.runs import RunDir, write_manifest


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", "name: x\n", recipe_name="x")


def _finished(**end: Any) -> Outcome:
    state = Progress()
    for event in (
        {"type": "evaluation", "step": 0, "loss": 7.7261, "best": True},
        {"type": "step", "step": 80, "total_steps": 80, "loss": 20.0},
        {"type": "evaluation", "step": 80, "loss": 19.68},
        {"type": "finished", "step": 80, "reason": "done", "best_step": 0, "best_loss": 7.7261}
        | end,
    ):
        state = advance(state, event)
    return Outcome("finished", 0, state)


def test_the_end_tells_the_loss_of_the_result_and_not_of_the_best_evaluation(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = _finished(result_step=80, result_loss=19.68)
    report(run, outcome)
    said = capsys.readouterr().out
    assert "80 steps, smoothed training loss 20.0000, validation loss 19.6800" in said
    assert "7.7261" not in said
    assert as_document(run, outcome)["result_loss"] == 19.68


def test_the_end_tells_which_step_became_the_result(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    report(run, _finished(result_step=40, result_loss=3.0))
    assert "validation loss 3.0000, the result is step 40, the best one" in capsys.readouterr().out


def test_after_wrong_input_the_hint_names_the_recipe_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --resume alone the run would read its own copy, mistake included, once more."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "bot.yaml").write_text("model: starter\ndata: {train: [rows.jsonl]}\n")
    made = create_run(tmp_path / "run", read_submission(Path("bot.yaml"), ["training.epochs=5"]))
    failed = Outcome("failed", 2, Progress(), "Wrong.")
    report(made, failed)
    again = "tunesmith train bot.yaml training.epochs=5 --run run --resume"
    assert again in capsys.readouterr().err
    checkpoint = made.checkpoints_dir / "step-000010"
    checkpoint.mkdir()
    write_manifest(checkpoint, step=10)
    report(made, failed)
    assert "tunesmith train --run run --resume" in capsys.readouterr().err


@pytest.mark.parametrize("validated", [True, False])
def test_a_stop_at_the_target_says_which_loss_reached_it(
    run: RunDir, capsys: pytest.CaptureFixture[str], validated: bool
) -> None:
    state = Progress()
    if validated:
        state = advance(state, {"type": "evaluation", "step": 5, "loss": 1.0})
    state = advance(state, {"type": "finished", "step": 5, "reason": "target_loss"})
    report(run, Outcome("finished", 0, state))
    which = "validation" if validated else "training"
    assert f"the {which} loss reached its target." in capsys.readouterr().out
