"""Layers that learn in turn do so as AdamW on one layer would, and nothing else moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.engine.arena import gradient_of
from tunesmith.engine.backbone import build_backbone
from tunesmith.engine.batch import flat_batch
from tunesmith.engine.dropout import key_dropout_by_row
from tunesmith.engine.fused import FusedDecoder
from tunesmith.engine.head import Head
from tunesmith.engine.learning import Learning, block_of_step, layer_blocks
from tunesmith.engine.methods.freeze import decoder_layers
from tunesmith.engine.optimizer import set_rate
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.stages import LanguageStage
from tunesmith.engine.stages.stage import Totals
from tunesmith.recipe import Optimizer, Recipe

Build = Callable[..., Any]
CPU = torch.device("cpu")
LENGTHS = [20, 33, 9]
EVERY, RATE = 2, 1e-3


def recipe_of(order: str = "ascending", **training: Any) -> Recipe:
    optimizer = {"kind": "badam", "block_switch_steps": EVERY, "block_order": order}
    return Recipe.model_validate(
        {
            "model": {"base": "tiny"},
            "adapter": {"kind": "full"},
            "data": {"train": [{"dataset": "rows.jsonl"}]},
            "training": {"optimizer": {**optimizer, "weight_decay": 0.1}, **training},
        }
    )


def trained(model: Any, table: Any, steps: int, *, order: str = "ascending") -> Any:
    """The model after some steps of our own parts."""
    learning = Learning(recipe_of(order), model)
    learning.enter(1)
    backbone = build_backbone(model, attention="auto", keys=key_dropout_by_row(model, 3))
    batch = flat_batch(table, [0, 1, 2], CPU)
    totals = Totals(rows=3, targets=int(table.label_counts[[0, 1, 2]].sum()))
    for step in range(1, steps + 1):
        if learning.enter(step) and isinstance(backbone, FusedDecoder):
            backbone.rebind()
        learning.arena.zero_grad()
        LanguageStage().loss(backbone, Head.of(model), batch, totals).loss.backward()
        set_rate(learning.optimizer, RATE)
        learning.optimizer.step()
        learning.arena.publish()
        backbone.refresh()
    return learning


def state(model: Any) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def flat(plain: Build, family: str) -> Any:
    from tunesmith.engine.attention import register_flat_attention

    return plain(family, attention=register_flat_attention())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_each_turn_is_adamw_on_one_layer_with_fresh_moments(
    plain: Build, reference: Build, table_of: Build, family: str
) -> None:
    """Luo and others 2024, algorithm 1, against torch and transformers alone."""
    table, model = table_of(LENGTHS), flat(plain, family)
    number = len(decoder_layers(model))
    trained(model, table, EVERY * (number + 1))
    other = plain(family)
    layers = decoder_layers(other)
    for turn in range(number + 1):
        other.requires_grad_(False)
        layers[turn % number].requires_grad_(True)
        learned = list(layers[turn % number].parameters())
        rule = torch.optim.AdamW(
            [
                {"params": [p for p in learned if p.ndim > 1], "weight_decay": 0.1},
                {"params": [p for p in learned if p.ndim == 1], "weight_decay": 0.0},
            ],
            lr=RATE,
        )
        for _ in range(EVERY):
            rule.zero_grad()
            reference(other, table, [0, 1, 2])
            rule.step()
    mine, theirs = state(model), state(other)
    differences = torch.cat([(mine[name] - theirs[name]).abs().flatten() for name in mine])
    assert float(differences.mean()) < 1e-7
    assert float((differences > 1e-5).float().mean()) < 0.01


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_only_the_layer_whose_turn_it_is_moves_and_has_gradients(
    plain: Build, table_of: Build, family: str
) -> None:
    model, table = flat(plain, family), table_of(LENGTHS)
    before, blocks = state(model), layer_blocks(model)
    learning = trained(model, table, EVERY + 1)
    inside = {id(p): number for number, block in enumerate(blocks) for p in block}
    for name, parameter in model.named_parameters():
        has_moved = not torch.equal(parameter.data, before[name])
        assert has_moved == (inside.get(id(parameter)) in (0, 1)), name
        assert (parameter.grad is not None) == (inside.get(id(parameter)) == 1), name
    held = sum(len(group.grad) for group in learning.arena.groups)
    assert held == sum(p.numel() for p in blocks[1])


def test_a_layer_whose_turn_is_over_keeps_its_rounded_weights_and_no_copy(
    bench: Build,
) -> None:
    ours = bench("llama", dtype=torch.bfloat16)
    ours.arena.release()
    model = ours.model
    first = layer_blocks(model)[0]
    learning = Learning(recipe_of(), model)
    learning.enter(1)
    assert all(group.is_rounded for group in learning.arena.groups)
    gradient_of(first[0]).fill_(1.0)
    set_rate(learning.optimizer, RATE)
    learning.optimizer.step()
    learning.arena.publish()
    moved = first[0].detach().clone()
    assert learning.enter(1 + EVERY)
    assert torch.equal(first[0], moved)
    assert not hasattr(first[0], "total_gradient")


def test_orders_give_each_layer_its_turn() -> None:
    def turns(order: str, seed: int = 1) -> list[int]:
        settings = Optimizer.model_validate(
            {"kind": "badam", "block_switch_steps": 3, "block_order": order}
        )
        found = [block_of_step(step, 4, settings, seed) for step in range(1, 25)]
        assert found[0::3] == found[1::3] == found[2::3]
        return found[0::3]

    assert turns("ascending") == [0, 1, 2, 3, 0, 1, 2, 3]
    assert turns("descending") == [3, 2, 1, 0, 3, 2, 1, 0]
    first, second = turns("random")[:4], turns("random")[4:]
    assert sorted(first) == sorted(second) == [0, 1, 2, 3]
    assert any(turns("random", seed)[:4] != first for seed in range(2, 6))


class Heard(Reporter):
    """Keeps the beginning of each warning."""

    def __init__(self) -> None:
        super().__init__(None)
        self.messages: list[str] = []

    def warn(self, code: str, message: str, hint: str = "") -> None:
        del code, hint
        self.messages.append(message.partition(":")[0])


def test_a_run_too_short_for_every_layer_is_told_from_others(bench: Build) -> None:
    model = bench("llama").model
    layers = len(decoder_layers(model))
    inside = sum(p.numel() for layer in decoder_layers(model) for p in layer.parameters())
    learning = Learning(recipe_of(), model)
    assert learning.num_weights == inside
    for steps, left_out in ((1, layers - 1), (EVERY * layers, 0), (EVERY * (layers - 1), 1)):
        told = Heard()
        learning.warn_of_layers_without_turn(steps, told)
        assert told.messages == ([f"{left_out} of {layers} layers never learn"] if left_out else [])
    learning.enter(1)
    assert learning.num_weights == inside


def test_the_same_weights_learn_in_all_steps_of_other_rules(bench: Build) -> None:
    recipe = Recipe.model_validate({**recipe_of().model_dump(), "training": {}})
    learning = Learning(recipe, bench("gpt2").model)
    assert learning.enter(1)
    arena = learning.arena
    assert not learning.enter(2)
    assert learning.arena is arena
