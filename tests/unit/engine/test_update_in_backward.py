"""Updates within the backward pass are those behind it, in the gradient memory of one layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tunesmith.data.batches import StepPlan
from tunesmith.engine.adapter import trainable_parameters
from tunesmith.engine.arena import Arena
from tunesmith.engine.backbone import build_backbone
from tunesmith.engine.batch import flat_batch
from tunesmith.engine.dropout import key_dropout_by_row, set_training
from tunesmith.engine.fused import FusedDecoder
from tunesmith.engine.head import Head
from tunesmith.engine.in_backward import (
    LayeredArena,
    largest_step,
    refuse_pieces,
    refuse_processes,
    trained_layers,
)
from tunesmith.engine.learning import Learning
from tunesmith.engine.methods.freeze import decoder_layers, freeze_all_but
from tunesmith.engine.optimizer import build_optimizer, parameter_groups, set_rate
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.stages import LanguageStage
from tunesmith.engine.stages.stage import Totals
from tunesmith.errors import RecipeError, RunFailed
from tunesmith.recipe import Recipe
from tunesmith.recipe.adapters import Freeze

Build = Callable[..., Any]
CPU = torch.device("cpu")
LENGTHS = [20, 33, 9, 14]
STEPS, RATE = 4, 1e-2


def recipe_of(in_backward: bool, **training: Any) -> Recipe:
    optimizer = {"kind": "adamw", "weight_decay": 0.1, **training.pop("optimizer", {})}
    return Recipe.model_validate(
        {
            "model": {"base": "tiny", "dtype": training.pop("dtype", "float32")},
            "adapter": {"kind": "full"},
            "data": {"train": [{"dataset": "rows.jsonl"}]},
            "training": {
                "max_grad_norm": 0,
                "update_in_backward": in_backward,
                "optimizer": optimizer,
                **training,
            },
        }
    )


@dataclass
class Trained:
    """A model after some steps of our own parts, and what was seen on the way."""

    model: Any
    learning: Learning
    losses: list[float]
    norms: list[float]

    def weights(self) -> dict[str, Tensor]:
        return {name: part.detach() for name, part in self.model.named_parameters()}

    def moments(self) -> dict[str, Tensor]:
        """Both of every weight, and the exact value where the model's is rounded."""
        found: dict[str, Tensor] = {}
        for place, group in enumerate(self.learning.arena.groups):
            whole = dict(self.learning.optimizer.state_of(place, group.flat))
            flat = {"exact": group.flat, **{n: v for n, v in whole.items() if n != "step"}}
            for kind, value in flat.items():
                parts = value.split([math.prod(shape) for _, shape in group.entries])
                named = zip(group.entries, parts, strict=True)
                found |= {f"{name} {kind}": part for (name, _), part in named}
        return found


def trained(
    ours: Any, table: Any, *, in_backward: bool, checkpointing: int = 0, **changes: Any
) -> Trained:
    """Some steps on a model, each with all rows of the table."""
    model = ours.model
    ours.arena.release()
    recipe = recipe_of(in_backward, **changes)
    learning = Learning(recipe, model)
    learning.enter(1)
    keys = key_dropout_by_row(model, 3)
    backbone = build_backbone(model, attention="auto", checkpointing=checkpointing, keys=keys)
    rows, result = list(range(len(LENGTHS))), Trained(model, learning, [], [])
    totals = Totals(rows=len(rows), targets=int(table.label_counts[rows].sum()))
    set_training(model, True)
    for step in range(1, STEPS + 1):
        batch = flat_batch(table, rows, CPU)
        keys.set(step, batch)
        set_rate(learning.optimizer, RATE / step)
        learning.arena.zero_grad()
        loss = LanguageStage().loss(backbone, Head.of(model), batch, totals).loss
        loss.backward()
        result.losses.append(float(loss.detach()))
        result.norms.append(float(learning.arena.clip(0)))
        learning.optimizer.step()
        learning.arena.publish()
        backbone.refresh()
    return result


