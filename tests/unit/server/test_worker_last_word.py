"""A job whose engine gave up before its first event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import RecipeError
from tunesmith.runs import RunDir
from tunesmith.runs.last_word import leaves_last_word
from tunesmith.server import claims
from tunesmith.server.worker.endings import conclude
from tunesmith.server.worker.shipping import Shipper


def test_an_engine_that_gave_up_before_its_first_event_ends_its_job_at_once(
    world: Any, tmp_path: Path
) -> None:
    run = RunDir.create(tmp_path / "run", "name: x\n", recipe_name="x")
    job_id = world.submit().id
    claimed = claims.claim(world.database, world.worker())
    assert claimed is not None
    wrong = RecipeError("training.epochs: -3 is no number of passes.", hint="The default is 3.")
    with pytest.raises(RecipeError), leaves_last_word(run.path, claimed.attempt):
        raise wrong
    shipper = Shipper(world.database, claimed, run, hidden=str(tmp_path))
    assert shipper.ship()
    conclude(world.database, claimed, run, shipper.ending, was_told=False)
    job = world.job(job_id)
    assert (job.status, job.tries, job.error["reason"]) == ("failed", 1, "invalid_recipe")
    assert job.error["message"] == wrong.message
    assert job.error["param"] == "hyperparameters"
