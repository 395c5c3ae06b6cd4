"""Trainings on rewards hold the laws of every training: resume, processes, micro-batches."""

from __future__ import annotations

import json
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # each test runs whole trainings
Build = Callable[..., Any]
KILLED = -signal.SIGKILL
LORA = {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.1}
FULL = {"kind": "full"}
# A letter counts; a random model writes some of it, so groups differ.
GRADER = {
    "type": "python",
    "name": "letters",
    "source": "def grade(sample, item):\n"
    "    return sum(c.isascii() and c.isalnum() for c in sample['output_text']) / item['most']\n",
}
BROKEN = {
    "type": "python",
    "name": "broken",
    "source": "import time\n"
    "def grade(sample, item):\n"
    "    if item['number'] == 5:\n"
    "        raise ValueError('no idea')\n"
    "    if item['number'] == 7:\n"
    "        return float('nan')\n"
    "    if item['number'] == 11:\n"
    "        time.sleep(60)\n"
    "    return float(len(sample['output_text']) % 3)\n",
}
STAGE: dict[str, Any] = {
    "kind": "grpo",
    "group_size": 3,
    "max_answer_tokens": 10,
    "rewards": [{"kind": "grader", "grader": GRADER}, {"kind": "json", "weight": 0.1}],
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an adapter, two updates": ({**STAGE, "iterations": 2, "beta": 0.05}, LORA),
    "all weights": ({**STAGE, "beta": 0.05}, FULL),
}


@pytest.fixture(scope="session")
def questions_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    rows = [
        {
            "messages": [{"role": "user", "content": f"What is {n} and {n}" + "?" * (n % 5)}],
            "most": 10,
            "number": n,
        }
        for n in range(26)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def settings_of(case: str, questions_file: Path) -> dict[str, Any]:
    stage, adapter = CASES[case]
    return {
        "stage": stage,
        "adapter": adapter,
        "data": {"train": [{"dataset": str(questions_file)}]},
        "training": {"learning_rate": 1e-3, "max_steps": 6, "micro_batch_tokens": 200},
    }


@pytest.fixture(params=list(CASES))
def settings(request: pytest.FixtureRequest, questions_file: Path) -> dict[str, Any]:
    return settings_of(request.param, questions_file)


def test_killed_and_resumed_is_never_stopped(
    training: Build, whole: Build, same_state: Build, settings: dict[str, Any]
) -> None:
    complete, cut = whole(**settings), training("cut", **settings)
    assert cut.go(fault="kill@step:5") == KILLED
    cut.finish(resume=True)
    same_state(complete, cut)
    assert cut.events("started")[-1]["resumed_from_step"] == 3
    for one, other in zip(complete.events("step")[3:], cut.events("step")[-3:], strict=True):
        for name in ("reward", "kl", "answer_tokens", "clip", "rows"):
            assert one[name] == other[name], name
    assert complete.events("rollouts")[0]["samples"][0].keys() >= {"question", "answer", "reward"}


def test_two_processes_equal_one(training: Build, whole: Build, questions_file: Path) -> None:
    settings = settings_of("all weights", questions_file)
    alone, together = whole(**settings), training("together", **settings)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    pids = [together.start(RANK=str(r), LOCAL_RANK=str(r), **place) for r in range(2)]
    assert [together.wait(pid) for pid in pids] == [0, 0], together.log.read_text()
    for kind in ("step", "evaluation"):
        for one, other in zip(alone.events(kind), together.events(kind), strict=True):
            for metric in ("loss", "reward", "kl", "answer_tokens"):
                assert one.get(metric) == pytest.approx(other.get(metric), abs=1e-4), metric


def test_the_size_of_micro_batches_changes_nothing(
    training: Build, whole: Build, questions_file: Path
) -> None:
    settings = settings_of("an adapter, two updates", questions_file)
    many = whole(**settings)
    changed = {**settings, "training": {**settings["training"], "micro_batch_tokens": 5000}}
    one = training("one", **changed).finish()
    assert one.losses() == pytest.approx(many.losses(), abs=2e-5)


def test_answers_that_a_reward_cannot_judge_are_left_out_and_counted(
    training: Build, questions_file: Path
) -> None:
    source = {"kind": "grader", "grader": BROKEN, "seconds": 1}
    settings = settings_of("all weights", questions_file)
    settings["stage"] = {**STAGE, "rewards": [source]}
    made = training("odd", **settings).finish()
    shares = [event["skipped_share"] for event in made.events("step")]
    assert 0 < sum(shares) < 0.2 * len(shares)


def test_too_many_of_them_end_the_run(training: Build, questions_file: Path) -> None:
    source = {"kind": "grader", "grader": {**BROKEN, "source": "def grade(a, b):\n    1 / 0\n"}}
    settings = settings_of("all weights", questions_file)
    settings["stage"] = {**STAGE, "rewards": [source]}
    made = training("broken", **settings)
    assert made.go() == 1
    failed = made.events("failed")[-1]
    assert failed["code"] == "rewards_failed"
    assert "ZeroDivisionError" in failed["message"]


def test_a_reward_model_of_another_tokenizer_judges_too(
    training: Build, questions_file: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"{n}?", "chosen": f"{n}!", "rejected": f"no {n}"} for n in range(26)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"train": [{"dataset": str(pairs)}]}
    quick = {"learning_rate": 1e-3, "max_steps": 2, "micro_batch_tokens": 200}
    scorer = training(
        "scorer", model={"base": "starter"}, stage={"kind": "rm"}, data=data, training=quick
    ).finish()
    settings = settings_of("all weights", questions_file)
    source = {"kind": "model", "model": str(scorer.run.path)}
    settings["stage"] = {**STAGE, "rewards": [source]}
    made = training("judged", **settings).finish()
    assert "reward_model_retokenised" in [event["code"] for event in made.events("warning")]
    assert all(event["reward_std"] > 0 for event in made.events("step"))

    folder = tmp_path / "classifier"
    shutil.copytree(scorer.run.artifacts_dir / "model", folder)
    told = json.loads((folder / "config.json").read_bytes())
    two = {**told, "id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}
    (folder / "config.json").write_text(json.dumps(two))
    settings["stage"] = {**STAGE, "rewards": [{"kind": "model", "model": str(folder)}]}
    refused = training("two labels", **settings)
    assert refused.go() != 0
    assert refused.events("failed")[-1]["code"] == "reward_model_of_labels"


def test_a_reward_model_that_is_not_there_is_told_before_anything_loads(
    training: Build, questions_file: Path
) -> None:
    settings = settings_of("all weights", questions_file)
    settings["stage"] = {**STAGE, "rewards": [{"kind": "model", "model": "/no/such/place"}]}
    made = training("missing", **settings)
    assert made.go() != 0
    failed = made.events("failed")[-1]
    assert failed["code"] == "reward_model_missing"
    assert "stage.rewards" in failed["message"]
    assert [event for event in made.events("progress") if event["activity"] == "load"] == []
