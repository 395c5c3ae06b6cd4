"""Whole trainings: what ends them, what they leave behind, and what never changes their result."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

pytestmark = pytest.mark.slow  # each test runs whole trainings
Build = Callable[..., Any]
GENTLE = {"learning_rate": 1e-3}


def assert_same_result(one: Any, other: Any, tolerance: float = 1e-5) -> None:
    mine, theirs = one.tensors(), other.tensors()
    for name, value in mine.items():
        if "optimizer" not in name:
            assert torch.allclose(value, theirs[name], atol=tolerance), name
    assert list(one.losses()) == list(other.losses())
    assert list(one.losses().values()) == pytest.approx(
        list(other.losses().values()), abs=tolerance
    )


@pytest.fixture(scope="module")
def question() -> torch.Tensor:
    return torch.tensor([[5, 6, 7, 80, 90, 100, 2]])


def test_the_command_itself_trains(training: Build) -> None:
    """`python -m tunesmith.engine train RUN`, as the command line starts it."""
    run = training(training={"max_steps": 2})
    command = [sys.executable, "-m", "tunesmith.engine", "train", str(run.run.path)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0
    assert run.events("finished")[0]["reason"] == "max_steps"


def test_a_run_tells_its_course_in_events(training: Build) -> None:
    run = training().finish()
    kinds = [event["type"] for event in run.events() if event["type"] != "progress"]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert kinds.index("plan") < kinds.index("step")
    (plan,) = run.events("plan")
    assert plan["total_steps"] == 12
    assert plan["rows"] == 24
    assert plan["validation_rows"] == 2
    steps = run.events("step")
    assert [event["step"] for event in steps] == list(range(1, 13))
    assert all(event["grad_norm"] > 0 for event in steps)
    assert steps[-1]["epoch"] == 2
    assert sum(len(event["rows"]) for event in steps) == 48
    assert sum(event["tokens"] for event in steps) == 2 * plan["tokens_per_epoch"]
    assert sum(event["label_tokens"] for event in steps) == 2 * plan["label_tokens_per_epoch"]
    assert steps[-1]["loss"] < steps[0]["loss"] - 0.5
    assert [event["step"] for event in run.events("evaluation")] == [0, 4, 8, 12]
    assert [event["step"] for event in run.events("checkpoint")] == [3, 6, 9, 12]
    assert run.events("finished")[0]["reason"] == "done"


def test_the_learning_rate_follows_its_schedule(training: Build) -> None:
    """D5, D17: warm-up, then down to the rate times the ratio."""
    schedule = {"kind": "linear", "warmup_ratio": 0.25, "min_ratio": 0.1}
    run = training(training={"schedule": schedule, "learning_rate": 0.01}).finish()
    rates = [event["learning_rate"] for event in run.events("step")]
    assert rates[:3] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01])
    assert rates[-1] == pytest.approx(0.001)


def test_every_row_of_every_epoch_has_its_loss(training: Build) -> None:
    run = training().finish()
    lines = run.row_losses()
    assert len(lines) == 48
    assert len({(line["epoch"], line["row"]) for line in lines}) == 48
    assert {Path(line["source"]).name for line in lines} == {"rows.jsonl"}
    # The losses of a step's rows, weighed by their labels, are the loss of the step.
    by_row = {(line["epoch"], line["row"]): line for line in lines}
    for event in run.events("step"):
        epoch = 1 if event["step"] <= 6 else 2
        met = [by_row[epoch, row] for row in event["rows"]]
        mean = sum(m["loss"] * m["labels"] for m in met) / sum(m["labels"] for m in met)
        assert mean == pytest.approx(event["loss"], rel=1e-5)


@pytest.mark.parametrize("tokens", [192, 100000])
def test_the_size_of_micro_batches_never_changes_the_result(
    training: Build, whole: Build, adapter: dict[str, Any], tokens: int
) -> None:
    first = whole(adapter=adapter, training=GENTLE)
    other = training(
        "other", adapter=adapter, training={**GENTLE, "micro_batch_tokens": tokens}
    ).finish()
    assert_same_result(first, other)


@pytest.mark.parametrize("kind", ["selective", "full"])
def test_activation_checkpointing_never_changes_the_result(
    training: Build, whole: Build, same_state: Build, kind: str
) -> None:
    first = whole()
    other = training("other", training={"activation_checkpointing": kind}).finish()
    same_state(first, other)


def test_activations_that_do_not_fit_are_computed_twice_and_told_once(
    training: Build, whole: Build, same_state: Build
) -> None:
    """A micro-batch of more tokens than memory has room for; the steps themselves are small."""
    per_token = 16_000  # bytes at least, of this model
    first = whole(training={"micro_batch_tokens": 10_000})
    tokens = 10 * psutil.virtual_memory().total // per_token
    run = training("other", training={"micro_batch_tokens": tokens})
    assert run.go(fault="kill@step:7") < 0
    decided = run.run.resolved_path.read_bytes()
    assert yaml.safe_load(decided)["training"]["activation_checkpointing"] == "full"
    run.finish(resume=True)
    assert run.run.resolved_path.read_bytes() == decided
    told = [each for each in run.events("warning") if each["code"] == "activations_recomputed"]
    assert len(told) == 1, "by the first attempt"
    same_state(first, run)


def test_other_attention_never_changes_the_result(training: Build, whole: Build) -> None:
    first = whole(training=GENTLE)
    other = training("other", model={"attention": "sdpa"}, training=GENTLE).finish()
    assert_same_result(first, other)


def test_updates_in_backward_never_change_the_result(training: Build, whole: Build) -> None:
    at_once = {"max_grad_norm": 0, "micro_batch_tokens": "auto"}
    complete = whole(training={**at_once, "micro_batch_tokens": 1000})
    run = training(training={**at_once, "update_in_backward": True}).finish()
    assert run.losses() == complete.losses()
    mine, theirs = run.tensors(), complete.tensors()
    weights = [name for name in theirs if not name.startswith("optimizer")]
    assert weights
    assert all(torch.equal(mine[name], theirs[name]) for name in weights)
    norms = [[event["grad_norm"] for event in each.events("step")] for each in (run, complete)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    rates = [[event["learning_rate"] for event in each.events("step")] for each in (run, complete)]
    assert rates[0] == rates[1]


def test_updates_in_backward_refuse_a_step_in_pieces(training: Build) -> None:
    run = training(training={"max_grad_norm": 0, "update_in_backward": True})
    assert run.go() != 0
    (failed,) = run.events("failed")
    assert (failed["code"], failed["step"], failed["limit"]) == ("step_in_pieces", 1, 128)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(
    training: Build, whole: Build, same_state: Build
) -> None:
    first, again = whole(), training("again").finish()
    same_state(first, again)
    other = training("other", training={"seed": 7}).finish()
    assert other.losses() != first.losses()


def test_a_run_ends_at_its_target_loss(training: Build) -> None:
    run = training(training={"epochs": 30, "stop": {"target_loss": 4.0}}).finish()
    (end,) = run.events("finished")
    assert end["reason"] == "target_loss"
    assert end["step"] < 180
    assert run.events("evaluation")[-1]["loss"] <= 4.0
    assert all(event["loss"] > 4.0 for event in run.events("evaluation")[:-1])


def test_without_validation_the_training_loss_counts(training: Build) -> None:
    run = training(
        data={"validation": {"kind": "none"}},
        training={"epochs": 30, "stop": {"target_loss": 4.0}},
    ).finish()
    assert run.events("finished")[0]["reason"] == "target_loss"
    losses = list(run.losses().values())
    assert losses[-1] <= 4.0
    assert min(losses[:-1]) > 4.0


def test_patience_ends_a_run_and_the_best_step_is_its_result(
    training: Build, question: torch.Tensor
) -> None:
    run = training(
        training={
            "epochs": 30,
            "learning_rate": 0.05,
            "evaluate": {"every_steps": 2},
            "stop": {"patience": 3, "restore_best": True},
            "checkpoint": {"every_steps": 1000, "keep": 2},
        }
    ).finish()
    (end,) = run.events("finished")
    assert end["reason"] == "patience"
    losses = {event["step"]: event["loss"] for event in run.events("evaluation")}
    assert end["best_loss"] == min(losses.values())
    assert losses[end["best_step"]] == end["best_loss"]
    assert end["step"] == end["best_step"] + 3 * 2
    assert (end["result_step"], end["result_loss"]) == (end["best_step"], end["best_loss"])
    assert "never_better" not in [event["code"] for event in run.events("warning")]
    # The artifact is the model of the best step, not of the last.
    best = run.run.checkpoints_dir / f"step-{end['best_step']:06d}" / "model"
    answers = [logits(folder, question) for folder in (run.run.artifacts_dir / "model", best)]
    assert torch.equal(*answers)
    assert not torch.equal(answers[0], logits(run.last_checkpoint() / "model", question))


def test_a_training_that_only_made_the_model_worse_says_so(
    training: Build, question: torch.Tensor
) -> None:
    settings = {
        "max_steps": 4,
        "learning_rate": 1.0,
        "schedule": {"kind": "constant", "warmup_ratio": 0},
        "evaluate": {"every_steps": 2},
    }
    run = training(training={**settings, "stop": {"restore_best": True}}).finish()
    losses = {event["step"]: event["loss"] for event in run.events("evaluation")}
    assert min(losses, key=lambda step: losses[step]) == 0, "the test needs a rate that spoils it"
    (warning,) = (e for e in run.events("warning") if e["code"] == "never_better")
    assert f"step 4 with validation loss {losses[4]:.4f}" in warning["message"]
    assert f"before training it was {losses[0]:.4f}" in warning["message"]
    assert "learning_rate" in warning["hint"]
    (end,) = run.events("finished")
    assert (end["result_step"], end["result_loss"]) == (4, losses[4])
    card = (run.run.artifacts_dir / "README.md").read_text()
    assert f"| Loss | {losses[0]:.4f} | {losses[4]:.4f} |" in card
    last = run.run.checkpoints_dir / "step-000004" / "model"
    assert torch.equal(
        *(logits(folder, question) for folder in (run.run.artifacts_dir / "model", last))
    )


def logits(folder: Path, ids: torch.Tensor) -> torch.Tensor:
    """Of a folder that plain transformers loads."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(ids).logits


