"""Trainings on judged answers hold the laws of every training: resume, several processes."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow  # each test runs whole trainings
Build = Callable[..., Any]
KILLED = -signal.SIGKILL
LORA = {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.1}
FULL = {"kind": "full"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dpo of an adapter": ({"kind": "dpo", "ftx": 0.1}, LORA),
    "dpo of all weights": ({"kind": "dpo"}, FULL),
    "kto of an adapter": ({"kind": "kto"}, LORA),
    "kto of all weights": ({"kind": "kto"}, FULL),
    "orpo": ({"kind": "orpo"}, FULL),
    "rm": ({"kind": "rm"}, LORA),
}


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {
            "prompt": f"What is {n} and {n}?",
            "chosen": f"It is {2 * n}" + "!" * (n % 7),
            "rejected": f"No idea, {n}" + "?" * (n % 5),
        }
        for n in range(26)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(params=list(CASES))
def settings(request: pytest.FixtureRequest, pairs_file: Path) -> dict[str, Any]:
    stage, adapter = CASES[request.param]
    data = {"train": [{"dataset": str(pairs_file)}]}
    return {
        "stage": stage,
        "adapter": adapter,
        "data": data,
        "training": {"learning_rate": 1e-3, "epochs": 1, "micro_batch_tokens": 200},
    }


def test_killed_and_resumed_is_never_stopped(
    training: Build, whole: Build, same_state: Build, settings: dict[str, Any]
) -> None:
    complete, cut = whole(**settings), training("cut", **settings)
    assert cut.go(fault="kill@step:5") == KILLED
    cut.finish(resume=True)
    same_state(complete, cut)
    assert cut.events("started")[-1]["resumed_from_step"] == 3


def test_two_processes_equal_one(training: Build, whole: Build, settings: dict[str, Any]) -> None:
    alone, together = whole(**settings), training("together", **settings)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    pids = [together.start(RANK=str(r), LOCAL_RANK=str(r), **place) for r in range(2)]
    assert [together.wait(pid) for pid in pids] == [0, 0], together.log.read_text()
    mine, theirs = alone.tensors(), together.tensors()
    for name in mine:
        if "optimizer" not in name:
            assert torch.allclose(mine[name], theirs[name], atol=2e-5), name
    for kind in ("step", "evaluation"):
        for one, other in zip(alone.events(kind), together.events(kind), strict=True):
            for metric in ("loss", "reward_margin", "chosen_reward", "kl", "max_reward"):
                assert one.get(metric) == pytest.approx(other.get(metric), abs=1e-4), metric


def test_the_size_of_micro_batches_changes_nothing(
    training: Build, whole: Build, settings: dict[str, Any]
) -> None:
    many = whole(**settings)
    changed = {**settings, "training": {**settings["training"], "micro_batch_tokens": 5000}}
    one = training("one", **changed).finish()
    assert one.losses() == pytest.approx(many.losses(), abs=2e-5)


def test_a_reward_model_loads_with_transformers_alone(whole: Build, pairs_file: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    made = whole(
        stage={"kind": "rm"},
        adapter=LORA,
        data={"train": [{"dataset": str(pairs_file)}]},
        training={"learning_rate": 1e-3, "epochs": 1, "micro_batch_tokens": 200},
    )
    model = AutoModelForSequenceClassification.from_pretrained(made.run.artifacts_dir / "model")
    assert model.config.num_labels == 1
    with torch.no_grad():
        assert model(torch.tensor([[5, 6, 7]])).logits.shape == (1, 1)
