"""Weights that are updated in the backward pass, layer by layer: gradients of one layer at a time.

The gradients of a layer are whole when that of its input is: nothing below adds to them. So the
layer is updated just then, and its gradient memory goes to the layer below (Lv and others 2023,
LOMO, arXiv 2306.09782). Tables of words, head and last norm keep theirs to the end of the pass. The
numbers are those of an update behind it, as backward needs the weights of a layer no more.

Nobody can shorten gradients by a norm that is known only in the end, nor take an update back: so
there is no clipping, a step is one micro-batch, and what goes wrong within it ends the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.data.batches import StepPlan, micro_batches
from tunesmith.data.table import TokenTable
from tunesmith.engine.adapter import trainable_parameters
from tunesmith.engine.arena import Arena, ParameterGroup
from tunesmith.engine.methods.freeze import decoder_layers
from tunesmith.engine.optimizer import Optimizers, build_optimizer, parameter_groups
from tunesmith.engine.ranks import Ranks
from tunesmith.errors import RecipeError, RunFailed
from tunesmith.recipe import Recipe

Named = list[tuple[str, nn.Parameter]]


@dataclass(frozen=True)
class Block:
    """The trained weights of a layer, or those outside of layers, and the rule that moves them."""

    arena: Arena
    optimizer: Optimizers

    def norms(self) -> list[Tensor]:
        """Of the gradients, by group."""
        return [torch.linalg.vector_norm(group.grad) for group in self.arena.groups]

    def update(self) -> None:
        """Move the weights by their gradients."""
        self.optimizer.step()
        self.arena.publish()


class LayeredArena(Arena):
    """All trained weights, layer by layer and then the rest; layers have one memory of gradients.

    A step begins with `zero_grad`. Backward updates the layers from the last to the first; what is
    left when it returns, at most one layer and the rest, `update_rest` does.
    """

    def __init__(
        self, layers: Sequence[Block], outside: Sequence[Block], gradients: Tensor
    ) -> None:
        self.groups = [group for block in (*layers, *outside) for group in block.arena.groups]
        self._layers, self._outside, self._gradients = layers, outside, gradients
        self._waiting: list[int] = []  # layers that this step has not updated yet
        self._norms: list[Tensor] = []  # of the gradients that have been used up

    def zero_grad(self) -> None:
        """Begin a step."""
        self._waiting = list(range(len(self._layers)))
        self._norms.clear()
        self._gradients.zero_()
        for block in self._outside:
            block.arena.zero_grad()

    def watch(self, number: int, hidden: Tensor) -> None:
        """Update a layer, one of those with trained weights, as soon as its input has a gradient.

        Where `hidden` gets none, nothing below is trained, and the layer is left for the end.
        """
        if torch.is_grad_enabled() and hidden.requires_grad:
            hidden.register_hook(lambda _: self._complete(number))

    def _complete(self, number: int) -> None:
        if not self._waiting or self._waiting.pop() != number:
            raise _not_in_turn()
        block = self._layers[number]
        self._norms += block.norms()
        block.update()
        block.arena.zero_grad()

    def _left(self) -> list[Block]:
        if len(self._waiting) > 1:
            raise _not_in_turn()
        return [*(self._layers[number] for number in self._waiting), *self._outside]

    def update_rest(self) -> None:
        """Update what the backward pass has left."""
        for block in self._left():
            block.update()
        self._waiting.clear()

    def clip(self, max_norm: float) -> Tensor:
        """The norm of all gradients of the step; by now, most of them have been used up."""
        assert max_norm == 0, "a rule of recipes"
        norms = self._norms + [norm for block in self._left() for norm in block.norms()]
        return torch.linalg.vector_norm(torch.stack(norms))

    def divide(self, factor: float) -> None:
        """No loss is scaled."""
        assert factor == 1.0, "a rule of recipes"


class LayeredOptimizers(Optimizers):
    """The rules of all blocks; `step` moves what the backward pass has left."""

    def __init__(self, blocks: Sequence[Block], arena: LayeredArena) -> None:
        super().__init__([rule for block in blocks for rule in block.optimizer.rules])
        self._arena = arena

    def step(self) -> None:
        """See `LayeredArena.update_rest`."""
        self._arena.update_rest()


def open_layered(recipe: Recipe, model: Any) -> tuple[LayeredArena, LayeredOptimizers]:
    """Memory and rules of a model whose layers are updated as backward passes through them."""
    modules, outside = trained_layers(model)
    sizes = [sum(p.numel() for _, p in named) for _, named in modules]
    device = next(model.parameters()).device
    gradients = torch.zeros(max(sizes, default=0), device=device)
    layers = [_block(recipe, model, named, gradients) for _, named in modules]
    rest = [_block(recipe, model, outside)] if outside else []
    arena = LayeredArena(layers, rest, gradients)
    for number, (layer, _) in enumerate(modules):
        layer.watch_input = partial(arena.watch, number)  # where the fused decoder finds it
        layer.register_forward_pre_hook(_watch_input, with_kwargs=True)
    return arena, LayeredOptimizers([*layers, *rest], arena)


def trained_layers(model: Any) -> tuple[list[tuple[Any, Named]], Named]:
    """The layers in which something is trained, with that, and what is trained outside of them.

    What several layers share is outside: its gradient is whole when the first of them is done.
    """
    layers = decoder_layers(model)
    homes: dict[int, set[int]] = {}
    for number, layer in enumerate(layers):
        for parameter in layer.parameters():
            homes.setdefault(id(parameter), set()).add(number)
    inside: dict[int, Named] = {}
    outside: Named = []
    for name, parameter in trainable_parameters(model):
        home = homes.get(id(parameter), set())
        owner = inside.setdefault(min(home), []) if len(home) == 1 else outside
        owner.append((name, parameter))
    return [(layers[number], inside[number]) for number in sorted(inside)], outside


def _block(recipe: Recipe, model: Any, named: Named, gradients: Tensor | None = None) -> Block:
    training = recipe.training
    groups: Sequence[ParameterGroup] = parameter_groups(
        named, weight_decay=training.optimizer.weight_decay, loraplus_ratio=1.0
    )
    arena = Arena(groups, exact=training.master_weights, gradients=gradients)
    rule = build_optimizer(arena, training.optimizer, model=model, seed=training.seed)
    return Block(arena, rule)


def _watch_input(layer: Any, inputs: Sequence[Any], named: Mapping[str, Any]) -> None:
    """A hook of transformers' layers: hidden states come first, or by name."""
    hidden = inputs[0] if inputs else named.get("hidden_states")
    if isinstance(hidden, Tensor):
        layer.watch_input(hidden)