def assert_same(one: Trained, other: Trained) -> None:
    assert one.losses == other.losses
    # Sums of float32 in another order: more groups, and shorter ones.
    assert one.norms == pytest.approx(other.norms, rel=1e-5)
    for mine, theirs in (
        (one.weights(), other.weights()),
        (one.moments(), other.moments()),
    ):
        assert mine.keys() == theirs.keys()
        assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def both(bench: Build, table: Any, family: str, **changes: Any) -> tuple[Trained, Trained]:
    dtype = getattr(torch, changes.get("dtype", "float32"))
    behind, within = (
        trained(bench(family, dtype=dtype), table, in_backward=each, **changes)
        for each in (False, True)
    )
    assert behind.losses[-1] < behind.losses[0]
    return behind, within


@pytest.mark.parametrize("checkpointing", [0, 1, 2])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt2", "gemma3_text", "qwen3_moe"])
def test_updates_in_backward_are_those_behind_it_to_the_last_bit(
    bench: Build, table_of: Build, family: str, checkpointing: int
) -> None:
    assert_same(*both(bench, table_of(LENGTHS), family, checkpointing=checkpointing))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_rounded_weights_with_exact_copies_are_the_same(
    bench: Build, table_of: Build, family: str
) -> None:
    behind, within = both(bench, table_of(LENGTHS), family, dtype="bfloat16")
    assert all(group.is_rounded for group in within.learning.arena.groups)
    assert_same(behind, within)


@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit"])
def test_weights_without_exact_copies_are_rounded_by_the_same_chance(
    bench: Build, table_of: Build, kind: str
) -> None:
    changes = {"dtype": "bfloat16", "master_weights": False, "optimizer": {"kind": kind}}
    behind, within = both(bench, table_of(LENGTHS), "llama", **changes)
    assert behind.losses == within.losses
    mine, theirs = behind.weights(), within.weights()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def test_moments_of_a_byte_share_their_scale_within_a_layer(bench: Build, table_of: Build) -> None:
    """A scale is of 256 neighbours, which are others when layers lie apart."""
    table, rule = table_of(LENGTHS), {"kind": "adamw_8bit"}
    within = trained(bench("llama"), table, in_backward=True, optimizer=rule)
    model = bench("llama").model
    layers, outside = trained_layers(model)
    arenas = [
        Arena(parameter_groups(named, weight_decay=0.1, loraplus_ratio=1.0))
        for named in (*(named for _, named in layers), outside)
    ]
    settings = recipe_of(True, optimizer=rule).training.optimizer
    rules = [build_optimizer(arena, settings) for arena in arenas]
    backbone = build_backbone(model, attention="auto")
    rows = list(range(len(LENGTHS)))
    totals = Totals(rows=len(rows), targets=int(table.label_counts[rows].sum()))
    for step in range(1, STEPS + 1):
        batch = flat_batch(table, rows, CPU)
        for arena in arenas:
            arena.zero_grad()
        LanguageStage().loss(backbone, Head.of(model), batch, totals).loss.backward()
        for each in rules:
            set_rate(each, RATE / step)
            each.step()
    mine, theirs = within.weights(), dict(model.named_parameters())
    assert [name for name in mine if not torch.equal(mine[name], theirs[name].detach())] == []


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("layers", [2, -1, 1])
def test_layers_above_frozen_tables_are_updated_when_backward_is_over(
    bench: Build, table_of: Build, family: str, layers: int
) -> None:
    found: list[Trained] = []
    for in_backward in (False, True):
        ours = bench(family)
        freeze_all_but(ours.model, Freeze(layers=layers))
        found.append(trained(ours, table_of(LENGTHS), in_backward=in_backward))
    assert len(trained_layers(found[1].model)[0]) == abs(layers)
    assert_same(*found)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_gradients_take_the_memory_of_one_layer_and_of_what_is_outside(
    bench: Build, table_of: Build, family: str
) -> None:
    within = trained(bench(family), table_of(LENGTHS), in_backward=True)
    memory = {
        group.grad.untyped_storage().data_ptr(): group.grad.untyped_storage().nbytes()
        for group in within.learning.arena.groups
    }
    layers = [sum(p.numel() for p in layer.parameters()) for layer in decoder_layers(within.model)]
    outside = within.learning.num_weights - sum(layers)
    assert sum(memory.values()) == 4 * (max(layers) + outside)


