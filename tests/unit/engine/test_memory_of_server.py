"""What a server says about memory, without torch, agrees with the plan of the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from torch import Tensor

from tunesmith.engine import fused, head
from tunesmith.engine.learning import Learning
from tunesmith.engine.memory import CPU_MICRO_BATCH
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.setup import (
    Base,
    choose_device,
    load_trainable,
    memory_of,
    open_base,
    trained_weights,
)
from tunesmith.models import memory
from tunesmith.models.memory import Places, Shape
from tunesmith.models.presets import find_preset
from tunesmith.recipe import Recipe, parse_recipe
from tunesmith.recipe.adapters import Expand, Freeze
from tunesmith.recipe.training import OptimizerKind
from tunesmith.runs import RunDir
from tunesmith.server.flavours import Flavour
from tunesmith.server.services.memory import memory_of_recipe, trainable_weights
from tunesmith.starter import starter_directory

TOLERANCE = 0.1
ADAPTERS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "lora": {"kind": "lora", "rank": 16},
    "few": {"kind": "lora", "rank": 8, "targets": ["q_proj", "v_proj"]},
    "oft": {"kind": "oft", "block_size": 16},
    "prompt": {"kind": "prompt"},
    "p_tuning": {"kind": "p_tuning"},
    "prefix": {"kind": "prefix"},
    "projected": {"kind": "prefix", "projection": True},
    "adapter": {"kind": "adapter"},
    "adapter-last": {"kind": "adapter", "virtual_tokens": 50, "layers": 2},
    "nf4": {"kind": "lora", "rank": 16},
    "int8": {"kind": "lora", "rank": 16},
}
MODELS = {name: {"quantization": name} for name in ("nf4", "int8")}


def recipe_of(adapter: str, **optimizer: Any) -> Recipe:
    return parse_recipe(
        {
            "model": {"base": "starter", **MODELS.get(adapter, {})},
            "adapter": ADAPTERS[adapter],
            "data": {"train": [{"dataset": "builtin:shop"}]},
            "training": {"device": "cpu", "optimizer": optimizer},
        }
    )


def loaded(recipe: Recipe, folder: Path) -> tuple[Base, Any]:
    run, reporter = RunDir(folder / "run"), Reporter(None)
    run.path.mkdir(parents=True)
    base = open_base(recipe, run, reporter, choose_device("cpu"))
    return base, load_trainable(recipe, run, base, reporter)


@pytest.mark.parametrize(
    ("adapter", "kind"),
    [
        *(("full", kind) for kind in get_args(OptimizerKind)),
        *(("lora", kind) for kind in ("adamw_8bit", "adafactor", "adam_mini", "muon")),
    ],
)
def test_the_state_of_a_rule_is_as_large_as_was_estimated(
    adapter: str, kind: str, tmp_path: Path
) -> None:
    recipe = recipe_of(adapter, kind=kind, projection_rank=8)
    _, model = loaded(recipe, tmp_path)
    rule = recipe.training.optimizer
    learning = Learning(recipe, model)
    learning.enter(1)
    optimizer = learning.optimizer
    for group in learning.arena.groups:
        group.grad.fill_(1e-3)
    optimizer.step()
    found = sum(
        value.nbytes
        for place, group in enumerate(optimizer.param_groups)
        for parameter in group["params"]
        for value in optimizer.state_of(place, parameter).values()
        if isinstance(value, Tensor)
    )
    assert trained_weights(model, rule).state_bytes == pytest.approx(found, rel=0.15)


def trained(model: Any) -> list[tuple[str, Any]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


@pytest.mark.parametrize("kind", ["adafactor", "muon", "galore", "badam"])
def test_the_quick_estimate_knows_the_rule(kind: str, tmp_path: Path) -> None:
    recipe = recipe_of("full", kind=kind, projection_rank=8)
    assert quick_estimate(recipe) == pytest.approx(planned(recipe, tmp_path), rel=TOLERANCE)
    assert quick_estimate(recipe) < quick_estimate(recipe_of("full"))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_quick_estimate_is_the_plan_of_the_engine(adapter: str, tmp_path: Path) -> None:
    recipe = recipe_of(adapter)
    assert quick_estimate(recipe) == pytest.approx(planned(recipe, tmp_path), rel=TOLERANCE)


def test_without_exact_copies_an_estimate_has_four_bytes_less_a_weight() -> None:
    shape = Shape.like(10**9)
    trained = memory.Trained(weights=10**9, inside=10**9, narrow=1000, edges=10**6)
    whole, short = (
        memory.estimate_memory(
            shape, parameters=10**9, trained=trained, micro_batch_tokens=100, bytes_per_value=2,
            fused=False, checkpointing=0, master_weights=master_weights,
        ).total
        for master_weights in (True, False)
    )  # fmt: skip
    assert whole - short == 4 * 10**9


@pytest.mark.parametrize(
    "adapter", [{"kind": "full"}, {"kind": "freeze", "layers": 3}, {"kind": "expand", "blocks": 4}]
)
def test_updates_in_backward_take_the_gradients_of_one_layer(
    adapter: dict[str, Any], tmp_path: Path
) -> None:
    def recipe(*, in_backward: bool) -> Recipe:
        training = {"update_in_backward": in_backward, "max_grad_norm": 0}
        tokens = {"batch_tokens": CPU_MICRO_BATCH} if in_backward else {}
        return parse_recipe(
            {
                "model": "starter",
                "adapter": adapter,
                "data": {"train": [{"dataset": "builtin:shop"}]},
                "training": {"device": "cpu", **training, **tokens},
            }
        )

    within, behind = recipe(in_backward=True), recipe(in_backward=False)
    found = planned(within, tmp_path)
    assert quick_estimate(within) == pytest.approx(found, rel=TOLERANCE)
    base, model = loaded(within, tmp_path / "again")
    learning = Learning(within, model)
    learning.enter(1)
    gradients = {
        group.grad.untyped_storage().data_ptr(): group.grad.untyped_storage().nbytes()
        for group in learning.arena.groups
    }
    of_both = [
        memory_of(decided(each), base, model, micro_batch_tokens=CPU_MICRO_BATCH).optimizer
        for each in (behind, within)
    ]
    assert of_both[0] - of_both[1] == 4 * learning.num_weights - sum(gradients.values())
    less = quick_estimate(behind) - quick_estimate(within)
    assert less == pytest.approx(of_both[0] - of_both[1], rel=TOLERANCE)


@pytest.mark.parametrize("adapter", ["prompt", "p_tuning", "prefix"])
def test_vectors_in_front_of_every_row_take_memory(adapter: str) -> None:
    few, many = (
        Places.of(with_vectors(adapter, number), CPU_MICRO_BATCH).number for number in (10, 30)
    )
    assert (few, many) == (10 * 16, 30 * 16)  # rows of an update
    sizes = [quick_estimate(with_vectors(adapter, number)) for number in (10, 30)]
    assert sizes[1] > sizes[0]
    packed = with_vectors(adapter, 10, batch_tokens=4096)
    assert Places.of(packed, 2048).number == 10 * 8  # rows of a quarter of 1024 tokens
    assert Places.of(recipe_of("lora"), 2048).number == 0


def with_vectors(adapter: str, number: int, **training: Any) -> Recipe:
    return parse_recipe(
        {
            "model": "starter",
            "adapter": {"kind": adapter, "virtual_tokens": number},
            "data": {"train": [{"dataset": "builtin:shop"}], "max_length": 1024},
            "training": {"device": "cpu", **training},
        }
    )


@pytest.mark.parametrize("fused", [True, False])
def test_activations_of_every_second_layer_lie_between_those_of_all_and_none(fused: bool) -> None:
    shape = Shape.like(10**9)
    off, selective, full = (
        memory.activation_bytes(shape, bytes_per_value=4, fused=fused, checkpointing=every)
        for every in (0, 2, 1)
    )
    assert full < selective < off
    assert selective == pytest.approx((off + full) / 2, rel=0.1)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("adapter", [Freeze(layers=3), Expand(blocks=4)], ids=["freeze", "expand"])
def test_tables_of_words_are_no_weights_of_layers_whether_tied_or_not(
    adapter: Freeze | Expand, tied: bool
) -> None:
    """One table of words and two differ by most of a small model."""
    shape = Shape.read(starter_directory())
    assert shape is not None
    norms = (2 * shape.layers + 1) * shape.hidden
    layers, table = memory.linear_weights(shape) + norms, shape.vocabulary * shape.hidden
    number = adapter.layers if isinstance(adapter, Freeze) else adapter.blocks
    found = trainable_weights(adapter, shape, layers + (1 if tied else 2) * table)
    assert found == pytest.approx(layers * number / shape.layers, rel=0.001)


def flavour(gigabytes: float | None, kind: str = "cuda") -> Flavour:
    """One device with so much memory."""
    size = None if gigabytes is None else int(gigabytes * 1e9)
    return Flavour("one", "one", 1, kind, memory_bytes=size)


def of_large(device: Flavour | None, kind: str = "auto", **training: Any) -> int:
    """The quick estimate for LoRA on 8 billion weights."""
    recipe = parse_recipe(
        {
            "model": "starter",
            "data": {"train": [{"dataset": "builtin:shop"}]},
            "training": {"activation_checkpointing": kind, **training},
        }
    )
    shape = Shape.like(8 * 10**9)
    return memory_of_recipe(recipe, shape, 8 * 10**9, "llama", device)


def test_the_quick_estimate_recomputes_activations_only_where_the_device_is_too_small() -> None:
    least: dict[str, Any] = {"micro_batch_tokens": 2048}
    sizes = {each: of_large(flavour(140), each, **least) for each in ("off", "selective", "full")}
    assert sizes["off"] > sizes["selective"] > sizes["full"]
    for kind, size in sizes.items():
        assert of_large(flavour(size / 0.94 / 1e9), **least) == size, kind
    assert of_large(flavour(1), **least) == sizes["full"], "the most, where nothing helps"
    assert of_large(flavour(None), **least) == sizes["off"], "off, where nobody knows"
    # The micro-batch shrinks first, as long as it keeps the device busy.
    assert of_large(flavour(40)) == pytest.approx(40e9 * memory.SHARE_OF_FREE, rel=0.02)


def test_activations_in_main_memory_are_those_of_layers() -> None:
    shape = Shape.like(10**9)
    how: dict[str, Any] = {"bytes_per_value": 2, "fused": False}
    trained = memory.Trained(weights=10**6, inside=10**6, narrow=16, edges=10**5)
    one_layer = 0
    for every in (0, 2, 1):
        there, away = (
            memory.estimate_memory(
                shape, parameters=10**9, trained=trained, micro_batch_tokens=1000,
                checkpointing=every, offload=offload, **how,
            )
            for offload in (False, True)
        )  # fmt: skip
        assert there.in_main_memory == 0
        assert away.activations + away.in_main_memory == there.activations
        one_layer = away.activations if every == 0 else one_layer
        assert away.activations == one_layer < there.activations
        room = memory.Room(away.total * 2, away.in_main_memory // 2)
        assert not room.fits(away), "main memory has to hold them"
        assert memory.Room(away.total * 2, away.in_main_memory * 2).fits(away)


def decided(recipe: Recipe) -> Recipe:
    """With all activations kept."""
    return memory.with_checkpointing(recipe, lambda _: pytest.fail("nobody asks"), None)


def planned(recipe: Recipe, folder: Path) -> int:
    base, model = loaded(recipe, folder)
    return memory_of(decided(recipe), base, model, micro_batch_tokens=CPU_MICRO_BATCH).total


def quick_estimate(recipe: Recipe) -> int:
    preset, shape = find_preset("starter"), Shape.read(starter_directory())
    assert preset is not None
    assert shape is not None
    return memory_of_recipe(recipe, shape, preset.parameters, preset.family, None)


def test_numbers_that_stand_in_two_places_are_the_same() -> None:
    assert memory.LOGITS_CHUNK_BYTES == head.CHUNK_BYTES
    assert memory.LEAST_CHUNK_ROWS == head.MIN_CHUNK_ROWS
    assert set(fused.FAMILIES) == memory.FUSED_FAMILIES


@pytest.mark.parametrize("billions", [0.002, 0.6, 1.7, 8, 32, 70])
def test_a_usual_shape_has_about_so_many_weights(billions: float) -> None:
    shape = Shape.like(int(billions * 1e9))
    layer = 4 * shape.hidden**2 + 3 * shape.hidden * shape.feed_forward
    total = shape.layers * layer + 2 * shape.vocabulary * shape.hidden
    assert total == pytest.approx(billions * 1e9, rel=0.25)
    assert shape.layers < 120


def test_a_folder_without_sizes_has_no_shape(tmp_path: Path) -> None:
    assert Shape.read(tmp_path) is None
    (tmp_path / "config.json").write_text('{"hidden_size": "wide"}')
    assert Shape.read(tmp_path) is None
    (tmp_path / "config.json").write_text("{")
    assert Shape.read(tmp_path) is None
