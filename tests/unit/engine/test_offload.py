"""Activations that wait elsewhere: the same gradients to the last bit, and only they move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tunesmith.engine.backbone import ModuleDecoder
from tunesmith.engine.fused import FusedDecoder
from tunesmith.engine.offload import LEAST_BYTES, MAIN_MEMORY, Offload
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.setup import open_base
from tunesmith.errors import RecipeError, TunesmithError
from tunesmith.recipe import Full, Lora, parse_recipe
from tunesmith.runs import RunDir

Build = Callable[..., Any]
LENGTHS = [9, 1, 70, 33]
ROWS = [0, 1, 2, 3]
WIDE = 1 << 10


class Kept:
    """What one small network keeps for backward."""

    def __init__(self, least_bytes: int = 1, place: torch.device = MAIN_MEMORY) -> None:
        self.offload = Offload(place, least_bytes)
        self.layer = nn.Linear(WIDE, WIDE, bias=False)

    def loss(self, x: Tensor) -> Tensor:
        """Keeps x for the weight, the weight for x, and the outcome of tanh."""
        with self.offload.within(self.layer):
            return self.layer(x).tanh().sum()


def rows(number: int) -> Tensor:
    return torch.randn(number, WIDE, generator=torch.Generator().manual_seed(1)).requires_grad_()


def test_what_a_layer_keeps_moves_and_its_weights_stay() -> None:
    kept, x = Kept(), rows(4)
    loss = kept.loss(x)
    assert kept.offload.num_bytes == 2 * 4 * WIDE * 4, "x and tanh, and not the weight"
    loss.backward()
    found = x.grad, kept.layer.weight.grad
    x.grad, kept.layer.weight.grad = None, None
    kept.layer(x).tanh().sum().backward()
    expected = x.grad, kept.layer.weight.grad
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))  # pyright: ignore


def test_the_original_memory_is_left_at_once() -> None:
    kept, x = Kept(), rows(4)
    made = x * 2
    loss = kept.loss(made)
    made.detach().zero_()  # as if its memory had gone to the next layer
    loss.backward()
    expected = torch.empty_like(kept.layer.weight)
    expected.copy_((1 - kept.layer(x * 2).tanh() ** 2).t() @ (x * 2))
    assert torch.allclose(kept.layer.weight.grad, expected, atol=1e-5)  # pyright: ignore


def test_it_goes_to_the_given_place() -> None:
    """The device `meta` holds no bytes: what comes back from there is not what left."""
    kept, x = Kept(place=torch.device("meta")), rows(4)
    loss = kept.loss(x)
    assert kept.offload.num_bytes == 2 * 4 * WIDE * 4
    with pytest.raises(NotImplementedError, match="meta"):
        loss.backward()


def test_small_tensors_stay() -> None:
    kept = Kept(LEAST_BYTES)
    kept.loss(rows(LEAST_BYTES // 4 // WIDE - 1))
    assert kept.offload.num_bytes == 0
    kept.loss(rows(LEAST_BYTES // 4 // WIDE))
    assert kept.offload.num_bytes == 2 * LEAST_BYTES


def test_views_of_one_memory_move_once_and_what_is_written_anew_moves_again() -> None:
    offload, layer = Offload(least_bytes=1), nn.Linear(1, 1)
    both = rows(4) * 1
    with offload.within(layer):
        left, right = both[:, :512], both[:, 512:].transpose(0, 1)
        product = left @ right
    assert offload.num_bytes == both.nbytes
    assert product.grad_fn is not None
    weight = torch.ones(4, WIDE, requires_grad=True)
    work = torch.zeros(4, WIDE)
    with offload.within(layer):
        first = weight * work.add_(1)
    before = offload.num_bytes
    with offload.within(layer):
        second = weight * work.add_(1)
    assert offload.num_bytes == before + work.nbytes
    (first + second).sum().backward()
    assert weight.grad is not None
    assert weight.grad.unique().tolist() == [3.0], "1 of the first and 2 of the second"


def test_backward_may_come_twice() -> None:
    kept, x = Kept(), rows(4)
    loss = kept.loss(x)
    loss.backward(retain_graph=True)
    assert x.grad is not None
    once = x.grad.clone()
    loss.backward()
    assert torch.equal(x.grad, 2 * once)


@pytest.mark.parametrize("checkpointing", [0, 1, 2])
@pytest.mark.parametrize("adapter", [Full(), Lora(rank=4, alpha=8)], ids=["full", "lora"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text", "qwen3_moe", "gpt2"])
def test_gradients_are_the_same_to_the_last_bit(
    bench: Build, table_of: Build, family: str, adapter: Full | Lora, checkpointing: int
) -> None:
    table, offload = table_of(LENGTHS), Offload(least_bytes=256)
    plain = bench(family, adapter, checkpointing=checkpointing)
    loss, gradients = plain.loss_and_gradients(table, [ROWS])
    ours = bench(family, adapter, checkpointing=checkpointing, offload=offload)
    is_fused = family in ("llama", "qwen3")
    assert isinstance(ours.backbone, FusedDecoder if is_fused else ModuleDecoder)
    found, others = ours.loss_and_gradients(table, [ROWS])
    assert found == loss
    assert all(torch.equal(others[name], gradients[name]) for name in gradients)
    hidden = sum(LENGTHS) * ours.model.config.get_text_config().hidden_size * 4
    layers = ours.model.config.get_text_config().num_hidden_layers
    if checkpointing == 1:  # inputs of layers, and where a family hands them on: rotations, masks
        assert layers * hidden <= offload.num_bytes < 3 * layers * hidden
    else:
        assert offload.num_bytes > 3 * layers * hidden


def test_nothing_moves_where_nothing_is_kept(bench: Build, table_of: Build) -> None:
    offload = Offload(least_bytes=1)
    for family in ("llama", "gpt2"):
        bench(family, offload=offload).logits(table_of(LENGTHS), ROWS)
    assert offload.num_bytes == 0


def recipe_with(device: str) -> dict[str, Any]:
    training = {"device": device, "activation_offload": True}
    return {"model": "starter", "data": ["rows.jsonl"], "training": training}


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_a_device_without_memory_of_its_own_is_refused(device: str, tmp_path: Path) -> None:
    with pytest.raises(TunesmithError, match="computes in main memory itself") as caught:
        parse_recipe(recipe_with(device))
    problem = caught.value.details["problems"][0]
    assert problem["code"] == "offload_needs_gpu"
    assert "activation_checkpointing: full" in problem["hint"]
    parse_recipe(recipe_with("cuda"))
    found_later = parse_recipe(recipe_with("auto"))
    with pytest.raises(RecipeError) as refused:
        open_base(found_later, RunDir(tmp_path), Reporter(None), torch.device(device))
    assert refused.value.code == "offload_needs_gpu"