def test_evaluating_between_steps_updates_nothing(bench: Build, table_of: Build) -> None:
    within = trained(bench("llama"), table_of(LENGTHS), in_backward=True)
    before = {name: part.clone() for name, part in within.weights().items()}
    backbone = build_backbone(within.model, attention="auto")
    assert isinstance(backbone, FusedDecoder)
    batch = flat_batch(table_of(LENGTHS), [0], CPU)
    with torch.no_grad():
        hidden = backbone(batch.ids_T, batch.positions_T, batch.documents)
    assert not hidden.requires_grad
    assert all(torch.equal(part, before[name]) for name, part in within.weights().items())


def test_weights_that_layers_share_are_updated_at_the_end(bench: Build) -> None:
    model = bench("gpt2").model
    first, second = decoder_layers(model)
    norm = first.get_submodule("ln_1")
    second.ln_1 = norm
    layers, outside = trained_layers(model)
    shared = {id(part) for part in norm.parameters()}
    assert shared <= {id(part) for _, part in outside}
    assert not any(id(part) in shared for _, named in layers for _, part in named)
    named = [name for _, part in layers for name, _ in part] + [name for name, _ in outside]
    assert sorted(named) == sorted(name for name, _ in trainable_parameters(model))


def test_layers_that_do_not_come_in_turn_end_the_run(bench: Build) -> None:
    model = bench("llama").model
    learning = Learning(recipe_of(True), model)
    learning.enter(1)
    arena = learning.arena
    assert isinstance(arena, LayeredArena)
    arena.zero_grad()
    with pytest.raises(RunFailed) as caught:  # backward has met no layer at all
        arena.clip(0)
    assert caught.value.code == "layers_not_in_turn"
    hidden = torch.ones(3, requires_grad=True) * 1
    arena.watch(0, hidden)  # the first layer before the second
    with pytest.raises(RunFailed, match="one after the other"):
        hidden.sum().backward()


# ---------------------------------------------------------------- what the start of a run checks


def plan_of(table: Any, batch_size: int) -> StepPlan:
    return StepPlan(
        np.arange(len(table.lengths)), table.lengths, batch_size=batch_size, batch_tokens=None,
        epochs=2, max_steps=None, seed=1,
    )  # fmt: skip


def test_a_step_that_is_no_single_micro_batch_is_refused_before_the_first(table_of: Build) -> None:
    table = table_of(LENGTHS)
    plan = plan_of(table, 2)
    largest = largest_step(plan, table)
    assert largest == max(int(table.lengths[step.rows].sum()) for step in plan.steps())
    refuse_pieces(plan, table, largest)
    refuse_pieces(plan_of(table, 1), table, 8)  # a longer row is alone anyway
    with pytest.raises(RecipeError, match=f"{largest} tokens") as caught:
        refuse_pieces(plan, table, largest - 1)
    assert caught.value.code == "step_in_pieces"
    assert "training.micro_batch_tokens: auto" in caught.value.hint


def test_several_processes_are_refused() -> None:
    together: Any = SimpleNamespace(world_size=2)
    with pytest.raises(RecipeError, match="has 2") as caught:
        refuse_processes(recipe_of(True), together)
    assert caught.value.code == "update_in_one_process"
    refuse_processes(recipe_of(False), together)
    refuse_processes(recipe_of(True), Ranks())
