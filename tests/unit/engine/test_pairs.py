"""Both answers of pairs, measured: what plain transformers computes, and what validation said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from torch import Tensor

from tunesmith.data.conversation import Conversation, Message
from tunesmith.data.renderer import Renderer
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.__main__ import run as engine
from tunesmith.engine.adapter import known_notices
from tunesmith.engine.pairs import Compared, compare
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.train import train
from tunesmith.errors import DataError
from tunesmith.recipe import load_recipe
from tunesmith.runs import EventWriter, RunDir, read_events

TinyModel = Callable[[str], Path]
ROWS = [(f"Number {n}?", f"It is {n}" + "." * (n % 5), f"No idea{'!' * (n % 3)}") for n in range(9)]
LORA = {"kind": "lora", "rank": 4}
METHODS: dict[str, dict[str, Any]] = {
    "an adapter": LORA,
    "orthogonal matrices": {"kind": "oft", "block_size": 8},
    "vectors in front": {"kind": "prefix", "virtual_tokens": 4},
    "vectors beside": {"kind": "adapter", "virtual_tokens": 4},
    "all weights": {"kind": "full"},
}


@pytest.fixture(autouse=True)
def plain_surroundings(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path_factory.getbasetemp() / "pairs-cache"))


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = [{"question": q, "chosen": c, "rejected": r} for q, c, r in ROWS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def trained(
    folder: Path,
    base: Path | dict[str, Any],
    pairs: Path,
    stage: dict[str, Any],
    adapter: dict[str, Any],
) -> RunDir:
    """A run of eight steps that is validated at its end; its own rows ask for something else."""
    learned = pairs.with_name("learned.jsonl")
    learned.write_text(pairs.read_text().replace("Number", "Value"))
    recipe = {
        "model": base if isinstance(base, dict) else {"base": str(base)},
        "adapter": adapter,
        "stage": stage,
        "data": {
            **{"train": [{"dataset": str(learned)}], "allow_small": True, "max_length": 256},
            "validation": {"kind": "dataset", "dataset": str(pairs)},
        },
        "training": {
            **{"max_steps": 8, "batch_size": 9, "learning_rate": 0.01, "device": "cpu"},
            **{"evaluate": {"every_steps": 8}, "stop": {"restore_best": False}},
        },
        "report": {"tensorboard": False, "curves": False},
    }
    run = RunDir.create(folder / "run", json.dumps(recipe), recipe_name="test")
    with EventWriter(run, 1) as writer:
        train(load_recipe(run.recipe_path), run, Reporter(writer), Ranks(), torch.device("cpu"))
    return run


def measured(target: Path | str, pairs: Path) -> Compared:
    return compare(str(target), [pairs], device="cpu", on_progress=lambda *_: None)


def last_validation(run: RunDir) -> dict[str, Any]:
    found = [e for e in read_events(run.events_path)[0] if e["type"] == "evaluation"]
    return found[-1]


def sides(directory: Path) -> list[list[tuple[Tensor, Tensor]]]:
    """Token ids and labels of both answers of each pair, as the renderer of training has them."""
    renderer = Renderer(TextTokenizer.load(directory))
    found: list[list[tuple[Tensor, Tensor]]] = []
    for question, *answers in ROWS:
        both = []
        for answer in answers:
            turns = (Message("user", question), Message("assistant", answer))
            (row,) = renderer.encode([Conversation(turns)])
            ids = torch.from_numpy(row.ids.astype(np.int64))
            both.append((ids, torch.from_numpy(row.targets[1:].astype(bool))))
        found.append(both)
    return found


@torch.no_grad()
def distributions(model: Any, ids: Tensor, labels: Tensor) -> Tensor:
    """Log-probabilities of the whole vocabulary at each label: [labels, vocabulary]."""
    return model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1)[labels]


def test_an_adapter_is_measured_beside_its_base_as_plain_peft_computes_both(
    tmp_path: Path, tiny_model_dir: TinyModel, pairs_file: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = tiny_model_dir("llama")
    run = trained(tmp_path, base, pairs_file, {"kind": "dpo", "beta": 0.3}, LORA)
    found = measured(run.path, pairs_file)
    with known_notices():
        plain = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
        tuned: Any = PeftModel.from_pretrained(plain, run.artifacts_dir / "adapter").eval()
    expected: list[list[float]] = []
    for both in sides(base):
        means, rewards, apart, count = [], [], 0.0, 0
        for ids, labels in both:
            own = distributions(tuned, ids, labels)
            with tuned.disable_adapter():
                before = distributions(tuned, ids, labels)
            wanted = ids[1:][labels][:, None]
            means.append(float(own.gather(1, wanted).mean()))
            rewards.append(0.3 * float((own - before).gather(1, wanted).sum()))
            apart += float((own.exp() * (own - before)).sum())
            count += int(labels.sum())
        expected.append([*means, *rewards, apart / count])
    names = ("better", "worse", "better_reward", "worse_reward", "kl")
    assert (found.kind, found.base, tuple(found.values)) == ("log_prob", str(base), names)
    for number, name in enumerate(names):
        wanted = [row[number] for row in expected]
        assert found.values[name] == pytest.approx(wanted, rel=2e-4, abs=2e-6), name
    assert min(found.values["kl"]) > 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_rewards_are_those_that_the_training_ended_with(
    tmp_path: Path, tiny_model_dir: TinyModel, pairs_file: Path, method: str
) -> None:
    base = tiny_model_dir("llama")
    run = trained(tmp_path, base, pairs_file, {"kind": "dpo", "beta": 0.3}, METHODS[method])
    values = measured(run.path, pairs_file).values
    better, worse = values["better_reward"], values["worse_reward"]
    told = last_validation(run)
    assert told["reward_accuracy"] == pytest.approx((better > worse).mean())
    margin = (better - worse).mean()
    assert told["reward_margin"] == pytest.approx(margin, rel=1e-4, abs=5e-6)
    assert abs(told["reward_margin"]) > 1e-3


def test_a_reward_model_is_asked_for_its_scores(
    tmp_path: Path, tiny_model_dir: TinyModel, pairs_file: Path
) -> None:
    from transformers import AutoModelForSequenceClassification

    base = tiny_model_dir("llama")
    run = trained(tmp_path, base, pairs_file, {"kind": "rm"}, LORA)
    found = measured(run.path, pairs_file)
    model = AutoModelForSequenceClassification.from_pretrained(run.artifacts_dir / "model").eval()
    with torch.no_grad():
        expected = [[float(model(ids[None]).logits) for ids, _ in both] for both in sides(base)]
    assert (found.kind, found.base, tuple(found.values)) == ("reward", None, ("better", "worse"))
    both = np.stack([found.values["better"], found.values["worse"]], axis=1)
    assert both == pytest.approx(np.array(expected), rel=1e-4, abs=1e-6)
    accuracy = (found.values["better"] > found.values["worse"]).mean()
    assert last_validation(run)["reward_accuracy"] == pytest.approx(accuracy)


def test_a_model_that_comes_from_nowhere_has_no_rewards(
    tiny_model_dir: TinyModel, pairs_file: Path
) -> None:
    found = measured(tiny_model_dir("qwen3"), pairs_file)
    assert (tuple(found.values), found.base) == (("better", "worse"), None)
    assert found.rows.tolist() == list(range(1, len(ROWS) + 1))


def test_a_result_with_tokens_that_its_base_lacks_has_no_rewards(
    tmp_path: Path, tiny_model_dir: TinyModel, pairs_file: Path
) -> None:
    words = [f"<new{n}>" for n in range(8)]  # more than the table of the base has room for
    base = tiny_model_dir("llama")
    model = {"base": str(base), "new_tokens": words}
    run = trained(tmp_path, model, pairs_file, {"kind": "dpo"}, LORA)
    found = measured(run.path, pairs_file)
    assert (tuple(found.values), found.base) == (("better", "worse"), None)


def test_the_command_writes_a_table_and_says_what_was_measured(
    tmp_path: Path,
    tiny_model_dir: TinyModel,
    pairs_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pairs_file.open("a") as file:
        file.write(json.dumps({"question": "Same?", "chosen": "x", "rejected": "x"}) + "\n")
    words = [str(tiny_model_dir("llama")), "--data", str(pairs_file), "--device", "cpu"]
    assert engine(["pairs", *words, "--out", str(tmp_path / "out.parquet")]) == 0
    told = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["kind"], told["rows"], told["measured"]) == ("done", len(ROWS), "log_prob")
    assert told["dropped"] == {"answers_equal": 1}


def test_rows_that_are_no_pairs_are_an_error_that_says_so(
    tmp_path: Path, tiny_model_dir: TinyModel
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "a", "answer": "b"}))
    with pytest.raises(DataError, match="no_pair 1"):
        measured(tiny_model_dir("llama"), rows)
