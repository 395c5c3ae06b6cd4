"""A comparison of a base and its adapter: one process answers for both, as two would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.serving.conftest import write_adapter, write_vectors

from tunesmith.evaluation.compare import compare, set_exam
from tunesmith.evaluation.endpoint import Sampling
from tunesmith.evaluation.evaluate import Settings
from tunesmith.evaluation.rows import read_test_set
from tunesmith.evaluation.served import Place, SharedPlace, places_of
from tunesmith.recipe.gate import Gate


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "p_tuning"])
def test_one_process_answers_for_base_and_adapter_as_two_do(
    tmp_path: Path, sharp_model_dir: Callable[..., Path], kind: str
) -> None:
    base = sharp_model_dir("llama")
    adapter = tmp_path / "adapter"
    if kind == "lora":
        write_adapter(base, adapter, seed=1)
    else:
        write_vectors(base, adapter, kind)
    data = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"word {n}", "completion": f"answer {n}"} for n in range(6)]
    data.write_text("\n".join(map(json.dumps, rows)))
    test, gate = read_test_set(str(data)), Gate(general="none")
    settings = Settings(sampling=Sampling(max_tokens=8))

    def answers(name: str, places: tuple[Place, Place]) -> list[list[str]]:
        found = compare(
            *places, set_exam(test, tmp_path / name, settings, gate), on_progress=lambda *_: None
        )
        sides = (found.base, found.tuned)
        return [[side.predictions[row.id].prediction for row in test.rows] for side in sides]

    shared = places_of(str(base), str(adapter))
    assert isinstance(shared[0], SharedPlace)
    together = answers("shared", shared)
    assert together == answers("alone", (Place(str(base)), Place(str(adapter))))
    assert together[0] != together[1]
    assert not list(tmp_path.glob("shared/tuned/serving.log")) or not list(
        tmp_path.glob("shared/base/serving.log")
    )