def test_a_saved_model_loads_in_plain_transformers(
    training: Build, base_model: Path, question: torch.Tensor
) -> None:
    run = training().finish()
    tuned = logits(run.run.artifacts_dir / "model", question)
    assert torch.equal(tuned, logits(run.last_checkpoint() / "model", question))
    assert not torch.allclose(tuned, logits(base_model, question), atol=0.1)


def test_a_saved_adapter_loads_in_plain_peft_and_merges_to_the_same_model(
    training: Build, base_model: Path, question: torch.Tensor
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from tunesmith.engine.adapter import known_notices

    run = training(adapter={"kind": "lora", "rank": 4}, export={"merge": True}).finish()
    base = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32)
    with known_notices():
        tuned = PeftModel.from_pretrained(base, str(run.run.artifacts_dir / "adapter")).eval()
    with torch.no_grad():
        answer = tuned(question).logits
    assert torch.allclose(answer, logits(run.run.artifacts_dir / "model", question), atol=1e-5)
    assert not torch.allclose(answer, logits(base_model, question), atol=0.01)
    # And it is what the engine measured last: the same loss on the validation rows.
    assert run.events("evaluation")[-1]["loss"] < run.events("evaluation")[0]["loss"]


def test_training_goes_on_from_an_adapter_and_from_a_model(training: Build, whole: Build) -> None:
    """B12: an earlier result is where the next run begins."""
    lora = {"kind": "lora", "rank": 4, "alpha": 8}
    first = whole(adapter=lora)
    folder = str(first.run.artifacts_dir / "adapter")
    second = training("second", adapter={**lora, "continue_from": folder}).finish()
    before, after = first.events("evaluation")[-1], second.events("evaluation")[0]
    assert after["loss"] == pytest.approx(before["loss"], rel=1e-5)
    full = training("full").finish()
    again = training("again", model={"base": str(full.run.artifacts_dir / "model")}).finish()
    assert again.events("evaluation")[0]["loss"] == pytest.approx(
        full.events("evaluation")[-1]["loss"], rel=1e-5
    )


