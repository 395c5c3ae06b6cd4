"""A checkpoint puts back weights, moments and counters, bit by bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.engine.adapter import known_notices
from tunesmith.engine.checkpoint import (
    LoopState,
    is_whole,
    load_checkpoint,
    load_weights,
    remove_old_checkpoints,
    save_checkpoint,
)
from tunesmith.engine.faults import Faults
from tunesmith.engine.optimizer import build_optimizer, set_rate
from tunesmith.engine.weights import write_weights
from tunesmith.errors import RunDirError
from tunesmith.recipe import Full, Lora, Optimizer
from tunesmith.runs import RunDir, checkpoints

Build = Callable[..., Any]
FAMILIES = (
    "llama", "qwen2", "qwen3", "mistral", "gemma3_text",
    "phi3", "glm4", "qwen3_moe", "deepseek_v3", "olmo2", "gpt2",
)  # fmt: skip
ADAPTERS = {"full": Full(), "lora": Lora(rank=4, alpha=8)}
STATE = LoopState(
    step=2, best_step=1, best_loss=0.1 + 0.2, evaluations_without_gain=1, tokens=99, seconds=1.5
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", "name: test\n", recipe_name="test")


def stepped(ours: Any, table: Any, optimizer: Any, steps: tuple[int, ...]) -> None:
    for step in steps:
        ours.loss_and_gradients(table, [[0, 1], [2]], step)
        set_rate(optimizer, 1e-2)
        optimizer.step()
        ours.arena.publish()
        ours.backbone.refresh()


def save(run: RunDir, ours: Any, optimizer: Any, state: LoopState = STATE) -> Path:
    return save_checkpoint(
        run, state, ours.arena, optimizer, lambda path: write_weights(ours.model, path), Faults("")
    )


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_going_on_from_a_checkpoint_is_never_having_stopped(
    bench: Build, table_of: Build, run: RunDir, family: str, adapter: str
) -> None:
    """X6, F10: the same bits after a resume, in every family."""
    table = table_of([9, 30, 12])
    whole = bench(family, ADAPTERS[adapter])
    optimizer = build_optimizer(whole.arena, Optimizer())
    stepped(whole, table, optimizer, (1, 2))
    path = save(run, whole, optimizer)
    stepped(whole, table, optimizer, (3, 4))

    resumed = bench(family, ADAPTERS[adapter])
    again = build_optimizer(resumed.arena, Optimizer())
    assert load_checkpoint(path, resumed.model, resumed.arena, again) == STATE
    resumed.backbone.refresh()
    stepped(resumed, table, again, (3, 4))
    for one, other in zip(whole.arena.groups, resumed.arena.groups, strict=True):
        assert torch.equal(one.flat, other.flat)


def test_a_rounded_model_goes_on_from_its_exact_weights(
    bench: Build, table_of: Build, run: RunDir
) -> None:
    table = table_of([9, 30, 12])
    whole = bench("llama", dtype=torch.bfloat16)
    optimizer = build_optimizer(whole.arena, Optimizer())
    stepped(whole, table, optimizer, (1, 2))
    path = save(run, whole, optimizer)
    stepped(whole, table, optimizer, (3,))
    resumed = bench("llama", dtype=torch.bfloat16)
    again = build_optimizer(resumed.arena, Optimizer())
    load_checkpoint(path, resumed.model, resumed.arena, again)
    stepped(resumed, table, again, (3,))
    for one, other in zip(whole.arena.groups, resumed.arena.groups, strict=True):
        assert torch.equal(one.flat, other.flat)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_load_in_plain_transformers_and_peft(
    bench: Build, plain: Build, table_of: Build, tmp_path: Path, family: str, adapter: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ours = bench(family, ADAPTERS[adapter])
    stepped(ours, table_of([9, 30, 12]), build_optimizer(ours.arena, Optimizer()), (1, 2))
    write_weights(ours.model, tmp_path)
    if adapter == "full":
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", use_safetensors=True)
    else:
        with known_notices():
            loaded = PeftModel.from_pretrained(plain(family), str(tmp_path / "adapter"))
    table = table_of([20], seed=3)
    ids = torch.from_numpy(table.row(0)[0].astype("int64"))
    with torch.no_grad():
        expected = loaded.eval()(ids[None]).logits[0]
    assert torch.allclose(ours.logits(table, [0])[0], expected, atol=1e-5)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_weights_of_an_earlier_step_can_be_put_back(
    bench: Build, table_of: Build, run: RunDir, adapter: str
) -> None:
    ours = bench("llama", ADAPTERS[adapter])
    table = table_of([9, 30, 12])
    optimizer = build_optimizer(ours.arena, Optimizer())
    stepped(ours, table, optimizer, (1,))
    before = ours.logits(table, [0, 1, 2])
    path = save(run, ours, optimizer)
    stepped(ours, table, optimizer, (2, 3))
    assert not torch.equal(before[0], ours.logits(table, [0])[0])
    load_weights(path, ours.model)
    ours.backbone.refresh()
    for one, other in zip(before, ours.logits(table, [0, 1, 2]), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_of_another_training_is_refused(
    bench: Build, table_of: Build, run: RunDir
) -> None:
    ours = bench("llama", Lora(rank=4))
    optimizer = build_optimizer(ours.arena, Optimizer())
    stepped(ours, table_of([9, 30, 12]), optimizer, (1,))
    path = save(run, ours, optimizer)
    other = bench("llama", Lora(rank=8))
    with pytest.raises(RunDirError, match="other parameters than the recipe describes"):
        load_checkpoint(path, other.model, other.arena, build_optimizer(other.arena, Optimizer()))


def test_a_checkpoint_is_whole_only_with_its_manifest(
    bench: Build, table_of: Build, run: RunDir
) -> None:
    ours = bench("llama", Lora(rank=4))
    optimizer = build_optimizer(ours.arena, Optimizer())
    stepped(ours, table_of([9, 30, 12]), optimizer, (1,))
    path = save(run, ours, optimizer)
    assert is_whole(path)
    assert json.loads((path / "manifest.json").read_text())["step"] == 2
    assert sorted(file.name for file in path.iterdir()) == [
        "adapter", "manifest.json", "optimizer.safetensors", "state.json",
    ]  # fmt: skip
    content = bytearray((path / "optimizer.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "optimizer.safetensors").write_bytes(content)
    assert not is_whole(path)


def make(run: RunDir, step: int, *, whole: bool = True) -> None:
    path = run.checkpoints_dir / f"step-{step:06d}"
    path.mkdir(parents=True)
    (path / ("manifest.json" if whole else "state.json")).write_text("{}")


def steps(run: RunDir) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints(run)]


def test_the_newest_and_the_best_are_kept(run: RunDir) -> None:
    """D19: the number of checkpoints to keep."""
    for step in (10, 20, 30, 40, 50):
        make(run, step)
    remove_old_checkpoints(run, keep=2, best_step=20)
    assert steps(run) == [20, 40, 50]
    remove_old_checkpoints(run, keep=2, best_step=40)
    assert steps(run) == [40, 50]


def test_broken_ones_do_not_push_out_whole_ones(run: RunDir) -> None:
    make(run, 10)
    make(run, 20)
    make(run, 30, whole=False)
    make(run, 40, whole=False)
    remove_old_checkpoints(run, keep=2, best_step=None)
    assert {10, 20} <= {int(path.name[5:]) for path in run.checkpoints_dir.iterdir()}