def _not_in_turn() -> RunFailed:
    return RunFailed(
        "The layers of this model are not passed through one after the other, so they cannot be "
        "updated that way. The weights of this step are spoilt, and nothing of it is kept.",
        hint="Write training.update_in_backward: false.",
        code="layers_not_in_turn",
    )


# ---------------------------------------------------------------- what the start of a run checks


def largest_step(plan: StepPlan, table: TokenTable) -> int:
    """Tokens of the longest step of a run."""
    return max(int(table.lengths[step.rows].sum()) for step in plan.steps())


def refuse_pieces(plan: StepPlan, table: TokenTable, micro_batch_tokens: int) -> None:
    """Every step has to be one micro-batch: the second would meet weights that have moved."""
    for step in plan.steps():
        if len(micro_batches(step.rows, table.lengths, micro_batch_tokens)) > 1:
            tokens = int(table.lengths[step.rows].sum())
            raise RecipeError(
                f"training.update_in_backward computes a step at once, but step {step.number} has "
                f"{tokens} tokens and training.micro_batch_tokens is {micro_batch_tokens}.",
                hint="Write training.micro_batch_tokens: auto, or lower training.batch_size, or "
                "write training.update_in_backward: false.",
                code="step_in_pieces",
                step=step.number,
                tokens=tokens,
                limit=micro_batch_tokens,
            )


def refuse_processes(recipe: Recipe, ranks: Ranks) -> None:
    """Gradients of several processes are summed up only when all of them are there."""
    if recipe.training.update_in_backward and ranks.world_size > 1:
        raise RecipeError(
            f"training.update_in_backward is for one process; this training has "
            f"{ranks.world_size}.",
            hint="Train on one device, or write training.update_in_backward: false.",
            code="update_in_one_process",
            processes=ranks.world_size,
        )