def test_loraplus_trains_b_faster(training: Build) -> None:
    """B7."""
    lora = {"kind": "lora", "rank": 4, "alpha": 8}
    plain = training("plain", adapter=lora, training=GENTLE).finish()
    faster = training("faster", adapter={**lora, "loraplus_lr_ratio": 16}, training=GENTLE).finish()
    sizes = [
        sum(float(v.norm()) for n, v in run.tensors().items() if "lora_B" in n)
        for run in (plain, faster)
    ]
    assert sizes[1] > 4 * sizes[0]


def test_only_the_newest_checkpoints_are_kept(training: Build) -> None:
    """D19, D20: interval and number of checkpoints."""
    run = training(training={"checkpoint": {"every_steps": 2, "keep": 2}}).finish()
    assert sorted(path.name for path in run.run.checkpoints_dir.iterdir()) == [
        "step-000010",
        "step-000012",
    ]


def test_the_final_state_is_saved_by_a_run_shorter_than_the_interval(training: Build) -> None:
    """D7, H9."""
    run = training(training={"checkpoint": {"every_steps": 1000}, "max_steps": 2}).finish()
    assert [path.name for path in run.run.checkpoints_dir.iterdir()] == ["step-000002"]


def test_steps_may_be_counted_in_tokens_and_epochs_in_fractions(training: Build) -> None:
    run = training(training={"batch_tokens": 200, "epochs": 1.5}).finish()
    steps = run.events("step")
    assert all(event["tokens"] <= 200 for event in steps)
    assert max(len(event["rows"]) for event in steps) > 2
    assert 1.5 <= steps[-1]["epoch"] < 1.8


def test_pre_training_reads_plain_text(training: Build, tmp_path: Path) -> None:
    file = tmp_path / "text.jsonl"
    file.write_text("".join(f'{{"text": "The number {n} follows {n - 1}."}}\n' for n in range(30)))
    run = training(
        stage={"kind": "pt"},
        data={"train": [{"dataset": str(file)}], "max_length": 128},
    ).finish()
    losses = list(run.losses().values())
    assert losses[-1] < losses[0]
    (plan,) = run.events("plan")
    assert plan["label_tokens_per_epoch"] == plan["tokens_per_epoch"] - plan["rows"]


def test_a_second_run_of_the_same_data_reads_its_tokens_from_the_cache(
    training: Build, whole: Build
) -> None:
    first, second = whole(), training("second").finish()
    assert first.losses() == second.losses()
    tokenised = [e for e in second.events("progress") if e["activity"] == "tokenise"]
    assert not [e for e in tokenised if e["done"] < e["total"]]


def test_the_resolved_recipe_repeats_the_run(
    training: Build, whole: Build, same_state: Build
) -> None:
    first = whole(training={"micro_batch_tokens": "auto"})
    resolved = yaml.safe_load(first.run.resolved_path.read_text())
    assert isinstance(resolved["training"]["micro_batch_tokens"], int)
    del resolved["name"]
    second = training("second", **resolved).finish()
    same_state(first, second)
